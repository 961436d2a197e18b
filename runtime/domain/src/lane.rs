//! Lanes: a connection's own queue, and what keeps it from moving.

pub mod breaker;
pub mod bucket;
pub mod core;
pub mod ramp;

use serde::{Deserialize, Serialize};

use crate::classify::FailureClass;
use crate::time::Timestamp;

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
    pub fn outdates(&self, started_at: Timestamp) -> bool {
        self.released_at.is_some_and(|released_at| released_at >= started_at)
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
            LaneEffect::BackOff { until } => self.back_off_until = self.back_off_until.max(Some(*until)),
            LaneEffect::Flag { class, reason } => {
                self.flagged.get_or_insert_with(|| note(class, reason));
            }
            LaneEffect::Trip { until, reason } => {
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
                let until = self.tripped.take().map(|tripped| tripped.until);
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
        ] {
            assert_eq!(state.outdates(started_at), outdated, "{state:?} {started_at:?}");
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
        assert!(state.outdates(at(5)) && !state.outdates(at(6)));
    }
}
