//! Lanes: a connection's own queue, and what keeps it from moving.

pub mod breaker;
pub mod bucket;
pub mod core;
pub mod ramp;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::classify::FailureClass;
use crate::retry::RETRY_AFTER_MAX;
use crate::time::Timestamp;

/// Waits with no more than this between them, an attempt that takes its longest, are one trouble.
const BETWEEN_WAITS_MAX: Duration = Duration::from_secs(6 * 60);

/// A settle becomes durable at most so long after it was decided.
const LATE_SETTLE_MAX: Duration = Duration::from_secs(10 * 60);

/// What an attempt's outcome means for the lane it ran in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum LaneEffect {
    /// Nothing.
    None,
    /// Nothing is tried until a person, or a changed credential, releases the lane.
    Park {
        /// Why.
        class: FailureClass,
        /// For the person on call.
        reason: String,
    },
    /// Nothing is tried before this.
    BackOff {
        /// Until then.
        until: Timestamp,
    },
    /// The lane goes on; an admin should look.
    Flag {
        /// Why.
        class: FailureClass,
        /// For the admin.
        reason: String,
    },
    /// The breaker opens: nothing is tried before this, and then one probe.
    Trip {
        /// Until then.
        until: Timestamp,
        /// For the person on call.
        reason: String,
    },
    /// The breaker closes: a probe has got through.
    Recover,
}

/// What a lane remembers, durable with the settle that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    /// Set while nothing is tried.
    #[serde(default)]
    pub parked: Option<Note>,
    /// Nothing is tried before this.
    #[serde(default)]
    pub back_off_until: Option<Timestamp>,
    /// Set when an admin should look.
    #[serde(default)]
    pub flagged: Option<Note>,
    /// Set while the breaker is open or waits for its probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tripped: Option<Tripped>,
    /// When the latest waits began that the destination asked for or made necessary, one upon another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_since: Option<Timestamp>,
    /// When a person, or a changed credential, last released the lane.
    #[serde(default)]
    pub released_at: Option<Timestamp>,
}

/// A breaker that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tripped {
    /// When it opened first.
    pub since: Timestamp,
    /// When the next probe may go.
    pub until: Timestamp,
    /// How often in a row it has opened.
    pub trips: u32,
    /// For the person on call: the failure that opened it.
    pub reason: String,
}

/// Why, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The class of the failure that led to it.
    pub class: FailureClass,
    /// For people.
    pub reason: String,
    /// When it happened first.
    pub since: Timestamp,
}

impl LaneState {
    /// The state of a lane that is released now: open, with nothing standing against it.
    pub fn released(now: Timestamp) -> Self {
        Self {
            released_at: Some(now),
            ..Self::default()
        }
    }

    /// Whether the lane was released while an attempt that began at `started_at` was under way. What such an attempt met is
    /// what the release has put right, so its effect says nothing about the lane as it is now.
    ///
    /// `now` is the time of the verdict, which may become durable a little later. A release further ahead of it was written
    /// by another clock, before this one was set back, and outdates nothing: the lane would do without parks and back-offs
    /// until that time has come again.
    pub fn outdates(&self, started_at: Timestamp, now: Timestamp) -> bool {
        self.released_at
            .is_some_and(|released_at| released_at >= started_at && released_at.since(now) <= LATE_SETTLE_MAX)
    }

    /// The state after `effect`; a park or flag that already stands keeps its beginning, a back-off never shortens.
    #[must_use]
    pub fn after(mut self, effect: &LaneEffect, now: Timestamp) -> Self {
        let note = |class: &FailureClass, reason: &str| Note {
            class: *class,
            reason: reason.to_owned(),
            since: now,
        };
        match effect {
            LaneEffect::None => {}
            LaneEffect::Park { class, reason } => {
                self.parked.get_or_insert_with(|| note(class, reason));
            }
            LaneEffect::BackOff { until } => {
                self.begin_wait(now);
                // One that stands further away than any upstream is believed comes from another clock, and is none.
                let standing = self.back_off_until.filter(|until| until.since(now) <= RETRY_AFTER_MAX);
                self.back_off_until = standing.max(Some(*until));
            }
            LaneEffect::Flag { class, reason } => {
                self.flagged.get_or_insert_with(|| note(class, reason));
            }
            // Settles become durable in any order: one that comes late must not undo what a later one has found out.
            LaneEffect::Trip { until, .. }
                if *until <= self.open_since() && self.open_since().since(now) <= LATE_SETTLE_MAX => {}
            LaneEffect::Trip { until, reason } => {
                self.begin_wait(now);
                let before = self.tripped.take();
                self.tripped = Some(Tripped {
                    since: before.as_ref().map_or(now, |before| before.since),
                    until: *until,
                    trips: before.map_or(1, |before| before.trips.saturating_add(1)),
                    reason: reason.clone(),
                });
            }
            // The end of the last wait stays, as that of a back-off that is over: what waited through the outage is as old as it is.
            LaneEffect::Recover => {
                let until = self.tripped.take().map(|tripped| tripped.until.min(now));
                self.back_off_until = self.back_off_until.max(until);
            }
        }
        self
    }

