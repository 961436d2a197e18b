//! The vocabulary of the probe. What an act finds out comes back as the receipt's summary.

use std::sync::atomic::{AtomicU32, Ordering};

use cofferdam_sdk::{Failure, FailureKind, Receipt};
use serde::Deserialize;
use wasip2::cli::{environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::http::types::{Fields, Method, OutgoingRequest};
use wasip2::io::streams::{OutputStream, StreamError};
use wasip2::random::{insecure, insecure_seed, random};
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

use crate::exchange::Exchanges;
use crate::fetch::{Begun, Fetch};

/// What an instance remembers from one call to the next, if it lives that long.
static SERVED: AtomicU32 = AtomicU32::new(0);

/// `{"do": "fetch", "url": "…"}`, `{"do": "exit", "status": 1}` …
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Act {
    /// Sends a request.
    Fetch(Fetch),
    /// Sends a request and claims success whatever came back.
    Lie(Fetch),
    /// Sends requests, and reports exactly what came of each to a URL of the test's own.
    Exchange(Exchanges),
    /// Begins all requests one after the other, then takes their answers in the same order: `200, 500, error CODE`.
    FetchAll { requests: Vec<Fetch> },
    /// Begins all requests, sends one more and takes its answer, and returns without those of the others.
    Abandon { requests: Vec<Fetch>, then: Fetch },
    /// Begins the request so often, each time giving it up at once, and sends it in the end: `200, after 255`, where the number
    /// is that of requests that were taken.
    GiveUp { request: Fetch, times: usize },
    /// Sends the request so often and reads no body, but keeps every one.
    Hoard { request: Fetch, times: usize },
    /// Makes so many of one resource and keeps them: `fields`, `timers`, `streams` or `networks`.
    Collect { what: Resource, times: u64 },
    /// The summary says how many calls of this act its instance has served, this one included.
    Remember,
    /// Makes so many requests, tries to give each an authority and a method of so many bytes, and keeps all of them for a while:
    /// `8 refused, 0 taken`.
    LongNames {
        requests: usize,
        bytes: usize,
        hold_ms: u64,
    },
    /// Calls the same function of the host so often.
    Repeat { call: Repeated, times: u64 },
    /// Writes to standard output, so often if `times` is given, and to standard error.
    Print {
        #[serde(default)]
        stdout: String,
        #[serde(default)]
        times: Option<u32>,
        #[serde(default)]
        stderr: String,
        /// Panics afterwards.
        #[serde(default)]
        panic: bool,
    },
    /// Ends itself.
    Exit { status: bool },
    /// Waits, and says how long that took: `slept 20 ms at 1764034000`.
    Sleep { ms: u64 },
    /// Asks for so many random bytes.
    Random { bytes: u64 },
    /// Says what there is of an environment: `0 variables, 0 arguments, no directory, 0 files open, no terminal, input ended`.
    Environment,
    /// Tries to get at the network without the host: `tcp4 …, tcp6 …, udp4 …, udp6 …, name …`.
    Sockets,
}

/// See [`Act::Collect`].
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Resource {
    Fields,
    Timers,
    Streams,
    Networks,
}

/// See [`Act::Repeat`]. Of these the host has written the first two itself, and the others come with its library.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Repeated {
    Now,
    Random,
    Ready,
    CheckWrite,
}

impl Act {
    pub(crate) fn perform(self) -> Result<Receipt, Failure> {
        match self {
            Self::Fetch(fetch) => match fetch.send() {
                Ok(got) => Ok(Receipt::new(got.quoted())),
                Err(code) => Err(failure(code)),
            },
            Self::Lie(fetch) => {
                let _ = fetch.send();
                Ok(Receipt::new("all is well"))
            }
            Self::Exchange(exchanges) => exchanges.perform(),
            Self::FetchAll { requests } => Ok(Receipt::new(fetch_all(&requests))),
            Self::Abandon { requests, then } => {
                let begun: Vec<_> = requests.iter().map(Fetch::begin).collect();
                // Kept until the call is over, so that it is the host that ends them.
                std::mem::forget(begun);
                let got = then.send().map_err(failure)?;
                Ok(Receipt::new(format!("abandoned, then {}", got.quoted())))
            }
            Self::GiveUp { request, times } => {
                let taken = (0..times).filter(|_| request.begin().is_ok()).count();
                let last = request
                    .send()
                    .map_or_else(|code| format!("error {code}"), |got| got.status.to_string());
                Ok(Receipt::new(format!("{last}, after {taken}")))
            }
            Self::Hoard { request, times } => hoard(&request, times),
            Self::Collect { what, times } => {
                for _ in 0..times {
                    collect(what);
                }
                Ok(Receipt::new(format!("{times} kept")))
            }
            Self::Remember => Ok(Receipt::new((SERVED.fetch_add(1, Ordering::Relaxed) + 1).to_string())),
            Self::LongNames {
                requests,
                bytes,
                hold_ms,
            } => Ok(long_names(requests, bytes, hold_ms)),
            Self::Repeat { call, times } => {
                repeat(call, times);
                Ok(Receipt::new(format!("{times} times")))
            }
            Self::Print {
                stdout,
                times,
                stderr,
                panic,
            } => print(&stdout, times.unwrap_or(1), &stderr, panic),
            Self::Exit { status } => {
                exit::exit(if status { Ok(()) } else { Err(()) });
                Ok(Receipt::new("still here"))
            }
            Self::Sleep { ms } => {
                let began = monotonic_clock::now();
                monotonic_clock::subscribe_duration(ms * 1_000_000).block();
                let slept = (monotonic_clock::now() - began) / 1_000_000;
                Ok(Receipt::new(format!(
                    "slept {slept} ms at {}",
                    wall_clock::now().seconds
                )))
            }
            Self::Random { bytes } => {
                let found = random::get_random_bytes(bytes);
                let other = insecure::get_insecure_random_bytes(bytes);
                Ok(Receipt::new(format!("{} {}", found.len(), found != other)))
            }
            Self::Environment => Ok(Receipt::new(surroundings())),
            Self::Sockets => Ok(Receipt::new(sockets())),
        }
    }
}

