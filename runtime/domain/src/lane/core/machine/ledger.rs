//! What a delivery has cost and where it is, kept apart from its record, and the table of what follows a verdict.

use super::*;
use crate::retry::{Decision, Outcome, RetryPolicy};

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Waits; not before this.
    Pending(u64),
    /// Under this lease generation.
    InFlight(u64),
    Delivered,
    Dead,
}

/// A delivery's account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) place: Place,
    pub(super) charged: u32,
    pub(super) runs: u32,
    pub(super) faults: u32,
    pub(super) interruptions: u32,
}

impl Account {
    pub(super) fn new(now: u64) -> Self {
        Self {
            place: Place::Pending(now),
            charged: 0,
            runs: 0,
            faults: 0,
            interruptions: 0,
        }
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, now: u64, run: u32, generation: u64) {
        let Place::Pending(due) = self.place else {
            panic!("{self:?} is not there to be leased")
        };
        assert!(due <= now, "began at {now}, due at {due}");
        assert!(run > self.runs, "run {run} after run {}", self.runs);
        self.runs = run;
        self.charged += 1;
        self.place = Place::InFlight(generation);
    }

    /// An attempt ended without an answer: nothing is charged.
    pub(super) fn came_back(&mut self, due: u64, interrupted: bool) {
        self.charged -= 1;
        self.interruptions += u32::from(interrupted);
        self.place = Place::Pending(due);
    }

    /// An attempt is settled by this class.
    pub(super) fn settled(&mut self, end: End, outcome: &Outcome, now: u64) {
        use FailureClass::{Auth, ConnectorFault, RateLimited};
        self.faults += u32::from(end.class == Some(ConnectorFault));
        self.charged -= u32::from(matches!(end.class, Some(Auth | RateLimited)) && *outcome != Outcome::Dead);
        self.place = match outcome {
            Outcome::Delivered => Place::Delivered,
            Outcome::Dead => Place::Dead,
            Outcome::Parked => Place::Pending(now),
            Outcome::Retry { due_at, .. } => Place::Pending(due_at.as_millis()),
        };
    }

    /// Holds a decision, made `now` on a series that began at `series_at`, against the table.
    pub(super) fn judge(&self, policy: &RetryPolicy, decision: &Decision, end: End, now: u64, series_at: u64) {
        use FailureClass as Class;
        let asked = end.retry_after_ms.unwrap_or(0).min(24 * HOUR);
        let step = policy.schedule_ms.get(self.charged as usize).copied();
        let poisoned = self.interruptions >= policy.interruptions_max;
        let faulted = self.faults + 1 >= policy.faults_max || poisoned;
        // The least and the longest wait of what is tried again; none is dead at once.
        let waits = match end.class {
            None => return assert_eq!(decision.outcome, Outcome::Delivered),
            Some(Class::Auth) => return assert_eq!(decision.outcome, Outcome::Parked),
            Some(Class::RateLimited) => Some((asked.max(SECOND), asked.max(60 * SECOND) * 5 / 4)),
            Some(Class::ConnectorFault) if faulted => None,
            Some(Class::Dependency | Class::Transport | Class::Timeout | Class::ConnectorFault) => {
                step.map(|step| (asked.max(step.min(SECOND)), (asked * 5 / 4).max(step)))
            }
            Some(Class::Schema | Class::Gone | Class::Configuration | Class::Policy | Class::DataQuality) => None,
        };
        let oldest = series_at + policy.max_age_ms;
        match (&decision.outcome, waits) {
            (Outcome::Dead, None) => {}
            (Outcome::Dead, Some((_, longest))) => {
                assert!(now + longest > oldest, "dead and not too old: {self:?} {end:?}");
            }
            (Outcome::Retry { due_at, charged }, Some((least, longest))) => {
                let due_at = due_at.as_millis();
                assert!(
                    (now + least..=now + longest).contains(&due_at) && due_at <= oldest,
                    "{self:?} {end:?}"
                );
                assert_eq!(*charged, end.class != Some(Class::RateLimited));
            }
            (outcome, waits) => panic!("{outcome:?}, not {waits:?}: {self:?} {end:?}"),
        }
    }
}
