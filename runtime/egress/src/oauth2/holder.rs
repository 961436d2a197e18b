//! What one process remembers of a token set beside what lies in the vault: whether a request is under way, and how long
//! the server is left alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::{Digest, Timestamp};
use cofferdam_vault::Expect;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::TokenError;
use super::token_set::TokenSet;

/// How a request for a token ended. After a good end the vault says what there is.
pub(crate) type Landing = Result<(), TokenError>;

/// Where a flight's end is waited for.
pub(crate) type Landed = watch::Receiver<Option<Landing>>;

/// One token set's memory. Shared by whoever uses it.
#[derive(Default)]
pub(crate) struct Holder(Mutex<Memory>);

#[derive(Default)]
pub(crate) struct Memory {
    /// The one request that is under way.
    pub(crate) flight: Option<Landed>,
    /// The server is not asked before this time.
    pub(crate) closed: Option<Closed>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Since when.
    pub(crate) failing_since: Option<Timestamp>,
    /// A version that was obtained because the one before was answered with 401, and when.
    pub(crate) renewed: Option<(u64, Instant)>,
    /// Whether the present token was used.
    pub(crate) used: bool,
    /// An answer that could not be made durable yet. None of its tokens is used before it is.
    pub(crate) unsaved: Option<Box<(TokenSet, Expect)>>,
}

pub(crate) struct Closed {
    pub(crate) until: Instant,
    /// What was asked: a server that was asked wrongly is asked rightly at once.
    pub(crate) asked: Digest,
    pub(crate) error: TokenError,
}

impl Holder {
    // Every change under the lock is whole in itself, so that a panic elsewhere leaves nothing half done.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// The error that stands while the server is left alone, with the wait that is left of it.
    pub(crate) fn closed_now(&self, now: Instant, asked: Digest) -> Option<TokenError> {
        let closed = self.closed.as_ref();
        let closed = closed.filter(|closed| now < closed.until && closed.asked == asked)?;
        let left = closed.until.duration_since(now);
        Some(match closed.error.clone() {
            TokenError::Unavailable { limited, reason, .. } => TokenError::Unavailable {
                limited,
                reason,
                wait: left,
            },
            other => other,
        })
    }

    /// The server is left alone for a while.
    pub(crate) fn close(&mut self, now: Instant, wait: Duration, asked: Digest, error: TokenError) {
        self.closed = Some(Closed {
            until: now + wait,
            asked,
            error,
        });
    }

    /// All is well again.
    pub(crate) fn open(&mut self) {
        self.closed = None;
        self.failures = 0;
        self.failing_since = None;
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.flight.is_none() && self.unsaved.is_none() && self.closed.as_ref().is_none_or(|closed| closed.until <= now)
    }
}

/// Ends a flight whatever becomes of its task: a panic leaves nobody waiting and the next one free to begin.
pub(crate) struct FlightEnd(pub(crate) Arc<Holder>);

impl Drop for FlightEnd {
    fn drop(&mut self) {
        self.0.lock().flight = None;
    }
}
