//! The trail: every request of a call as the gate saw it, in order, refused ones included.
//!
//! An exchange is entered before anything is checked and completed when it has ended. A call that is dropped in between
//! leaves it in flight, with the truth about whether bytes may have left.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cofferdam_domain::attempt::Timings;
use cofferdam_domain::limits::{EXCHANGES_PER_CALL_MAX, clipped};
use cofferdam_domain::{Digest, Exchange, ExchangeResult, Timestamp, TraceContext, UpstreamName};
use tokio::time::Instant;

use crate::exchange::{GuestRequest, HttpError};
use crate::refusal::{Refusal, RefusalCode};

/// Longest method that is recorded, in bytes.
const METHOD_BYTES_MAX: usize = 16;

/// Stands in a record for an upstream whose name is no name.
const UNNAMED_UPSTREAM: &str = "unnamed";

/// What one call left behind. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Vec<Slot>>>);

#[derive(Debug)]
struct Slot {
    exchange: Exchange,
    sent: SentFlag,
    ended: bool,
    /// Whether a redirect led to it; the message is then the earlier exchange's.
    hop: bool,
}

/// How an exchange came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The guest asked for it.
    Guest,
    /// A redirect led to it.
    Redirect,
}

impl Trail {
    /// Everything so far, in order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let finished = |slot: &Slot| {
            let mut exchange = slot.exchange.clone();
            if !slot.ended {
                exchange.result = ExchangeResult::InFlight {
                    request_sent: slot.sent.is_set(),
                };
            }
            exchange
        };
        self.lock().iter().map(finished).collect()
    }

    /// Enters an exchange. The first one over the limit is recorded as refused, since a verdict has to see it; later ones
    /// are refused without a record.
    pub(crate) fn enter(&self, mut exchange: Exchange, origin: Origin) -> Result<Entry, Refusal> {
        let mut slots = self.lock();
        let index = slots.len();
        let over = index >= EXCHANGES_PER_CALL_MAX;
        let refusal = Refusal::new(
            RefusalCode::TooManyRequestsInCall,
            format!("one call sends at most {EXCHANGES_PER_CALL_MAX} requests"),
        );
        if over {
            exchange.result = HttpError::Refused(refusal.clone()).into_result();
        }
        let sent = SentFlag::default();
        if index <= EXCHANGES_PER_CALL_MAX {
            slots.push(Slot {
                exchange,
                sent: sent.clone(),
                ended: over,
                hop: origin == Origin::Redirect,
            });
        }
        drop(slots);
        if over {
            return Err(refusal);
        }
        Ok(Entry {
            trail: self.clone(),
            index,
            sent,
            started: Instant::now(),
        })
    }

    // A panic elsewhere while the lock was held cannot leave a record half written: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of a request that nothing is known of yet but what the guest wrote.