fn repeat(call: Repeated, times: u64) {
    match call {
        Repeated::Now => (0..times).for_each(|_| {
            wall_clock::now();
        }),
        Repeated::Random => (0..times).for_each(|_| {
            random::get_random_u64();
        }),
        Repeated::Ready => {
            let timer = monotonic_clock::subscribe_duration(0);
            (0..times).for_each(|_| {
                timer.ready();
            });
        }
        Repeated::CheckWrite => {
            let stream = stdout::get_stdout();
            (0..times).for_each(|_| drop(stream.check_write()));
        }
    }
}

fn failure(code: String) -> Failure {
    Failure {
        kind: FailureKind::Dependency,
        message: format!("no answer: {code}"),
        code: Some(code),
        retry_after_ms: None,
    }
}

fn fetch_all(requests: &[Fetch]) -> String {
    let begun: Vec<_> = requests.iter().map(Fetch::begin).collect();
    let ended = begun.into_iter().map(|begun| match begun.and_then(Begun::finish) {
        Ok(got) => got.status.to_string(),
        Err(code) => format!("error {code}"),
    });
    ended.collect::<Vec<_>>().join(", ")
}

fn hoard(request: &Fetch, times: usize) -> Result<Receipt, Failure> {
    let mut kept = Vec::new();
    for _ in 0..times {
        kept.push(request.begin().and_then(Begun::response).map_err(failure)?);
    }
    Ok(Receipt::new(format!("{} answers kept", kept.len())))
}

fn collect(what: Resource) {
    match what {
        Resource::Fields => std::mem::forget(Fields::new()),
        Resource::Timers => std::mem::forget(monotonic_clock::subscribe_duration(u64::MAX)),
        Resource::Streams => std::mem::forget(stdout::get_stdout()),
        Resource::Networks => std::mem::forget(instance_network::instance_network()),
    }
}

fn long_names(requests: usize, bytes: usize, hold_ms: u64) -> Receipt {
    let name = "m".repeat(bytes);
    let kept: Vec<_> = (0..requests).map(|_| OutgoingRequest::new(Fields::new())).collect();
    let taken = kept.iter().filter(|request| request.set_authority(Some(&name)).is_ok());
    let authorities = taken.count();
    let method = Method::Other(name);
    let taken = kept.iter().filter(|request| request.set_method(&method).is_ok());
    let taken = authorities + taken.count();
    monotonic_clock::subscribe_duration(hold_ms * 1_000_000).block();
    drop(kept);
    Receipt::new(format!("{} refused, {taken} taken", 2 * requests - taken))
}

fn print(stdout: &str, times: u32, stderr: &str, panic: bool) -> Result<Receipt, Failure> {
    let all = |stream: OutputStream, text: &str| {
        for part in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part)?;
        }
        Ok::<(), StreamError>(())
    };
    let written = (0..times).try_for_each(|_| all(stdout::get_stdout(), stdout));
    let written = written.and_then(|()| all(stderr::get_stderr(), stderr));
    assert!(!panic, "the probe was told to panic");
    written.map_err(|error| failure(format!("{error:?}")))?;
    Ok(Receipt::new("printed"))
}

fn surroundings() -> String {
    let directory = environment::initial_cwd().unwrap_or_else(|| "no directory".to_owned());
    let terminal = terminal_stdin::get_terminal_stdin().is_some()
        || terminal_stdout::get_terminal_stdout().is_some()
        || terminal_stderr::get_terminal_stderr().is_some();
    let input = match stdin::get_stdin().blocking_read(16) {
        Err(StreamError::Closed) => "input ended".to_owned(),
        other => format!("input {other:?}"),
    };
    format!(
        "{} variables, {} arguments, {directory}, {} files open, {}, {input}",
        environment::get_environment().len(),
        environment::get_arguments().len(),
        preopens::get_directories().len(),
        if terminal { "a terminal" } else { "no terminal" },
    )
}

fn sockets() -> String {
    fn said<T>(made: Result<T, ErrorCode>) -> String {
        made.err()
            .map_or_else(|| "made".to_owned(), |code| code.name().to_owned())
    }
    let network = instance_network::instance_network();
    let v4 = IpAddressFamily::Ipv4;
    let v6 = IpAddressFamily::Ipv6;
    format!(
        "tcp4 {}, tcp6 {}, udp4 {}, udp6 {}, name {}",
        said(tcp_create_socket::create_tcp_socket(v4)),
        said(tcp_create_socket::create_tcp_socket(v6)),
        said(udp_create_socket::create_udp_socket(v4)),
        said(udp_create_socket::create_udp_socket(v6)),
        said(ip_name_lookup::resolve_addresses(&network, "localhost")),
    )
}

/// A descriptor must be the same at every call, so what it is made from must be as well.
pub(crate) fn summary_that_would_differ_if_time_or_chance_did() -> String {
    let now = wall_clock::now();
    monotonic_clock::subscribe_duration(3_600_000_000_000).block();
    let chance = [
        random::get_random_u64(),
        insecure::get_insecure_random_u64(),
        insecure_seed::insecure_seed().0,
    ];
    format!(
        "At {}.{} and {}, {chance:x?}.",
        now.seconds,
        now.nanoseconds,
        monotonic_clock::now()
    )
}
