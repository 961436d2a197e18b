//! A lane as one would explain it: what holds it, what is under way, what has begun. It is told what happens and panics
//! where that breaks a promise.

use std::collections::BTreeMap;

use super::*;

/// A token in the parts that the model counts in; every `per_ms` of the histories divides it.
const TOKEN: u64 = 10_000;

/// The longest wait that a lane takes from an upstream.
const DAY: u64 = 24 * HOUR;

/// How far ahead of a verdict something durable may be that the same clock has written.
const LATE: u64 = 600 * SECOND;

/// What stands against the lane.
#[derive(Clone, Debug, Default)]
struct Facts {
    parked: bool,
    back_off_until: u64,
    /// The end of the breaker's wait, and how often in a row it has opened.
    open: Option<(u64, u32)>,
}

impl Facts {
    /// Takes in what a settle at `now` does to the lane.
    fn take_in(&mut self, effect: &LaneEffect, now: u64) {
        let latest = self.back_off_until.max(self.open.map_or(0, |(until, _)| until));
        match effect {
            LaneEffect::None | LaneEffect::Flag { .. } => {}
            LaneEffect::Park { .. } => self.parked = true,
            LaneEffect::BackOff { until } => {
                let standing = Some(self.back_off_until).filter(|until| *until <= now + DAY);
                self.back_off_until = until.as_millis().max(standing.unwrap_or(0));
            }
            // A longer wait stands already, and not by another clock.
            LaneEffect::Trip { until, .. } if until.as_millis() <= latest && latest <= now + LATE => {}
            LaneEffect::Trip { until, .. } => {
                self.open = Some((until.as_millis(), self.open.map_or(1, |(_, trips)| trips + 1)));
            }
            LaneEffect::Recover => {
                let until = self.open.take().map_or(0, |(until, _)| until.min(now));
                self.back_off_until = self.back_off_until.max(until);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Start {
    at: u64,
    turn: u64,
    probe: bool,
}

#[derive(Clone, Debug)]
struct Writing {
    attempt: AttemptId,
    at: u64,
    effects: Vec<LaneEffect>,
}

/// What the breaker has to answer to a verdict.
#[derive(Debug, PartialEq, Eq)]
enum Breaks {
    Nothing,
    /// It opens for at least this, in milliseconds.
    Opens(u64),
    Closes,
}

/// See the module.
pub(super) struct Model {
    policy: LanePolicy,
    pub(super) now: u64,
    durable: Facts,
    released_at: Option<u64>,
    /// Settles that are being written, in the order of their verdicts.
    writing: Vec<Writing>,
    running: BTreeMap<AttemptId, Start>,
    /// Rises whenever what is under way stops saying anything of the lane.
    turn: u64,
    failures_in_a_row: u32,
    /// What the rate has given since the beginning, in parts of a token; time that goes back gives nothing.
    given: u64,
    /// What began under a rate: what had been given by then, and the burst that held.
    starts: Vec<(AttemptId, u64, u64)>,
    /// Tokens that came back: how many had begun by then.
    returned: Vec<usize>,
}

impl Model {
    pub(super) fn new(policy: LanePolicy, now: u64) -> Self {
        Self {
            policy,
            now,
            durable: Facts::default(),
            released_at: None,
            writing: Vec::new(),
            running: BTreeMap::new(),
            turn: 0,
            failures_in_a_row: 0,
            given: 0,
            starts: Vec::new(),
            returned: Vec::new(),
        }
    }

    pub(super) fn time_is(&mut self, now: u64) {
        if let Some(rate) = self.policy.rate {
            self.given += now.saturating_sub(self.now) * u64::from(rate.count) * (TOKEN / rate.per_ms);
        }
        self.now = now;
    }

    pub(super) fn jumped(&mut self) {
        self.turn += 1;
    }

    pub(super) fn configured(&mut self, policy: LanePolicy) {
        if self.policy.rate.is_none() || policy.rate.is_none() {
            self.forget_starts();
        }
        self.policy = policy;
    }

    pub(super) fn released(&mut self) {
        if self.released_at != Some(self.now) {
            self.turn += 1;
            self.failures_in_a_row = 0;
        }
        self.durable = Facts::default();
        self.released_at = Some(self.now);
    }

    pub(super) fn restarted(&mut self) {
        self.writing.clear();
        self.running.clear();
        self.forget_starts();
        self.failures_in_a_row = 0;
    }

    pub(super) fn began(&mut self, attempt: AttemptId) {
        let (facts, now) = (self.facts(), self.now);
        assert!(!facts.parked, "{attempt:?} began in a parked lane");
        assert_eq!(
            self.backs_off(&facts),
            None,
            "{attempt:?} began during a back-off, at {now}"
        );
        assert_eq!(
            self.waits(&facts),
            None,
            "{attempt:?} began while the breaker was open, at {now}"
        );
        let probe = self.half_open(&facts);
        let probing = self.running.values().any(|start| start.probe);
        assert!(!(probe && probing), "{attempt:?} is a second probe");
        let start = Start {
            at: now,
            turn: self.turn,
            probe,
        };
        assert!(self.running.insert(attempt, start).is_none(), "{attempt:?} began twice");
        assert!(
            self.running.len() <= self.policy.concurrency,
            "{attempt:?} is one too many"
        );
        let Some(rate) = self.policy.rate else { return };
        let burst = u64::from(rate.burst.unwrap_or(rate.count));
        self.starts.push((attempt, self.given, burst));
        for (first, (_, given, burst)) in self.starts.iter().enumerate() {
            let returned = self.returned.iter().filter(|begun| **begun > first).count();
            let began = (self.starts.len() - first).saturating_sub(returned) as u64;
            assert!(
                began * TOKEN <= burst * TOKEN + self.given - given,
                "{began} began, the last is {attempt:?}"
            );
        }
    }

    pub(super) fn given_back(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
        if self.starts.iter().any(|(other, ..)| *other == attempt) {
            self.returned.push(self.starts.len());
        }
    }

    fn forget_starts(&mut self) {
        self.starts.clear();
        self.returned.clear();
    }

    pub(super) fn settled(&mut self, attempt: AttemptId, end: End, effects: &[LaneEffect]) {
        let facts = self.facts();
        let start = self.running[&attempt].clone();
        let breaks = self.weigh(&start, end.class, &facts);
        let answered = effects.iter().find_map(|effect| match effect {
            LaneEffect::Trip { until, .. } => Some(Breaks::Opens(until.as_millis() - self.now)),
            LaneEffect::Recover => Some(Breaks::Closes),
            LaneEffect::None | LaneEffect::Park { .. } | LaneEffect::BackOff { .. } | LaneEffect::Flag { .. } => None,
        });
        match (&breaks, answered.unwrap_or(Breaks::Nothing)) {
            (Breaks::Opens(least), Breaks::Opens(open)) if (*least..=least + least / 4).contains(&open) => {}
            (breaks, answered) => assert_eq!(*breaks, answered, "after {attempt:?} {end:?}"),
        }
        let parks = effects.iter().any(|effect| matches!(effect, LaneEffect::Park { .. }));
        assert_eq!(parks, end.class == Some(FailureClass::Auth), "{end:?}");
        let flags = effects.iter().any(|effect| matches!(effect, LaneEffect::Flag { .. }));
        let flagging = [FailureClass::Gone, FailureClass::Configuration];
        assert_eq!(
            flags,
            end.class.is_some_and(|class| flagging.contains(&class)),
            "{end:?}"
        );
        let mut effects = effects.to_vec();
        if end.class == Some(FailureClass::RateLimited) {
            // Whatever the core says of it, this is what was asked for.
            let until = Timestamp::from_millis(self.now + end.retry_after_ms.unwrap_or(0).min(DAY));
            effects.push(LaneEffect::BackOff { until });
        }
        self.writing.push(Writing {
            attempt,
            at: self.now,
            effects,
        });
    }

    /// The attempt is over; what it met is durable, or nothing of it is.
    pub(super) fn ended(&mut self, attempt: AttemptId, durable: bool) {
        if durable {
            let mut facts = self.durable.clone();
            self.effects_of(Some(attempt))
                .for_each(|(effect, at)| facts.take_in(effect, at));
            self.durable = facts;
        }
        self.writing.retain(|settle| settle.attempt != attempt);
        self.running.remove(&attempt);
    }

    /// Whether the core's answer holds a lane that nothing holds, or holds it for the wrong reason.
    pub(super) fn judge(&self, allowance: Allowance, limit: usize) {
        let facts = self.facts();
        assert!((1..=self.policy.concurrency).contains(&limit));
        let in_flight = self.running.len();
        match allowance {
            Allowance::Room(room) => assert!(room > 0 && in_flight + room <= self.policy.concurrency),
            Allowance::Signal(Held::Parked) => assert!(facts.parked),
            Allowance::Signal(Held::Probe) => assert!(self.half_open(&facts) && self.running.values().any(|s| s.probe)),
            Allowance::Signal(Held::Full) if self.half_open(&facts) => assert!(in_flight >= self.policy.concurrency),
            Allowance::Signal(Held::Full) => assert!(in_flight >= limit),
            Allowance::Until(until, Held::BackOff) => assert_eq!(Some(until.as_millis()), self.backs_off(&facts)),
            Allowance::Until(until, Held::Breaker) => assert_eq!(Some(until.as_millis()), self.waits(&facts)),
            Allowance::Until(until, Held::Rate) => {
                let rate = self.policy.rate.expect("a lane without a rate is not held by it");
                let wait = until.as_millis().checked_sub(self.now).expect("a time to come");
                assert!((1..=rate.per_ms.div_ceil(rate.count.into())).contains(&wait), "{wait}");
            }
            Allowance::Until(..) | Allowance::Signal(_) => panic!("{allowance:?} makes no sense"),
        }
    }

    /// What stands against the lane once everything that is being written is durable.
    fn facts(&self) -> Facts {
        let mut facts = self.durable.clone();
        self.effects_of(None).for_each(|(effect, at)| facts.take_in(effect, at));
        facts
    }

    /// The effects that are being written, of one attempt or of all, but for what a release has put right.
    fn effects_of(&self, of: Option<AttemptId>) -> impl Iterator<Item = (&LaneEffect, u64)> {
        self.writing
            .iter()
            .filter(move |settle| of.is_none_or(|of| of == settle.attempt))
            .filter(|settle| !self.was_put_right(settle))
            .flat_map(|settle| settle.effects.iter().map(|effect| (effect, settle.at)))
    }

    fn was_put_right(&self, settle: &Writing) -> bool {
        let began = self.running[&settle.attempt].at;
        self.released_at.is_some_and(|at| at >= began && at <= settle.at + LATE)
    }

    /// The end of the back-off that holds; one from another clock does not.
    fn backs_off(&self, facts: &Facts) -> Option<u64> {
        Some(facts.back_off_until).filter(|until| *until > self.now && *until <= self.now + DAY)
    }

    /// The end of the breaker's wait.
    fn waits(&self, facts: &Facts) -> Option<u64> {
        let breaker = self.policy.breaker;
        let longest = breaker.open_ms.max(breaker.open_max_ms) * 5 / 4;
        let (until, _) = facts.open.filter(|_| breaker.failures > 0)?;
        (until > self.now && until <= self.now + longest).then_some(until)
    }

    fn half_open(&self, facts: &Facts) -> bool {
        self.policy.breaker.failures > 0 && facts.open.is_some() && self.waits(facts).is_none()
    }

    fn weigh(&mut self, start: &Start, class: Option<FailureClass>, facts: &Facts) -> Breaks {
        use FailureClass::{ConnectorFault, DataQuality, Dependency, Policy, Timeout, Transport};
        if start.turn != self.turn || matches!(class, Some(ConnectorFault | DataQuality | Policy)) {
            return Breaks::Nothing;
        }
        let breaker = self.policy.breaker;
        if !matches!(class, Some(Dependency | Transport | Timeout)) {
            self.failures_in_a_row = 0;
            if start.probe || class == Some(FailureClass::RateLimited) {
                self.turn += 1;
            }
            return if start.probe { Breaks::Closes } else { Breaks::Nothing };
        }
        self.failures_in_a_row += u32::from(!start.probe);
        if breaker.failures == 0 || (!start.probe && self.failures_in_a_row < breaker.failures) {
            return Breaks::Nothing;
        }
        self.turn += 1;
        let trips = if start.probe {
            facts.open.map_or(0, |(_, trips)| trips)
        } else {
            self.failures_in_a_row = 0;
            0
        };
        let most = breaker.open_max_ms.max(breaker.open_ms);
        Breaks::Opens((breaker.open_ms << trips.min(20)).min(most))
    }
}
