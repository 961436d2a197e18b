//! Simulated time: what has really passed, what the wall clock of the machine says, which people set at will, and what the
//! process goes by.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::clock::{Jump, SteadyClock};

/// A day in 2026.
const EPOCH_MS: u64 = 1_795_000_000_000;

/// Three clocks. Sleeps are measured by what has passed; everything durable is written by the process' own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Milliseconds since the beginning of the run; only ever forward.
    pub(super) passed_ms: u64,
    /// By how much the wall clock was set forward, or back.
    set_by_ms: i64,
    steady: SteadyClock,
    now: Timestamp,
}

impl Clock {
    /// At the beginning.
    pub(super) fn new() -> Self {
        let now = Timestamp::from_millis(EPOCH_MS);
        Self {
            passed_ms: 0,
            set_by_ms: 0,
            steady: SteadyClock::new(now, Duration::ZERO),
            now,
        }
    }

    /// What the process takes for the time.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Goes on to this time. Answers whether the process sees that its clock has jumped.
    pub(super) fn pass_to(&mut self, passed_ms: u64) -> Option<Jump> {
        self.passed_ms = self.passed_ms.max(passed_ms);
        let (now, jump) = self.steady.read(self.wall(), self.monotonic());
        self.now = now;
        jump
    }

    /// Another process begins.
    pub(super) fn restart(&mut self) {
        self.steady = SteadyClock::new(self.wall(), self.monotonic());
        self.now = self.wall();
    }

    /// Sets the wall clock forward by so much, or back.
    pub(super) fn set_by(&mut self, by_ms: i64) {
        self.set_by_ms += by_ms;
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis((EPOCH_MS + self.passed_ms).saturating_add_signed(self.set_by_ms))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms)
    }
}

/// A wait, in whole milliseconds.
pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
