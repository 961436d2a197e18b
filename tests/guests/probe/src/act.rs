//! The vocabulary of the probe. What an act finds out comes back as the receipt's summary.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use cofferdam_sdk::{
    Attempt, Event, Failure, FailureKind, HttpError, Receipt, Request, Response, credentials, log, settings, state,
};
use serde::Deserialize;

use crate::exchange::Exchanges;
use crate::memory::{self, Needle};

/// What an instance remembers from one call to the next, if it lives that long.
static SERVED: AtomicU32 = AtomicU32::new(0);

/// One page of linear memory, in bytes.
const PAGE_BYTES: usize = 64 * 1024;

/// A test changes these bytes in the component, to the same length, and has a version that faults.
const VERSION: &str = "this version does well";

/// Longest part of an answer that a summary quotes, in bytes: what the host takes, less some words.
const QUOTED_BYTES_MAX: usize = 900;

/// `{"do": "ok"}`, `{"do": "call", "path": "/x"}` …
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Act {
    /// Returns a receipt; `id` becomes its external id, `confirm` makes it expect a confirmation under that key.
    Ok {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        confirm: Option<String>,
        #[serde(default)]
        within_ms: Option<u64>,
    },
    /// Panics, which is a trap.
    Panic,
    /// Sends a request, or panics if a test has made another version of the probe: see [`VERSION`].
    CallUnlessFaulty(Call),
    /// Uses the processor for ever, without ever calling the host.
    Loop,
    /// Uses the processor for so many turns of a loop, a hundred million of which take part of a second, and then sends a
    /// request.
    Work {
        turns: u64,
        #[serde(flatten)]
        call: Call,
    },
    /// The summary says how many calls of this act its instance has served, this one included.
    Remember,
    /// Takes and touches so many bytes of memory, and holds them while it sends a request.
    Hold {
        bytes: usize,
        #[serde(flatten)]
        call: Call,
    },
    /// Takes memory for ever, and touches it.
    Grow,
    /// Recurses until the stack that its language keeps in linear memory is used up.
    Recurse,
    /// Recurses without it, until the stack that the host gives is used up.
    Dig,
    /// Calls the host for ever, without ever using much of the processor.
    Sleepless,
    /// Sends requests for ever, or as many as `times` says; the summary counts what each came to.
    Flood {
        #[serde(flatten)]
        call: Call,
        #[serde(default)]
        times: Option<u32>,
    },
    /// Sends a request. The summary is the status and the body; no answer, and an answer that says no, are failures.
    Call(Call),
    /// Sends a request and logs every byte that came back: a secret in it would be in the log.
    EchoLog(Call),
    /// Sends a request and claims success whatever came back.
    Lie(Call),
    /// Sends requests exactly as they are written here, and reports exactly what came of each.
    Exchange(Exchanges),
    /// Sends each request, whatever comes of it, and then looks for needles in all of its memory; the summary says which are
    /// there.
    Search {
        #[serde(default)]
        calls: Vec<Call>,
        needles: Vec<Needle>,
    },
    /// Returns a failure of this kind.
    Say {
        kind: Kind,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// Writes so many log lines, each of so many bytes.
    FloodLog { lines: u32, bytes: usize },
    /// Returns a summary of so many bytes.
    BigReturn { bytes: usize },
    /// Hands the host a request body of so many bytes.
    BigRequest { bytes: usize },
    /// Says whether a credential is there.
    CredentialExists { upstream: String },
    /// Says what the settings are.
    Settings,
    /// Says what the event and the attempt are.
    Describe,
    /// Reads a value of the state.
    StateGet { key: String },
    /// Sets a value of the state, then fails if `fail` says so; an absent value removes.
    StateSet {
        key: String,
        #[serde(default)]
        value: Option<String>,
        #[serde(default)]
        fail: bool,
    },
    /// Sets a value of `bytes` bytes under each of `keys` keys.
    StateFill { keys: u32, bytes: usize },
    /// Adds one to a number in the state.
    StateCount { key: String },
    /// The same, and then sends a request; the summary is the number.
    CountAndCall {
        key: String,
        #[serde(flatten)]
        call: Call,
    },
}

/// A request, `GET target/` unless it says otherwise.
#[derive(Deserialize)]
pub(crate) struct Call {
    #[serde(default = "target")]
    upstream: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    timeout_ms: Option<u32>,
}

/// `failure-kind` of the contract.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Auth,
    RateLimited,
    Dependency,
    Invalid,
    DataQuality,
    Configuration,
    Gone,
}

