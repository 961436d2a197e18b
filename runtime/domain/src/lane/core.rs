//! The core of a lane: from what happened to what may happen next. No clock, no I/O, no task.
//!
//! Whoever runs a lane tells the core everything ([`LaneEvent`]), asks it before each lease ([`LaneCore::allowance`]), and
//! makes durable, with the settle, what it answers. What is durable comes back to it as [`LaneEvent::Observed`]; between the
//! two the effects of a settle that is under way already hold, so that nothing slips through while it is being written.
//!
//! What it promises: nothing begins while the lane is parked, backs off or its breaker is open; one probe at a time while it is
//! half-open; never more than the policy's concurrency, the ramp's and the rate's. Attempts that began before the breaker
//! opened, a back-off began or a person released the lane settle as usual and say nothing of the lane as it is now.

use std::collections::BTreeMap;

use rand::Rng;

use super::breaker::{self, Breaker, Gate, Word};
use super::bucket::Bucket;
use super::ramp::Ramp;
use super::{LaneEffect, LaneState};
use crate::classify::{FailureClass, Verdict};
use crate::connection::{BreakerPolicy, Policy, Rate};
use crate::id::DeliveryId;
use crate::retry::RETRY_AFTER_MAX;
use crate::time::Timestamp;

/// Names an attempt: its delivery, and which run of it.
pub type AttemptId = (DeliveryId, u32);

/// What the core is told.
#[derive(Clone, Debug)]
pub enum LaneEvent {
    /// The policy that holds from now on; the same again changes nothing.
    Configured(LanePolicy),
    /// What the queue remembers of the lane. It was read after every [`LaneEvent::Ended`] that came before it.
    Observed(LaneState),
    /// An attempt has begun.
    Leased(AttemptId),
    /// An attempt has come to its verdict; it is about to be made durable, with the effects that are answered.
    Settled {
        /// Which.
        attempt: AttemptId,
        /// What the host makes of it.
        verdict: Verdict,
        /// What `retry::decide` means for the lane.
        effect: LaneEffect,
    },
    /// An attempt was given back: nothing of it has left.
    GivenBack(AttemptId),
    /// The attempt is over, its settle is durable or has failed.
    Ended(AttemptId),
    /// The clock has jumped ahead: much may be due at once.
    ClockJumped,
}

/// The part of a connection's policy that the core decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePolicy {
    /// Attempts under way at once.
    pub concurrency: usize,
    /// Attempts that may begin in a span of time.
    pub rate: Option<Rate>,
    /// When to leave a destination alone.
    pub breaker: BreakerPolicy,
}

impl From<&Policy> for LanePolicy {
    fn from(policy: &Policy) -> Self {
        Self {
            concurrency: policy.concurrency.max(1).into(),
            rate: policy.rate,
            breaker: policy.breaker,
        }
    }
}

/// Whether attempts may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many, at least one.
    Room(usize),
    /// None before this.
    Until(Timestamp, Held),
    /// None before something happens: an attempt ends, the lane is released, the policy changes.
    Signal(Held),
}

/// What holds a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// As much is under way as may be.
    Full,
    /// It is parked.
    Parked,
    /// It backs off.
    BackOff,
    /// Its breaker is open.
    Breaker,
    /// Its breaker waits for its probe.
    Probe,
    /// Its own rate.
    Rate,
}

/// An attempt under way.
#[derive(Clone, Debug)]
struct Run {
    started_at: Timestamp,
    /// The era that it began in; an attempt of a former one says nothing of the lane as it is now.
    era: u64,
    probe: bool,
    /// It took a token of the bucket that there is now.
    token: bool,
    /// What its settle, which is being written, does to the lane.
    effects: Vec<LaneEffect>,
    settled_at: Timestamp,
    /// Its place among the settles, which the time does not tell where the clock went back.
    place: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct LaneCore {
    policy: LanePolicy,
    observed: Option<LaneState>,
    runs: BTreeMap<AttemptId, Run>,
    era: u64,
    settles: u64,
    breaker: Breaker,
    bucket: Option<Bucket>,
    ramp: Ramp,
}

impl LaneCore {
    /// A lane that nothing is known of yet.
    pub fn new(policy: LanePolicy, now: Timestamp) -> Self {
        Self {
            policy,
            observed: None,
            runs: BTreeMap::new(),
            era: 0,
            settles: 0,
            breaker: Breaker::default(),
            bucket: policy.rate.map(|rate| Bucket::new(rate, now)),
            ramp: Ramp::default(),
        }
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.runs.len()
    }

    /// What may be under way at once as things are: the policy's concurrency, or what the ramp has come to.
    pub fn limit(&self) -> usize {
        self.ramp.limit(self.policy.concurrency)
    }

    /// Takes in what has happened, and answers what it means for the lane: to be made durable with the settle.
    pub fn step(&mut self, event: LaneEvent, now: Timestamp, rng: &mut impl Rng) -> Vec<LaneEffect> {
        match event {
            LaneEvent::Configured(policy) => self.configure(policy, now),
            LaneEvent::Observed(state) => self.observe(state, now),
            LaneEvent::Leased(attempt) => self.begin(attempt, now),
            LaneEvent::Settled {
                attempt,
                verdict,
                effect,
            } => return self.settle(attempt, &verdict, effect, now, rng),
            LaneEvent::GivenBack(attempt) => {
                if self.runs.remove(&attempt).is_some_and(|run| run.token)
                    && let Some(bucket) = &mut self.bucket
                {
                    bucket.put_back();
                }
            }
            LaneEvent::Ended(attempt) => {
                self.runs.remove(&attempt);
            }
            LaneEvent::ClockJumped => self.begin_ramp(),
        }
        Vec::new()
    }

