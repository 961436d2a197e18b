//! The one place of this crate that reads the clock.
//!
//! [`now`] is the wall's time: what is shown, signed or compared with what somebody else's clock says. [`steady`] is the
//! time that the queue and its lanes go by; it is the wall's too, but for as long as a wall clock that was set back stays
//! behind (see `cofferdam_domain::clock`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cofferdam_domain::Timestamp;
use cofferdam_domain::clock::{Jump, SteadyClock};

/// The present, by the system's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The present, as lanes see it: it never goes back.
pub(crate) fn steady() -> Timestamp {
    let (time, jump) = LANES.read();
    match jump {
        None => {}
        Some(Jump::Ahead(by)) => {
            *LAST_AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            AHEAD.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                seconds = by.as_secs(),
                "the clock was set ahead, or the machine slept; lanes begin carefully"
            );
        }
        Some(Jump::Back(by)) => tracing::warn!(
            seconds = by.as_secs(),
            "the clock was set back; lanes go on by their own until it has caught up"
        ),
    }
    time
}

/// How often [`steady`] has seen the clock set ahead.
pub(crate) fn jumps_ahead() -> u64 {
    AHEAD.load(Ordering::Relaxed)
}

/// Whether [`steady`] has seen the clock set ahead within so much real time. What is done because time has passed, and cannot
/// be undone, waits that long: the new time may be the wrong one, and what is under way was begun under the old.
pub(crate) fn jumped_within(span: Duration) -> bool {
    let at = LAST_AHEAD.lock().unwrap_or_else(PoisonError::into_inner);
    at.is_some_and(|at| at.elapsed() < span)
}

static AHEAD: AtomicU64 = AtomicU64::new(0);
static LAST_AHEAD: Mutex<Option<Instant>> = Mutex::new(None);
static LANES: LazyLock<Lanes> = LazyLock::new(Lanes::begin);

struct Lanes {
    began: Instant,
    clock: Mutex<SteadyClock>,
}

impl Lanes {
    fn begin() -> Self {
        let clock = SteadyClock::new(now(), Duration::ZERO);
        Self {
            began: Instant::now(),
            clock: Mutex::new(clock),
        }
    }

    fn read(&self) -> (Timestamp, Option<Jump>) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        // Both are read under the lock, so that readings go forward together.
        clock.read(now(), self.began.elapsed())
    }
}