fn target() -> String {
    "target".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

impl Act {
    pub(crate) fn perform(self, event: &Event, attempt: &Attempt) -> Result<Receipt, Failure> {
        match self {
            Self::Ok { id, confirm, within_ms } => Ok(receipt(id, confirm, within_ms)),
            Self::Panic => panic!("the probe was told to panic"),
            Self::CallUnlessFaulty(call) => {
                assert!(
                    black_box(VERSION).ends_with("well"),
                    "this version of the probe is faulty"
                );
                Self::Call(call).perform(event, attempt)
            }
            Self::Loop => spin(),
            Self::Remember => Ok(Receipt::new((SERVED.fetch_add(1, Ordering::Relaxed) + 1).to_string())),
            Self::Hold { bytes, call } => {
                let held = black_box(vec![1_u8; bytes]);
                let sent = call.send();
                drop(black_box(held));
                sent?.success().map(|response| Receipt::new(summary(&response)))
            }
            Self::Work { turns, call } => {
                (0..turns).for_each(|turn| _ = black_box(turn));
                call.send()?.success().map(|response| Receipt::new(summary(&response)))
            }
            Self::Grow => grow(),
            Self::Recurse => Ok(Receipt::new(recurse(1).to_string())),
            Self::Dig => Ok(Receipt::new(dig(u64::MAX).to_string())),
            Self::Sleepless => loop {
                black_box(credentials::exists("target"));
            },
            Self::Flood { call, times } => Ok(flood(&call, times)),
            Self::Call(call) => call.send()?.success().map(|response| Receipt::new(summary(&response))),
            Self::EchoLog(call) => Ok(echo_log(&call.send()?)),
            Self::Lie(call) => Ok(Receipt::new(match call.send() {
                Ok(response) => format!("all is well, whatever {} means", response.status),
                Err(_) => "all is well".to_owned(),
            })),
            Self::Exchange(exchanges) => exchanges.perform(),
            Self::Search { calls, needles } => {
                // The answers are kept until the search is over, as a connector that hoards would.
                let hoard: Vec<_> = calls.iter().map(Call::send).collect();
                let searched = memory::search(&needles);
                drop(black_box(hoard));
                Ok(Receipt::new(searched.to_string()))
            }
            Self::Say {
                kind,
                code,
                message,
                retry_after_ms,
            } => Err(Failure {
                kind: kind.into(),
                code,
                message,
                retry_after_ms,
            }),
            Self::FloodLog { lines, bytes } => {
                let line = "l".repeat(bytes);
                for _ in 0..lines {
                    log::info(&line, &[("of", "many")]);
                }
                Ok(Receipt::new(format!("{lines} lines")))
            }
            Self::BigReturn { bytes } => Ok(Receipt::new("r".repeat(bytes))),
            Self::BigRequest { bytes } => {
                let response = Request::post("target", "/")
                    .body("text/plain", vec![b'b'; bytes])
                    .send()?;
                response.success().map(|response| Receipt::new(summary(&response)))
            }
            Self::CredentialExists { upstream } => Ok(Receipt::new(credentials::exists(&upstream).to_string())),
            Self::Settings => Ok(Receipt::new(settings::get::<serde_json::Value>()?.to_string())),
            Self::Describe => Ok(Receipt::new(format!(
                "{} {} attempt {} key {} deadline {}",
                event.type_, event.correlation_id, attempt.number, attempt.idempotency_key, attempt.deadline
            ))),
            Self::StateGet { key } => Ok(Receipt::new(match state::get(&key)? {
                Some(value) => String::from_utf8_lossy(&value).into_owned(),
                None => "nothing".to_owned(),
            })),
            Self::StateSet { key, value, fail } => state_set(&key, value.as_deref(), fail),
            Self::StateFill { keys, bytes } => {
                for key in 0..keys {
                    state::set(&format!("key-{key}"), &vec![b's'; bytes])?;
                }
                Ok(Receipt::new(format!("{keys} keys")))
            }
            Self::StateCount { key } => state_count(&key),
            Self::CountAndCall { key, call } => {
                let counted = state_count(&key)?;
                call.send()?.success()?;
                Ok(counted)
            }
        }
    }
}

impl Call {
    fn send(&self) -> Result<Response, HttpError> {
        let mut request = Request::new(&self.method, &self.upstream, &self.path);
        request.query = self.query.clone();
        request.body = self.body.clone().into_bytes();
        request.timeout_ms = self.timeout_ms;
        for (name, value) in &self.headers {
            request = request.header(name, value.as_bytes());
        }
        request.send()
    }
}

impl From<Kind> for FailureKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auth => Self::Auth,
            Kind::RateLimited => Self::RateLimited,
            Kind::Dependency => Self::Dependency,
            Kind::Invalid => Self::Invalid,
            Kind::DataQuality => Self::DataQuality,
            Kind::Configuration => Self::Configuration,
            Kind::Gone => Self::Gone,
        }
    }
}

