//! How heavy a lane's calls have been lately, which decides where its next one begins.
//!
//! A lane whose calls compute for long begins them on the compute threads straight away: else each of them would hold a thread
//! of the executor until it is noticed. It comes back once its calls are short again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::compute::queue::LaneId;

/// Above this mean a call begins on the compute threads, in microseconds. A small guest takes twenty.
const HEAVY_US: u64 = 1_000;

/// What one call counts at most, so that a lane which computed for seconds is back after some twenty short calls.
const COUNTED_US_MAX: u64 = 16_000;

/// One part in so many of the mean is the latest call's.
const MEMORY: u64 = 8;

/// One lane's, shared by all of its calls.
#[derive(Debug)]
pub(crate) struct LaneWeight {
    /// Its name where turns are given.
    pub(crate) lane: LaneId,
    mean_us: AtomicU64,
}

impl LaneWeight {
    /// Of a lane that has made no call yet: light until it shows otherwise.
    pub(crate) fn new() -> Self {
        static LANES: AtomicU64 = AtomicU64::new(0);
        Self {
            lane: LaneId(LANES.fetch_add(1, Ordering::Relaxed)),
            mean_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_heavy(&self) -> bool {
        self.mean_us.load(Ordering::Relaxed) > HEAVY_US
    }

    /// A call has ended that computed for so long. Of two that end at once one may go uncounted: it is a mean.
    pub(crate) fn note(&self, computed: Duration) {
        let counted = u64::try_from(computed.as_micros())
            .unwrap_or(u64::MAX)
            .min(COUNTED_US_MAX);
        let mean = self.mean_us.load(Ordering::Relaxed);
        // Rounded up, so that a lane of long calls does not stop short of what they are, and down when it sinks.
        let next = if counted > mean {
            mean + (counted - mean).div_ceil(MEMORY)
        } else {
            mean - (mean - counted).div_ceil(MEMORY)
        };
        self.mean_us.store(next, Ordering::Relaxed);
    }

    /// A call had to be moved: those that come behind it need not be found out one by one. It may have been a busy machine
    /// that made it look long, so a few short ones are enough to come back.
    pub(crate) fn note_moved(&self) {
        self.mean_us.fetch_max(2 * HEAVY_US, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(weight: &LaneWeight, calls: usize, us: u64) -> bool {
        for _ in 0..calls {
            weight.note(Duration::from_micros(us));
        }
        weight.is_heavy()
    }

    #[test]
    fn a_lane_is_light_until_its_calls_are_long_and_again_once_they_are_short() {
        let weight = LaneWeight::new();
        assert!(!after(&weight, 100, 20));
        weight.note_moved();
        assert!(weight.is_heavy());
        assert!(!after(&weight, 6, 20), "it may have been a busy machine");
        assert!(after(&weight, 1, 2_000_000), "one long call is enough");
        after(&weight, 50, 2_000_000);
        assert!(after(&weight, 20, 20), "not by a few short ones in between");
        assert!(!after(&weight, 5, 20));
    }

    #[test]
    fn calls_on_the_line_stay_where_they_are() {
        let weight = LaneWeight::new();
        assert!(!after(&weight, 1000, HEAVY_US));
        assert!(after(&weight, 1000, HEAVY_US + 1));
    }

    #[test]
    fn every_lane_has_a_name_of_its_own() {
        assert_ne!(LaneWeight::new().lane, LaneWeight::new().lane);
    }
}
