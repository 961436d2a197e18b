//! The clock that lanes go by: the wall's, as long as that one goes on as a clock does.
//!
//! A wall clock that is set back would leave every wait that was counted from the old time standing for as long as it was set
//! back by; so the lanes' clock then goes on at its old pace, ahead of the wall. It never goes back while the process lives,
//! and a wait of a minute lasts a minute. One that is set ahead, or a machine that slept, is followed, and told, so that
//! lanes with much due at once begin carefully. A restart begins with the wall's time again.

use std::time::Duration;

use crate::time::Timestamp;

/// A difference to the wall that is smaller than this is how clocks are kept right, and not told.
pub const JUMP_MIN: Duration = Duration::from_secs(10);

/// The wall clock did not go on as a clock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It was set ahead by so much, or the machine slept.
    Ahead(Duration),
    /// It was set back by so much.
    Back(Duration),
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyClock {
    /// Its own time when it was last read, and the monotonic clock's.
    read: Timestamp,
    monotonic: Duration,
    /// How far ahead of the wall it was then.
    lead: Duration,
}

impl SteadyClock {
    /// Begins with the wall's time. `monotonic` is counted from any point that stays the same.
    pub fn new(wall: Timestamp, monotonic: Duration) -> Self {
        Self {
            read: wall,
            monotonic,
            lead: Duration::ZERO,
        }
    }

    /// The time, and what the wall clock did since the last reading if it jumped. A jump is told once.
    pub fn read(&mut self, wall: Timestamp, monotonic: Duration) -> (Timestamp, Option<Jump>) {
        let expected = self.read.after(monotonic.saturating_sub(self.monotonic));
        let now = expected.max(wall);
        let (ahead, lead) = (wall.since(expected), expected.since(wall));
        let jump = if ahead >= JUMP_MIN {
            Some(Jump::Ahead(ahead))
        } else if lead >= self.lead + JUMP_MIN {
            Some(Jump::Back(lead - self.lead))
        } else {
            None
        };
        // Short of a jump the lead of the last one is kept, so that many small steps back are told once they make a jump.
        if jump.is_some() || lead < self.lead {
            self.lead = lead;
        }
        // A part of a millisecond that `after` drops is not lost: the monotonic side moves by whole milliseconds only.
        let moved = u64::try_from(monotonic.saturating_sub(self.monotonic).as_millis()).unwrap_or(u64::MAX);
        self.monotonic = self.monotonic.saturating_add(Duration::from_millis(moved));
        self.read = now;
        (now, jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    /// Reads at these pairs of wall and monotonic milliseconds after a beginning at (10 days, 0).
    fn check(readings: &[(u64, u64)], expected: &[(u64, Option<Jump>)]) {
        let mut clock = SteadyClock::new(Timestamp::from_millis(10 * DAY), Duration::ZERO);
        let seen: Vec<_> = readings
            .iter()
            .map(|(wall, monotonic)| {
                let (now, jump) = clock.read(Timestamp::from_millis(*wall), Duration::from_millis(*monotonic));
                (now.as_millis(), jump)
            })
            .collect();
        assert_eq!(seen, expected, "{readings:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_by_a_day_stalls_no_wait() {
        check(
            &[(10 * DAY + 5, 5), (9 * DAY + 1_005, 1_005), (9 * DAY + 2_005, 2_005)],
            &[
                (10 * DAY + 5, None),
                (10 * DAY + 1_005, Some(Jump::Back(Duration::from_millis(DAY)))),
                (10 * DAY + 2_005, None),
            ],
        );
    }

    #[test]
    fn a_clock_that_is_set_ahead_is_followed_and_told_once() {
        check(
            &[(10 * DAY + HOUR, 0), (10 * DAY + HOUR + 7, 7)],
            &[
                (10 * DAY + HOUR, Some(Jump::Ahead(Duration::from_millis(HOUR)))),
                (10 * DAY + HOUR + 7, None),
            ],
        );
    }

    #[test]
    fn small_steps_are_no_jumps_until_they_add_up_to_one() {
        let step = |n: u64| (10 * DAY + n * 1_000 - n * 4_000, n * 1_000);
        check(
            &[step(1), step(2), step(3)],
            &[
                (10 * DAY + 1_000, None),
                (10 * DAY + 2_000, None),
                (10 * DAY + 3_000, Some(Jump::Back(Duration::from_secs(12)))),
            ],
        );
    }

    #[test]
    fn parts_of_a_millisecond_are_not_lost() {
        let mut clock = SteadyClock::new(Timestamp::from_millis(DAY), Duration::ZERO);
        let last = (1..=4_000)
            .map(|n| clock.read(Timestamp::ZERO, Duration::from_micros(n * 250)).0)
            .last();
        assert_eq!(last, Some(Timestamp::from_millis(DAY + 1_000)));
    }
}