    /// Whether attempts may begin, and if not, what to wait for.
    pub fn allowance(&self, now: Timestamp) -> Allowance {
        let state = self.state();
        if state.parked.is_some() {
            return Allowance::Signal(Held::Parked);
        }
        if let Some(until) = backs_off_until(&state, now) {
            return Allowance::Until(until, Held::BackOff);
        }
        let room = match breaker::gate(&state, self.policy.breaker, now) {
            Gate::Closed => self.limit().saturating_sub(self.runs.len()),
            Gate::Open(until) => return Allowance::Until(until, Held::Breaker),
            Gate::HalfOpen if self.runs.values().any(|run| run.probe) => {
                return Allowance::Signal(Held::Probe);
            }
            Gate::HalfOpen => self.policy.concurrency.saturating_sub(self.runs.len()).min(1),
        };
        if room == 0 {
            return Allowance::Signal(Held::Full);
        }
        match &self.bucket {
            None => Allowance::Room(room),
            Some(bucket) => match bucket.tokens(now) {
                0 => Allowance::Until(bucket.next_at(now), Held::Rate),
                tokens => Allowance::Room(room.min(tokens)),
            },
        }
    }

    fn configure(&mut self, policy: LanePolicy, now: Timestamp) {
        match (&mut self.bucket, policy.rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
            (bucket, rate) => {
                *bucket = rate.map(|rate| Bucket::new(rate, now));
                self.runs.values_mut().for_each(|run| run.token = false);
            }
        }
        self.policy = policy;
    }

    fn observe(&mut self, state: LaneState, now: Timestamp) {
        let afresh = match &self.observed {
            // The first look after a start: a lane that was in trouble then begins carefully.
            None => backs_off_until(&state, now).is_some(),
            Some(before) => before.released_at != state.released_at,
        };
        self.observed = Some(state);
        if afresh {
            self.breaker.reset();
            self.begin_ramp();
        }
    }

    fn begin(&mut self, attempt: AttemptId, now: Timestamp) {
        let probe = breaker::gate(&self.state(), self.policy.breaker, now) == Gate::HalfOpen;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        let run = Run {
            started_at: now,
            era: self.era,
            probe,
            token: self.bucket.is_some(),
            effects: Vec::new(),
            settled_at: now,
            place: 0,
        };
        self.runs.insert(attempt, run);
    }

    fn settle(
        &mut self,
        attempt: AttemptId,
        verdict: &Verdict,
        effect: LaneEffect,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Vec<LaneEffect> {
        let state = self.state();
        let own = self.runs.get(&attempt).map(|run| (run.era == self.era, run.probe));
        let (class, reason) = match verdict {
            Verdict::Delivered(_) => (None, ""),
            Verdict::Failed(failure) => (Some(failure.class), failure.message.as_str()),
        };
        let mut effects = Vec::from([effect]);
        if let Some((true, probe)) = own {
            effects.push(self.weigh(&state, class, reason, probe, now, rng));
        }
        effects.retain(|effect| *effect != LaneEffect::None);
        if let Some(run) = self.runs.get_mut(&attempt) {
            run.effects.clone_from(&effects);
            run.settled_at = now;
            self.settles += 1;
            run.place = self.settles;
        }
        effects
    }

    /// What an attempt of the present era means for breaker and ramp.
    fn weigh(
        &mut self,
        state: &LaneState,
        class: Option<FailureClass>,
        reason: &str,
        probe: bool,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> LaneEffect {
        let (word, policy) = (Word::of(class), self.policy.breaker);
        let effect = if probe {
            self.breaker.probed(word, reason, state, policy, now, rng)
        } else {
            self.breaker.attempted(word, reason, policy, now, rng)
        };
        match &effect {
            LaneEffect::Trip { .. } => self.era += 1,
            LaneEffect::Recover => self.begin_ramp(),
            LaneEffect::None | LaneEffect::Park { .. } | LaneEffect::BackOff { .. } | LaneEffect::Flag { .. } => {
                match (class, word) {
                    (Some(FailureClass::RateLimited), _) => self.begin_ramp(),
                    (Some(FailureClass::ConnectorFault), _) => self.ramp.faulted(self.policy.concurrency),
                    (_, Word::Answers) => self.ramp.succeeded(self.policy.concurrency),
                    (_, Word::Fails) => self.ramp.failed(),
                    (_, Word::Nothing) => {}
                }
            }
        }
        effect
    }

    fn begin_ramp(&mut self) {
        self.era += 1;
        self.ramp.restart();
    }

    /// The lane as it is once every settle under way is durable.
    fn state(&self) -> LaneState {
        let observed = self.observed.clone().unwrap_or_default();
        let mut settling: Vec<_> = self.runs.values().filter(|run| !run.effects.is_empty()).collect();
        settling.sort_by_key(|run| run.place);
        settling
            .into_iter()
            .filter(|run| !observed.outdates(run.started_at, run.settled_at))
            .flat_map(|run| run.effects.iter().map(|effect| (effect, run.settled_at)))
            .fold(observed.clone(), |state, (effect, at)| state.after(effect, at))
    }
}

/// The end of the lane's back-off; none once it has passed. One that is further away than any upstream is believed comes from
/// another clock, and is over.
fn backs_off_until(state: &LaneState, now: Timestamp) -> Option<Timestamp> {
    state
        .back_off_until
        .filter(|until| *until > now && until.since(now) <= RETRY_AFTER_MAX)
}

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;
