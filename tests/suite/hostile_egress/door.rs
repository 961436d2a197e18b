//! The doors through which a guest asks. Each is a real component in the real host; what it is told and what it reports differ.

use std::path::PathBuf;

use cofferdam_domain::event::{Event, Origin};
use cofferdam_domain::{CorrelationId, Digest, EventId, Timestamp, TraceContext, WorkspaceName};
use cofferdam_tests::artifacts::test_guest;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};

use super::case::{Ask, Expected};

/// A way out of a guest.
pub(crate) trait Door: Send + Sync {
    /// In a column's head.
    fn name(&self) -> &'static str;
    /// The component that goes through it.
    fn component(&self) -> PathBuf;
    /// Whether a guest names URLs here, and no upstreams.
    fn by_url(&self) -> bool;
    /// What the guest is told.
    fn told(&self, asks: &[Ask], base_url: &str, needles: &[String]) -> Value;
    /// Whether an error, as the guest sees it, is this one.
    fn is(&self, expected: &Expected, error: &Value) -> bool;
}

/// `http.send` of the contract.
pub(crate) struct Contract;

impl Door for Contract {
    fn name(&self) -> &'static str {
        "http.send"
    }

    fn component(&self) -> PathBuf {
        test_guest("probe")
    }

    fn by_url(&self) -> bool {
        false
    }

    fn told(&self, asks: &[Ask], _base_url: &str, needles: &[String]) -> Value {
        let sends: Vec<_> = asks
            .iter()
            .map(|ask| {
                json!({
                    "upstream": ask.url.as_ref().unwrap_or(&ask.upstream),
                    "method": ask.method,
                    "path": ask.path,
                    "query": ask.query,
                    "headers": in_hex(&ask.headers),
                    "body": HEXLOWER.encode(&ask.body),
                    "body_bytes": ask.body_bytes,
                    "timeout_ms": ask.timeout_ms,
                })
            })
            .collect();
        json!({ "do": "exchange", "sends": sends, "needles": needles })
    }

    fn is(&self, expected: &Expected, error: &Value) -> bool {
        let kind = error["kind"].as_str().unwrap_or_default();
        match expected {
            Expected::Refused(code) => kind == "refused" && error["code"] == *code,
            Expected::TimedOut { sent } => kind == "timed-out" && error["sent"] == *sent,
            Expected::Unreachable => kind == "unreachable",
            Expected::Interrupted => kind == "interrupted",
            Expected::TooLarge => kind == "response-too-large",
            Expected::Protocol => kind == "protocol-error",
            Expected::Answered(_) | Expected::Cleaned(_) | Expected::AnsweredWith(..) | Expected::Unsayable => false,
        }
    }
}

/// `wasi:http/outgoing-handler`.
pub(crate) struct WasiHttp;

/// What a guest is told when its own library refuses what it asks: nothing has reached the host.
const LIBRARY_REFUSALS: [&str; 5] = [
    "append ",
    "set-method",
    "set-scheme",
    "set-authority",
    "set-path-with-query",
];

impl Door for WasiHttp {
    fn name(&self) -> &'static str {
        "wasi:http"
    }

    fn component(&self) -> PathBuf {
        test_guest("wasi-probe")
    }

    fn by_url(&self) -> bool {
        true
    }

    fn told(&self, asks: &[Ask], base_url: &str, needles: &[String]) -> Value {
        let sends: Vec<_> = asks.iter().map(|ask| by_url(ask, base_url)).collect();
        json!({ "do": "exchange", "sends": sends, "needles": needles })
    }

    fn is(&self, expected: &Expected, error: &Value) -> bool {
        let kind = error["kind"].as_str().unwrap_or_default();
        match expected {
            Expected::Refused("request-too-large") => kind.starts_with("HTTP-request-body-size"),
            Expected::Refused("headers-too-large") => kind == "HTTP-request-header-section-size",
            Expected::Refused(_) => kind == "HTTP-request-denied",
            Expected::TimedOut { sent: false } => kind == "connection-timeout",
            Expected::TimedOut { sent: true } => kind == "HTTP-response-timeout",
            Expected::Unreachable => kind == "destination-unavailable",
            Expected::Interrupted => kind == "connection-terminated",
            Expected::TooLarge => kind.starts_with("HTTP-response-body-size"),
            Expected::Protocol => kind == "HTTP-protocol-error",
            Expected::Unsayable => LIBRARY_REFUSALS.iter().any(|refusal| kind.starts_with(refusal)),
            Expected::Answered(_) | Expected::Cleaned(_) | Expected::AnsweredWith(..) => false,
        }
    }
}