pub(crate) fn opening(request: &GuestRequest, trace: TraceContext, started_at: Timestamp) -> Exchange {
    let target = match request.query.as_deref().filter(|query| !query.is_empty()) {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.clone(),
    };
    Exchange {
        upstream: upstream_name(&request.upstream),
        method: clipped(request.method.clone(), METHOD_BYTES_MAX),
        path_prefix: String::new(),
        path_hash: Digest::of(target.as_bytes()),
        address: None,
        request_hash: Digest::of(&request.body),
        request_bytes: request.body.len() as u64,
        credential: None,
        trace,
        started_at,
        timings: Timings::default(),
        result: ExchangeResult::InFlight { request_sent: false },
        credential_reflected: false,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn upstream_name(given: &str) -> UpstreamName {
    given
        .parse()
        .unwrap_or_else(|_| UNNAMED_UPSTREAM.parse().expect("the stand-in is a valid name"))
}

/// Raised when the HTTP client takes the request up to write it. Once raised, bytes may have left.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentFlag(Arc<OnceLock<Instant>>);

impl SentFlag {
    pub(crate) fn set(&self) {
        self.0.get_or_init(Instant::now);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.at().is_some()
    }

    fn at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// One exchange under way.
pub(crate) struct Entry {
    trail: Trail,
    index: usize,
    sent: SentFlag,
    started: Instant,
}

impl Entry {
    /// Writes something that has become known.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Exchange)) {
        if let Some(slot) = self.trail.lock().get_mut(self.index) {
            change(&mut slot.exchange);
        }
    }

    /// Completes the record.
    pub(crate) fn close(&self, result: ExchangeResult) {
        let total_ms = self.elapsed_ms();
        let connected = self.sent.at().map(|at| millis(at.duration_since(self.started)));
        if let Some(slot) = self.trail.lock().get_mut(self.index) {
            slot.exchange.timings.connected_ms = connected;
            slot.exchange.timings.total_ms = Some(total_ms);
            slot.exchange.result = result;
            slot.ended = true;
        }
    }

    pub(crate) fn sent(&self) -> &SentFlag {
        &self.sent
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Records that the answer to this exchange pointed to where nobody goes.
    pub(crate) fn stop(&self, refusal: Refusal, trace: TraceContext, at: Timestamp) {
        let Some(mut stopped) = self.trail.lock().get(self.index).map(|slot| slot.exchange.clone()) else {
            return;
        };
        stopped.trace = trace;
        stopped.started_at = at;
        stopped.address = None;
        stopped.credential = None;
        stopped.credential_reflected = false;
        stopped.timings = Timings::default();
        if let Ok(entry) = self.trail.enter(stopped, Origin::Redirect) {
            entry.close(HttpError::Refused(refusal).into_result());
        }
    }

    /// The idempotency key of this exchange: `key` for a call's first change at an upstream, `key-2` for its second, and
    /// so on, since an upstream takes two different requests under one key for a mistake. A request that the call
    /// repeats unchanged keeps the key it had. It is stable over attempts as long as the connector makes its changes in
    /// the same order: what is refused counts too, since whether it is refused can differ between attempts, and when that
    /// is known differs with the timing of requests that are under way at once.
    pub(crate) fn idempotency_key(&self, key: &str) -> String {
        let slots = self.trail.lock();
        let identity = |exchange: &Exchange| (exchange.method.clone(), exchange.path_hash, exchange.request_hash);
        let Some(own) = slots.get(self.index).map(|slot| &slot.exchange) else {
            return key.to_owned();
        };
        let mut earlier = Vec::new();
        for slot in &slots[..self.index] {
            let exchange = &slot.exchange;
            let counts = !slot.hop && exchange.upstream == own.upstream && is_change(&exchange.method);
            if counts && !earlier.contains(&identity(exchange)) {
                earlier.push(identity(exchange));
            }
        }
        match earlier
            .iter()
            .position(|other| *other == identity(own))
            .unwrap_or(earlier.len())
        {
            0 => key.to_owned(),
            nth => format!("{key}-{}", nth + 1),
        }
    }
}

/// Methods that change something and are not idempotent by themselves, or are by convention sent with a key.
pub(crate) fn is_change(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

impl HttpError {
    /// As it is recorded.
    pub(crate) fn into_result(self) -> ExchangeResult {
        match self {
            Self::Refused(refusal) => ExchangeResult::Refused {
                code: refusal.code.code().to_owned(),
                message: refusal.message,
            },
            Self::RateLimited { wait } => ExchangeResult::RateLimited {
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            },
            Self::TimedOut { request_sent } => ExchangeResult::TimedOut { request_sent },
            Self::Unreachable(message) => ExchangeResult::Unreachable { message },
            Self::Interrupted(message) => ExchangeResult::Interrupted { message },
            Self::ResponseTooLarge(bytes_max) => ExchangeResult::ResponseTooLarge { bytes_max },
            Self::ProtocolError(message) => ExchangeResult::ProtocolError { message },
        }
    }
}
