//! The vocabulary in which cases are written: what stands around a call, what the guest asks, and what must come of it.
//!
//! Texts may name what is only known when a case runs: `{port}` is the port of every listener of the case, `{secret:FORM}`
//! the credential in a form of [`Form`], `{length}` the bytes behind the head of a response.

use super::credential::Kind;

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is tried, in a few words; unique in its theme.
    pub(crate) name: String,
    /// The credential that is bound to the upstream.
    pub(crate) kind: Kind,
    /// Values of the upstream's grant, as TOML, that differ from the usual ones.
    pub(crate) grant: Vec<(&'static str, String)>,
    /// What names lead to: the nth lookup gets the nth list, the last one for ever.
    pub(crate) names: Vec<(&'static str, Vec<&'static [&'static str]>)>,
    /// How the granted upstream answers: the nth request gets the nth answer, the last one for ever.
    pub(crate) replies: Vec<Reply>,
    /// What the guest asks, one after the other in one call.
    pub(crate) asks: Vec<Ask>,
    /// How often all of it is asked.
    pub(crate) rounds: Rounds,
    /// Longest time of one request, in milliseconds.
    pub(crate) request_timeout_ms: u64,
    /// Largest response body.
    pub(crate) response_bytes_max: u64,
    /// What must come of each ask. The last one holds for all that follow.
    pub(crate) expected: Vec<Expected>,
    /// Where the second door's own types say something else, or say it otherwise.
    pub(crate) expected_by_url: Option<Vec<Expected>>,
    /// What the outside must have seen.
    pub(crate) seen: Seen,
}

/// How often a case asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// Once.
    Once,
    /// As often as the body of the first reply can be cut in two, and each time it is cut elsewhere.
    EveryCut,
}

/// A request of the guest.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The upstream's name; the door that takes URLs turns it into the base URL.
    pub(crate) upstream: String,
    /// A URL instead of an upstream's name. The door that takes names gets it as a name.
    pub(crate) url: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// A body of so many bytes instead.
    pub(crate) body_bytes: usize,
    pub(crate) timeout_ms: Option<u32>,
}

/// What comes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The gate says no with this code.
    Refused(&'static str),
    /// An answer, exactly.
    Answered(Answer),
    /// An answer of this status from which the credential was taken out, whatever else is in it.
    Cleaned(u16),
    /// Any answer of this status whose body is this long.
    AnsweredWith(u16, usize),
    /// Time ran out; whether the request had left.
    TimedOut { sent: bool },
    /// No connection.
    Unreachable,
    /// It broke after the request had left.
    Interrupted,
    /// Over the bound.
    TooLarge,
    /// Not HTTP, or not to be decoded.
    Protocol,
    /// The types of the door do not let the guest ask this: nothing reaches the host.
    Unsayable,
}

/// An answer as the guest must get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Headers that must be there with this value.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Headers that must not be there.
    pub(crate) without: Vec<&'static str>,
    /// Whether the record must say that the credential came back.
    pub(crate) reflected: bool,
}

/// What was seen from outside. None: as [`Expected`] implies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections to the granted upstream.
    pub(crate) connections: Option<usize>,
    /// Requests that the granted upstream read.
    pub(crate) requests: Option<usize>,
    /// Requests to the other server on the address `127.0.0.3`.
    pub(crate) elsewhere: usize,
    /// What the whole trail of a call must say, exchange by exchange: a status or the code of a refusal. None: one exchange
    /// for each ask, as [`Expected`] implies.
    pub(crate) trail: Option<Vec<&'static str>>,
    /// Names that were looked up.
    pub(crate) lookups: Option<usize>,
    /// Times that the credential was read.
    pub(crate) reveals: Option<usize>,
    /// What the first request must hold, as it was on the wire.
    pub(crate) wire: Vec<String>,
    /// What no request may hold.
    pub(crate) never_on_the_wire: Vec<String>,
}

/// How the upstream answers one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Written one after the other, each in a packet of its own as far as the system lets it.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Whether the first piece's body is compressed.
    pub(crate) gzip: bool,
    pub(crate) then: Then,
}

/// What the upstream does after its last piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Waits for a further request.
    Keep,
    /// Closes.
    Close,
    /// Breaks off, so that the peer sees an error and no end.
    Reset,
    /// Writes these bytes for ever.
    Endless(Vec<u8>),
    /// Writes one of these bytes after the other, for ever, with this pause.
    Drip(Vec<u8>, u64),
    /// Does nothing, and stays connected.
    Hold,
    /// The body is written in two chunks, cut where the round says; then waits for a further request.
    Cut,
    /// Says this before it has read anything, and closes.
    Greet,
}

impl Reply {
    /// These bytes, and the connection is closed.
    pub(crate) fn bytes(text: impl Into<Vec<u8>>) -> Self {
        Self {
            pieces: vec![text.into()],
            gzip: false,
            then: Then::Close,
        }
    }