fn receipt(id: Option<String>, confirm: Option<String>, within_ms: Option<u64>) -> Receipt {
    let mut receipt = Receipt::new("ok");
    receipt.external_id = id;
    match confirm {
        Some(key) => receipt.expect_confirmation(key, within_ms.unwrap_or(60_000)),
        None => receipt,
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() -> ! {
    let mut pages = Vec::new();
    loop {
        pages.push(black_box(vec![1_u8; PAGE_BYTES]));
    }
}

#[expect(unconditional_recursion, reason = "the stack is to be used up")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

/// Holds nothing whose address is taken, and cannot be made a loop of.
fn dig(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    let below = dig(depth - 1);
    below.wrapping_mul(below ^ depth)
}

fn flood(call: &Call, times: Option<u32>) -> Receipt {
    let (mut answered, mut failed) = (0_u32, 0_u32);
    while times.is_none_or(|times| answered + failed < times) {
        match call.send() {
            Ok(_) => answered += 1,
            Err(_) => failed += 1,
        }
    }
    Receipt::new(format!("answered {answered}, failed {failed}"))
}

fn echo_log(response: &Response) -> Receipt {
    for (name, value) in &response.headers {
        log::info(&format!("{name}: {}", String::from_utf8_lossy(value)), &[]);
    }
    for part in response.body.chunks(QUOTED_BYTES_MAX) {
        log::info(&String::from_utf8_lossy(part), &[]);
    }
    Receipt::new(summary(response))
}

fn summary(response: &Response) -> String {
    let end = response.body.len().min(QUOTED_BYTES_MAX);
    format!("{} {}", response.status, String::from_utf8_lossy(&response.body[..end]))
}

fn state_set(key: &str, value: Option<&str>, fail: bool) -> Result<Receipt, Failure> {
    match value {
        Some(value) => state::set(key, value.as_bytes())?,
        None => state::remove(key)?,
    }
    if fail {
        Err(Failure::invalid("the probe was told to fail after setting its state"))
    } else {
        Ok(Receipt::new("set"))
    }
}

fn state_count(key: &str) -> Result<Receipt, Failure> {
    let found = state::get(key)?;
    let count: u64 = match &found {
        None => 0,
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::data_quality("the state holds no number"))?,
    };
    let next = (count + 1).to_string();
    state::compare_and_swap(key, found.as_deref(), Some(next.as_bytes()))?;
    Ok(Receipt::new(next))
}
