//! The lane's core, shared by the lane, which asks it what may begin, and its attempts, which ask what they mean for the
//! lane. Every question and answer is a short look under a lock that nobody holds across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_domain::lane::core::{Allowance, AttemptId, LaneCore, LaneEvent, LanePolicy};
use cofferdam_domain::{LaneEffect, LaneState, Verdict};
use cofferdam_queue::Leased;

use crate::clock::{jumps_ahead, steady};

/// What a lane may do, and how fast. Clones share it.
#[derive(Clone)]
pub(super) struct Pace {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    core: LaneCore,
    /// Jumps of the clock that the core has been told of.
    jumps: u64,
}

/// Names the attempt that a lease begins.
pub(super) fn attempt_of(leased: &Leased) -> AttemptId {
    (leased.delivery.id, leased.attempt.run)
}

impl Pace {
    pub(super) fn new(policy: LanePolicy) -> Self {
        let inner = Inner {
            core: LaneCore::new(policy, steady()),
            jumps: jumps_ahead(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// What may begin, under this policy and what the queue remembers of the lane: read after the last attempt had ended.
    pub(super) fn allowance(&self, policy: LanePolicy, state: LaneState) -> Allowance {
        let mut inner = self.lock();
        let jumps = jumps_ahead();
        if inner.jumps != jumps {
            inner.jumps = jumps;
            inner.tell(LaneEvent::ClockJumped);
        }
        inner.tell(LaneEvent::Configured(policy));
        inner.tell(LaneEvent::Observed(state));
        inner.core.allowance(steady())
    }

    /// What may be under way at once as things are.
    pub(super) fn limit(&self) -> usize {
        self.lock().core.limit()
    }

    /// Whether the attempt may still begin: another may have opened the breaker while this one was being leased.
    pub(super) fn begin(&self, attempt: AttemptId) -> bool {
        let mut inner = self.lock();
        let allowed = matches!(inner.core.allowance(steady()), Allowance::Room(_));
        if allowed {
            inner.tell(LaneEvent::Leased(attempt));
        }
        allowed
    }

    /// What the verdict means for the lane; it holds from now on, and is to be made durable with the settle.
    pub(super) fn settle(&self, attempt: AttemptId, verdict: Verdict, effect: LaneEffect) -> Vec<LaneEffect> {
        self.lock().tell(LaneEvent::Settled {
            attempt,
            verdict,
            effect,
        })
    }

    /// Nothing of the attempt has left, and its delivery is given back.
    pub(super) fn give_back(&self, attempt: AttemptId) {
        self.lock().tell(LaneEvent::GivenBack(attempt));
    }

    /// The attempt is over, whatever became of it.
    pub(super) fn end(&self, attempt: AttemptId) {
        self.lock().tell(LaneEvent::Ended(attempt));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, event: LaneEvent) -> Vec<LaneEffect> {
        self.core.step(event, steady(), &mut rand::rng())
    }
}