    /// 200 with this body.
    pub(crate) fn ok(body: &str) -> Self {
        Self::bytes(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {{length}}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// 200 with these header lines and the body `ok`.
    pub(crate) fn with_headers(lines: &str) -> Self {
        Self::bytes(format!(
            "HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
        ))
    }

    /// 200 with this body in two chunks, cut where the round says.
    pub(crate) fn cut(body: &str) -> Self {
        Self {
            pieces: vec![body.as_bytes().to_vec()],
            gzip: false,
            then: Then::Cut,
        }
    }

    /// Changes what follows.
    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Compressed, and said to be.
    pub(crate) fn gzipped(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// One more piece.
    pub(crate) fn and(mut self, piece: impl Into<Vec<u8>>) -> Self {
        self.pieces.push(piece.into());
        self
    }
}

/// `GET /ok` at the granted upstream, which answers 200 `ok`; bearer.
pub(crate) fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        kind: Kind::Bearer,
        grant: Vec::new(),
        names: Vec::new(),
        replies: vec![Reply::ok("ok")],
        asks: vec![Ask::default()],
        rounds: Rounds::Once,
        request_timeout_ms: 10_000,
        response_bytes_max: 64 * 1024,
        expected: vec![answered("ok")],
        expected_by_url: None,
        seen: Seen::default(),
    }
}

/// 200 with this body.
pub(crate) fn answered(body: &str) -> Expected {
    Expected::Answered(Answer {
        status: 200,
        body: body.to_owned(),
        ..Answer::default()
    })
}

/// 200 with this body, of which something was taken out.
pub(crate) fn redacted(body: &str) -> Expected {
    Expected::Answered(Answer {
        status: 200,
        body: body.to_owned(),
        reflected: true,
        ..Answer::default()
    })
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            upstream: "target".to_owned(),
            url: None,
            method: "GET".to_owned(),
            path: "/ok".to_owned(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            body_bytes: 0,
            timeout_ms: None,
        }
    }
}

impl Case {
    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Another value of the grant, as TOML.
    pub(crate) fn grant(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.grant.retain(|(known, _)| *known != key);
        self.grant.push((key, value.into()));
        self
    }

    /// Another base URL.
    pub(crate) fn base_url(self, url: &str) -> Self {
        self.grant("base_url", format!("{url:?}"))
    }

    /// What a name leads to, lookup by lookup.
    pub(crate) fn name(mut self, name: &'static str, answers: &[&'static [&'static str]]) -> Self {
        self.names.push((name, answers.to_vec()));
        self
    }

    pub(crate) fn reply(mut self, reply: Reply) -> Self {
        self.replies = vec![reply];
        self
    }

    /// What the upstream answers after that.
    pub(crate) fn and_then(mut self, reply: Reply) -> Self {
        self.replies.push(reply);
        self
    }

    /// Changes every ask so far.
    pub(crate) fn asks(mut self, change: impl Fn(&mut Ask)) -> Self {
        self.asks.iter_mut().for_each(change);
        self
    }

    /// The same once more, in the same call.
    pub(crate) fn again(mut self) -> Self {
        self.asks.push(self.asks.last().cloned().unwrap_or_default());
        self
    }

    pub(crate) fn path(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.asks(|ask| ask.path.clone_from(&path))
    }

    pub(crate) fn query(self, query: impl Into<String>) -> Self {
        let query = query.into();
        self.asks(|ask| ask.query = Some(query.clone()))
    }

    /// A URL where an upstream's name belongs.
    pub(crate) fn url(self, url: &str) -> Self {
        self.asks(|ask| ask.url = Some(url.to_owned()))
    }

    pub(crate) fn upstream(self, name: &str) -> Self {
        self.asks(|ask| name.clone_into(&mut ask.upstream))
    }

    pub(crate) fn method(self, method: &str) -> Self {
        self.asks(|ask| method.clone_into(&mut ask.method))
    }

    pub(crate) fn post(self, body: &str) -> Self {
        self.method("POST")
            .asks(|ask| body.as_bytes().clone_into(&mut ask.body))
    }

    pub(crate) fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.asks(|ask| ask.headers.push((name.to_owned(), value.as_ref().to_vec())))
    }

    pub(crate) fn timeout_ms(mut self, timeout: u64) -> Self {
        self.request_timeout_ms = timeout;
        self
    }

    pub(crate) fn every_cut(mut self) -> Self {
        self.rounds = Rounds::EveryCut;
        self
    }

    pub(crate) fn expect(mut self, expected: Expected) -> Self {
        self.expected = vec![expected];
        self
    }

    /// What comes of the next ask.
    pub(crate) fn then_expect(mut self, expected: Expected) -> Self {
        self.expected.push(expected);
        self
    }

    pub(crate) fn refused(self, code: &'static str) -> Self {
        self.expect(Expected::Refused(code))
    }

    /// What the door that takes URLs must say instead.
    pub(crate) fn by_url(mut self, expected: Expected) -> Self {
        self.expected_by_url = Some(vec![expected]);
        self
    }

    pub(crate) fn lookups(mut self, count: usize) -> Self {
        self.seen.lookups = Some(count);
        self
    }

    pub(crate) fn reveals(mut self, count: usize) -> Self {
        self.seen.reveals = Some(count);
        self
    }

    pub(crate) fn connections(mut self, count: usize) -> Self {
        self.seen.connections = Some(count);
        self
    }

    pub(crate) fn requests(mut self, count: usize) -> Self {
        self.seen.requests = Some(count);
        self
    }

    pub(crate) fn elsewhere(mut self, count: usize) -> Self {
        self.seen.elsewhere = count;
        self
    }

    pub(crate) fn trail(mut self, exchanges: &[&'static str]) -> Self {
        self.seen.trail = Some(exchanges.to_vec());
        self
    }

    pub(crate) fn wire(mut self, text: &str) -> Self {
        self.seen.wire.push(text.to_owned());
        self
    }

    pub(crate) fn never_on_the_wire(mut self, text: &str) -> Self {
        self.seen.never_on_the_wire.push(text.to_owned());
        self
    }

    /// What must come of the nth ask through a door.
    pub(crate) fn expected_of(&self, by_url: bool, nth: usize) -> &Expected {
        let all = match &self.expected_by_url {
            Some(other) if by_url => other,
            _ => &self.expected,
        };
        all.get(nth).or(all.last()).expect("a case expects something")
    }
}