    /// The end of the latest wait that the destination asked for or made necessary, past or to come: a delivery that was due
    /// before it stood ready from then on.
    pub fn open_since(&self) -> Timestamp {
        let tripped = self.tripped.as_ref().map(|tripped| tripped.until);
        self.back_off_until.max(tripped).unwrap_or(Timestamp::ZERO)
    }

    /// When the waits began that came one upon another until [`LaneState::open_since`]: what stood ready before that did not
    /// wait for the destination then.
    pub fn waits_since(&self) -> Timestamp {
        self.waits_since.unwrap_or(Timestamp::ZERO)
    }

    /// A wait begins: one upon the last, or the first of others.
    fn begin_wait(&mut self, now: Timestamp) {
        let last = self.open_since();
        let upon_the_last = last != Timestamp::ZERO && now.since(last) <= BETWEEN_WAITS_MAX;
        if !upon_the_last {
            self.waits_since = Some(now);
        }
    }

    /// Whether neither a park nor a back-off stands against deliveries now. The whole answer, with breaker, ramp and rate, is
    /// [`core::LaneCore::allowance`]'s.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.parked.is_none() && self.back_off_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attempts_that_began_before_the_release_are_outdated_by_it() {
        let at = Timestamp::from_millis;
        for (state, started_at, outdated) in [
            (LaneState::default(), at(0), false),
            (LaneState::released(at(5)), at(4), true),
            (LaneState::released(at(5)), at(5), true),
            (LaneState::released(at(5)), at(6), false),
            (LaneState::released(at(600_005)), at(4), true),
            (LaneState::released(at(600_006)), at(4), false),
        ] {
            assert_eq!(state.outdates(started_at, at(5)), outdated, "{state:?} {started_at:?}");
        }
    }

    #[test]
    fn a_lane_that_was_released_may_be_parked_again_and_remembers_the_release() {
        let at = Timestamp::from_millis;
        let park = LaneEffect::Park {
            class: FailureClass::Auth,
            reason: "401".into(),
        };
        let state = LaneState::released(at(5)).after(&park, at(7));
        assert!(!state.is_open(at(7)));
        assert!(state.outdates(at(5), at(7)) && !state.outdates(at(6), at(7)));
    }

    #[test]
    fn a_settle_that_becomes_durable_late_does_not_undo_what_a_later_one_found_out() {
        let at = Timestamp::from_millis;
        let trip = |until| LaneEffect::Trip {
            until: at(until),
            reason: "m".into(),
        };
        let twice = LaneState::default().after(&trip(30_000), at(20_000));
        assert_eq!(twice.clone().after(&trip(12_000), at(2_000)), twice);
        let recovered = twice.after(&LaneEffect::Recover, at(31_000));
        assert_eq!(recovered.clone().after(&trip(12_000), at(2_000)).tripped, None);
        assert!(recovered.after(&trip(60_000), at(50_000)).tripped.is_some());
    }

    #[test]
    fn waits_that_another_clock_has_written_leave_nothing_behind() {
        let (at, day) = (Timestamp::from_millis, 24 * 3_600_000);
        let back_off = |until| LaneEffect::BackOff { until: at(until) };
        let ahead = LaneState::default().after(&back_off(2 * day), at(0));
        assert_eq!(ahead.after(&back_off(9_000), at(1_000)).back_off_until, Some(at(9_000)));
        let until = at(day / 2);
        let tripped = LaneState::default().after(
            &LaneEffect::Trip {
                until,
                reason: "m".into(),
            },
            at(0),
        );
        let recovered = tripped.after(&LaneEffect::Recover, at(1_000));
        assert_eq!(
            recovered.back_off_until,
            Some(at(1_000)),
            "a lane that works does not wait for the old time"
        );
    }

    #[test]
    fn waits_one_upon_another_are_one_and_a_later_one_begins_anew() {
        let at = Timestamp::from_millis;
        let back_off = |until| LaneEffect::BackOff { until: at(until) };
        let state = LaneState::default().after(&back_off(9_000), at(1_000));
        let state = state.after(&back_off(20_000), at(10_000));
        assert_eq!((state.waits_since(), state.open_since()), (at(1_000), at(20_000)));
        let state = state.after(&back_off(900_000), at(800_000));
        assert_eq!((state.waits_since(), state.open_since()), (at(800_000), at(900_000)));
    }
}
