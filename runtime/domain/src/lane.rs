//! Lanes: a connection's own queue, and what keeps it from moving.

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
        }
        self
    }

    /// Whether deliveries may be tried now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.parked.is_none() && self.back_off_until.is_none_or(|until| until <= now)
    }
}