/// An ask as a client writes it that knows URLs only. The parts are handed over one by one, so that no parser of the guest's
/// own puts right what is to be tried.
fn by_url(ask: &Ask, base_url: &str) -> Value {
    let mut fetch = json!({ "method": ask.method, "hex_headers": in_hex(&ask.headers) });
    match &ask.url {
        Some(url) => fetch["url"] = json!(url),
        None => {
            let (scheme, rest) = base_url.split_once("://").unwrap_or(("http", base_url));
            let (authority, base_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let query = ask.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            // A name that is no upstream's is a host of nobody's.
            let authority = if ask.upstream == "target" {
                authority
            } else {
                ask.upstream.as_str()
            };
            fetch["scheme"] = json!(scheme);
            fetch["authority"] = json!(authority);
            fetch["path_with_query"] = json!(format!("{base_path}{}{query}", ask.path));
        }
    }
    if ask.body_bytes > 0 {
        fetch["body_bytes"] = json!(ask.body_bytes);
    } else if !ask.body.is_empty() {
        fetch["body"] = json!(String::from_utf8_lossy(&ask.body));
    }
    if let Some(timeout) = ask.timeout_ms {
        fetch["first_byte_timeout_ms"] = json!(timeout);
    }
    fetch
}

fn in_hex(headers: &[(String, Vec<u8>)]) -> Vec<(&str, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), HEXLOWER.encode(value)))
        .collect()
}

/// What came of one request, as the guest reported it.
#[derive(Clone, Debug)]
pub(crate) enum Came {
    /// An answer.
    Answer {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    /// None; the error as the door says it.
    Error(Value),
}

/// One report of a guest.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) came: Came,
    /// Needles that it found in its own memory.
    pub(crate) found: Vec<usize>,
    /// How much memory it has searched.
    pub(crate) searched: usize,
    /// All of it as it came.
    pub(crate) raw: Vec<u8>,
}

impl Report {
    /// Reads a line of JSON with the body behind it.
    pub(crate) fn read(raw: Vec<u8>) -> anyhow::Result<Self> {
        let end = raw.iter().position(|byte| *byte == b'\n').unwrap_or(raw.len());
        let line: Value = serde_json::from_slice(&raw[..end])?;
        let came = &line["came"];
        let came = if came["error"].is_null() {
            Came::Answer {
                status: serde_json::from_value(came["status"].clone())?,
                headers: from_hex(&came["headers"])?,
                body: raw[end + 1..].to_vec(),
            }
        } else {
            Came::Error(came["error"].clone())
        };
        Ok(Self {
            came,
            found: serde_json::from_value(line["found"].clone())?,
            searched: serde_json::from_value(line["searched"].clone())?,
            raw,
        })
    }
}

fn from_hex(headers: &Value) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let headers: Vec<(String, String)> = serde_json::from_value(headers.clone())?;
    headers
        .into_iter()
        .map(|(name, value)| Ok((name, HEXLOWER_PERMISSIVE.decode(value.as_bytes())?)))
        .collect()
}

/// An event that tells a guest something.
pub(crate) fn event(told: &[u8]) -> Event {
    let rng = &mut rand::rng();
    Event {
        id: EventId::mint(Timestamp::ZERO, rng),
        workspace: WorkspaceName::default(),
        correlation_id: CorrelationId::mint(Timestamp::ZERO, rng),
        trace: TraceContext::mint(rng),
        kind: "test.hostile-egress".to_owned(),
        source: "/suite".to_owned(),
        subject: None,
        time: None,
        received_at: Timestamp::ZERO,
        origin: Origin::Api("suite".to_owned()),
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: std::collections::BTreeMap::new(),
        body_bytes: told.len() as u64,
        body_hash: Digest::of(told),
        dedupe_key: None,
    }
}
