//! Upstreams that lie about lengths, speak for ever, speak slowly, or speak something else.

use crate::hostile_egress::case::{Answer, Case, Expected, Reply, Then, answered, case};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = NOT_HTTP
        .iter()
        .map(|(name, bytes)| {
            case(*name)
                .reply(Reply::bytes(*bytes))
                .expect(Expected::Protocol)
                .requests(1)
        })
        .collect();
    cases.extend(sizes());
    cases.extend(times());
    cases.extend(framing());
    cases
}

/// Bodies and heads over their bounds.
fn sizes() -> Vec<Case> {
    let bound = 64 * 1024;
    let filler = "b".repeat(bound);
    vec![
        case("a body as large as the bound")
            .reply(Reply::ok(&filler))
            .expect(Expected::AnsweredWith(200, bound)),
        case("a body one byte larger")
            .reply(Reply::ok(&format!("{filler}b")))
            .expect(Expected::TooLarge),
        case("an announced length over the bound, and nothing behind it")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n").then(Then::Hold))
            .expect(Expected::TooLarge),
        case("an announced length that no number holds")
            .reply(Reply::bytes(
                "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            ))
            .expect(Expected::Protocol),
        case("a body without end")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\n\r\n").then(endless()))
            .expect(Expected::TooLarge),
        case("chunks without end")
            .reply(Reply::bytes(CHUNKED).then(Then::Endless(b"8\r\nendless!\r\n".to_vec())))
            .expect(Expected::TooLarge),
        case("a compressed bomb")
            .reply(Reply::bytes(bomb()))
            .expect(Expected::TooLarge),
        case("headers without end")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\n").then(Then::Endless(b"x-a: 1\r\n".to_vec())))
            .expect(Expected::Protocol),
        case("one header line without end")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nx-a: ").then(endless()))
            .expect(Expected::Protocol),
        case("a status line without end")
            .reply(Reply::bytes("HTTP/1.1 200 ").then(endless()))
            .expect(Expected::Protocol),
        case("interim answers without end")
            .reply(Reply::bytes("").then(Then::Endless(b"HTTP/1.1 103 Early Hints\r\nx-a: 1\r\n\r\n".to_vec())))
            .timeout_ms(600)
            .expect(Expected::TimedOut { sent: true }),
    ]
}

fn endless() -> Then {
    Then::Endless(vec![b'e'; 8 * 1024])
}

/// A megabyte of one letter in a little over a kilobyte.
fn bomb() -> Vec<u8> {
    let stored = include_bytes!("bomb.gz");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        stored.len()
    );
    [head.as_bytes(), stored].concat()
}

/// Upstreams that take their time.
fn times() -> Vec<Case> {
    let slow = |name: &str, reply: Reply| {
        case(name)
            .reply(reply)
            .timeout_ms(500)
            .expect(Expected::TimedOut { sent: true })
            .requests(1)
    };
    vec![
        slow("silence", Reply::bytes("").then(Then::Hold)),
        slow(
            "a head byte by byte",
            Reply::bytes("HTTP/1.1 200 OK\r\nx-slow: ").then(Then::Drip(b"s".to_vec(), 50)),
        ),
        slow(
            "a body byte by byte",
            Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n").then(Then::Drip(b"s".to_vec(), 50)),
        ),
        slow(
            "a chunk's length byte by byte",
            Reply::bytes(CHUNKED).then(Then::Drip(b"0".to_vec(), 50)),
        ),
        slow(
            "a head and then silence",
            Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").then(Then::Hold),
        ),
        slow(
            "chunks whose end never comes",
            Reply::bytes(format!("{CHUNKED}4\r\nhalf\r\n")).then(Then::Hold),
        ),
        slow(
            "a promise to go on, and silence",
            Reply::bytes("HTTP/1.1 100 Continue\r\n\r\n").then(Then::Hold),
        ),
    ]
}

/// Lengths and ends that are not what they say.
fn framing() -> Vec<Case> {
    vec![
        case("a length longer than the body")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"))
            .expect(Expected::Interrupted),
        case("a length shorter than the body")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and a second answer: HTTP/1.1 200 OK")),
        case("a second answer behind the first is nobody's")
            .reply(Reply::bytes(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ).then(Then::Keep))
            .and_then(Reply::ok("second"))
            .again()
            .expect(answered("ok"))
            .then_expect(answered("second")),
        case("a length and chunks at once")
            .reply(Reply::bytes(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ))
            .expect(Expected::Protocol),
        case("chunks that break off").reply(Reply::bytes(format!("{CHUNKED}4\r\nha"))).expect(Expected::Interrupted),
        case("a chunk whose length is none").reply(Reply::bytes(format!("{CHUNKED}zz\r\nok\r\n"))).expect(Expected::Protocol),
        case("a chunk whose length overflows")
            .reply(Reply::bytes(format!("{CHUNKED}ffffffffffffffffff\r\nok\r\n")))
            .expect(Expected::Protocol),
        case("a body that is reset")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").then(Then::Reset))
            .expect(Expected::Interrupted),
        case("no answer at all").reply(Reply::bytes("")).expect(Expected::Interrupted),
        case("a reset instead of an answer").reply(Reply::bytes("").then(Then::Reset)).expect(Expected::Interrupted),
        case("two different lengths")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 4\r\n\r\nokok"))
            .expect(Expected::Protocol),
        case("a coding that was not asked for")
            .reply(Reply::with_headers("content-encoding: br"))
            .expect(Expected::Protocol),
        case("a body that is not the coding it says")
            .reply(Reply::with_headers("content-encoding: gzip"))
            .expect(Expected::Protocol),
        case("cookies and hop-by-hop headers are not handed on")
            .reply(Reply::with_headers(
                "set-cookie: session=1\r\nset-cookie2: a=1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c",
            ))
            .expect(Expected::Answered(Answer {
                status: 200,
                body: "ok".to_owned(),
                without: vec![
                    "set-cookie", "set-cookie2", "keep-alive", "proxy-authenticate", "upgrade", "connection", "content-length",
                ],
                ..Answer::default()
            })),
        case("a switch of protocols that nobody asked for switches nothing")
            .reply(
                Reply::bytes("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
                    .and("h2c, and more of it"),
            )
            .expect(Expected::AnsweredWith(101, 0)),
    ]
}

/// What no client takes for an answer.
const NOT_HTTP: [(&str, &str); 9] = [
    ("another protocol", "220 mail.test ESMTP\r\n"),
    ("bytes that are no protocol", "\x15\x03\x01\x00\x02\x02\x28"),
    ("a status that is no number", "HTTP/1.1 OK OK\r\n\r\n"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
    ("a version of the future", "HTTP/9.9 200 OK\r\n\r\n"),
    ("a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    (
        "a space before a colon",
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
    ),
    ("a NUL in a header", "HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n"),
    (
        "a length that is negative",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
    ),
];
