//! What everybody in a run has in common: time, chance, the queue, what is under way, and who watches.

use std::collections::BTreeMap;

use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::{FailureClass, LaneEffect};
use cofferdam_queue::StoreQueue;
use rand::rngs::StdRng;

use super::agenda::Agenda;
use super::attempt::Attempt;
use super::clock::Clock;
use super::judge::Judge;
use super::trace::Trace;

/// What a run did, for the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) acknowledged: u64,
    pub(super) attempts: u64,
    pub(super) limited: u64,
    pub(super) opened: u64,
    pub(super) parked: u64,
    pub(super) interrupted: u64,
    pub(super) refused: u64,
    pub(super) restarts: u64,
    pub(super) jumps: u64,
    pub(super) replayed: u64,
    pub(super) delivered: u64,
    pub(super) dead: u64,
    pub(super) discarded: u64,
}

impl Counts {
    /// With words for people.
    pub(super) fn rows(&self) -> [(&'static str, u64); 13] {
        [
            ("deliveries acknowledged", self.acknowledged),
            ("attempts", self.attempts),
            ("answers that limit a lane", self.limited),
            ("breakers opened", self.opened),
            ("answers that park a lane", self.parked),
            ("leases voided under way", self.interrupted),
            ("settles refused as stale", self.refused),
            ("processes ended", self.restarts),
            ("clocks set", self.jumps),
            ("dead letters replayed", self.replayed),
            ("delivered in the end", self.delivered),
            ("dead in the end", self.dead),
            ("discarded in the end", self.discarded),
        ]
    }

    /// Adds what another run did.
    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.attempts += other.attempts;
        self.limited += other.limited;
        self.opened += other.opened;
        self.parked += other.parked;
        self.interrupted += other.interrupted;
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.jumps += other.jumps;
        self.replayed += other.replayed;
        self.delivered += other.delivered;
        self.dead += other.dead;
        self.discarded += other.discarded;
    }

    /// Counts an attempt that failed by this class, if it did, and what it means for its lane.
    pub(super) fn of(&mut self, class: Option<FailureClass>, effects: &[LaneEffect]) {
        self.limited += u64::from(class == Some(FailureClass::RateLimited));
        self.parked += u64::from(class == Some(FailureClass::Auth));
        self.opened += u64::from(effects.iter().any(|effect| matches!(effect, LaneEffect::Trip { .. })));
    }
}

/// See the module.
pub(super) struct Bed {
    pub(super) rng: StdRng,
    pub(super) clock: Clock,
    pub(super) agenda: Agenda,
    pub(super) judge: Judge,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    /// Which process it is; what an earlier one has begun comes to nothing.
    pub(super) process: u32,
    /// The queue of the process; none while none runs.
    pub(super) queue: Option<StoreQueue>,
    /// What the process has under way.
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    /// Settles may take longer than their lease.
    pub(super) slow_settles: bool,
    /// Nothing goes wrong any more.
    pub(super) healed: bool,
}

impl Bed {
    /// Before anything happens.
    pub(super) fn new(rng: StdRng, agenda: Agenda, judge: Judge, slow_settles: bool) -> Self {
        Self {
            rng,
            clock: Clock::new(),
            agenda,
            judge,
            trace: Trace::default(),
            counts: Counts::default(),
            process: 0,
            queue: None,
            attempts: BTreeMap::new(),
            slow_settles,
            healed: false,
        }
    }

    /// A line for the trace.
    pub(super) fn note(&mut self, what: impl AsRef<str>) {
        self.trace.note(self.clock.passed_ms, what.as_ref());
    }
}
