//! The breaker: when a destination that does not work is left alone, and when it is asked again.
//!
//! It counts failures of the destination in a row. What opens it, and what closes it, is durable in the lane's state with the
//! settle that decided it; the count is not, so a restart begins to count anew, and an open breaker stays open.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::{LaneEffect, LaneState, Tripped};
use crate::classify::FailureClass;
use crate::connection::BreakerPolicy;
use crate::time::Timestamp;

/// The wait gets up to this part longer by jitter: breakers that opened together do not probe together.
const JITTER_PART: u32 = 4;

/// What an attempt says of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It answers, whatever it said.
    Answers,
    /// It does not work.
    Fails,
    /// Nothing: the trouble was ours, the event's or the connector's.
    Nothing,
}

impl Word {
    /// Of an attempt that failed by this class, or of one that delivered.
    pub const fn of(failure: Option<FailureClass>) -> Self {
        let Some(class) = failure else {
            return Self::Answers;
        };
        match class {
            FailureClass::Dependency | FailureClass::Transport | FailureClass::Timeout => Self::Fails,
            FailureClass::Auth
            | FailureClass::RateLimited
            | FailureClass::Schema
            | FailureClass::Gone
            | FailureClass::Configuration => Self::Answers,
            FailureClass::Policy | FailureClass::ConnectorFault | FailureClass::DataQuality => Self::Nothing,
        }
    }
}

/// Whether deliveries may be tried, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// As the rest of the policy says.
    Closed,
    /// Nothing before this.
    Open(Timestamp),
    /// One attempt, the probe.
    HalfOpen,
}

/// How the lane's breaker stands.
pub fn gate(state: &LaneState, policy: BreakerPolicy, now: Timestamp) -> Gate {
    match tripped(state, policy) {
        None => Gate::Closed,
        Some(tripped) => match until(tripped, policy, now) {
            Some(until) => Gate::Open(until),
            None => Gate::HalfOpen,
        },
    }
}

/// A breaker that was turned off is not open, whatever it was before.
fn tripped(state: &LaneState, policy: BreakerPolicy) -> Option<&Tripped> {
    state.tripped.as_ref().filter(|_| policy.failures > 0)
}

/// The end of the wait; none once it has passed. A wait longer than the policy can set comes from another policy or from
/// another clock, and is over.
fn until(tripped: &Tripped, policy: BreakerPolicy, now: Timestamp) -> Option<Timestamp> {
    let longest = Duration::from_millis(policy.open_max_ms.max(policy.open_ms));
    let longest = longest + longest / JITTER_PART;
    (tripped.until > now && tripped.until.since(now) <= longest).then_some(tripped.until)
}

/// Failures of the destination in a row, while the breaker is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
}

impl Breaker {
    /// Begins to count anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// What an attempt that was not a probe means for the breaker, which is closed.
    pub fn attempted(
        &mut self,
        word: Word,
        reason: &str,
        policy: BreakerPolicy,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> LaneEffect {
        match word {
            Word::Nothing => LaneEffect::None,
            Word::Answers => {
                self.failures = 0;
                LaneEffect::None
            }
            Word::Fails => {
                self.failures = self.failures.saturating_add(1);
                if policy.failures == 0 || self.failures < policy.failures {
                    return LaneEffect::None;
                }
                self.failures = 0;
                trip(0, reason, policy, now, rng)
            }
        }
    }

    /// What the probe means for the breaker, which is half-open.
    pub fn probed(
        &mut self,
        word: Word,
        reason: &str,
        state: &LaneState,
        policy: BreakerPolicy,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> LaneEffect {
        match word {
            Word::Nothing => LaneEffect::None,
            Word::Answers => {
                self.failures = 0;
                LaneEffect::Recover
            }
            // It was turned off while its probe was under way.
            Word::Fails if policy.failures == 0 => LaneEffect::None,
            Word::Fails => {
                let trips = state.tripped.as_ref().map_or(0, |tripped| tripped.trips);
                trip(trips, reason, policy, now, rng)
            }
        }
    }
}

/// Opens after `trips` that went before it without a success between them.
fn trip(trips: u32, reason: &str, policy: BreakerPolicy, now: Timestamp, rng: &mut impl Rng) -> LaneEffect {
    let doubled = policy.open_ms.saturating_mul(1_u64 << trips.min(32));
    let open_ms = doubled.min(policy.open_max_ms.max(policy.open_ms));
    let jitter_ms = rng.random_range(0..=open_ms / u64::from(JITTER_PART));
    LaneEffect::Trip {
        until: now.after(Duration::from_millis(open_ms.saturating_add(jitter_ms))),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        open_ms: 1_000,
        open_max_ms: 5_000,
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn open_for(effect: &LaneEffect, now: Timestamp) -> Option<u64> {
        match effect {
            LaneEffect::Trip { until, .. } => Some(until.as_millis() - now.as_millis()),
            _ => None,
        }
    }

    #[test]
    fn each_class_says_of_the_destination_what_it_can_know() {
        for class in FailureClass::ALL {
            let expected = match class.as_str() {
                "dependency" | "transport" | "timeout" => Word::Fails,
                "policy" | "connector-fault" | "data-quality" => Word::Nothing,
                _ => Word::Answers,
            };
            assert_eq!(Word::of(Some(class)), expected, "{class}");
        }
        assert_eq!(Word::of(None), Word::Answers);
    }

    #[test]
    fn only_failures_in_a_row_open_it_and_what_says_nothing_does_not_break_the_row() {
        let rng = &mut StdRng::seed_from_u64(1);
        for (words, opens) in [
            (vec![Word::Fails; 3], true),
            (vec![Word::Fails; 2], false),
            (vec![Word::Fails, Word::Fails, Word::Answers, Word::Fails], false),
            (vec![Word::Fails, Word::Nothing, Word::Fails, Word::Fails], true),
        ] {
            let mut breaker = Breaker::default();
            let last = words
                .iter()
                .map(|word| breaker.attempted(*word, "m", POLICY, at(0), rng))
                .last();
            assert_eq!(
                last.as_ref().and_then(|effect| open_for(effect, at(0))).is_some(),
                opens,
                "{words:?}"
            );
        }
        let mut never = Breaker::default();
        let off = BreakerPolicy { failures: 0, ..POLICY };
        assert!((0..100).all(|_| never.attempted(Word::Fails, "m", off, at(0), rng) == LaneEffect::None));
        // Turned off while its probe was under way.
        let state = LaneState::default().after(&trip(0, "m", POLICY, at(0), rng), at(0));
        assert_eq!(
            never.probed(Word::Fails, "m", &state, off, at(9_000), rng),
            LaneEffect::None
        );
    }

    #[test]
    fn each_probe_that_fails_doubles_the_wait_up_to_its_bound_and_jitter_only_adds() {
        let rng = &mut StdRng::seed_from_u64(2);
        let (mut breaker, mut state) = (Breaker::default(), LaneState::default());
        let mut now = 0;
        let mut effect = trip(0, "m", POLICY, at(now), rng);
        for least in [1_000, 2_000, 4_000, 5_000, 5_000] {
            let open_ms = open_for(&effect, at(now)).unwrap();
            assert!((least..=least + least / 4).contains(&open_ms), "{open_ms} for {least}");
            state = state.after(&effect, at(now));
            now += open_ms;
            assert_eq!(gate(&state, POLICY, at(now - 1)), Gate::Open(at(now)));
            assert_eq!(gate(&state, POLICY, at(now)), Gate::HalfOpen);
            effect = breaker.probed(Word::Fails, "m", &state, POLICY, at(now), rng);
        }
        assert_eq!(
            breaker.probed(Word::Answers, "m", &state, POLICY, at(0), rng),
            LaneEffect::Recover
        );
        assert_eq!(
            gate(&state.after(&LaneEffect::Recover, at(0)), POLICY, at(0)),
            Gate::Closed
        );
    }

    #[test]
    fn a_wait_that_the_policy_could_not_have_set_is_over() {
        let open = |until| {
            LaneState::default().after(
                &LaneEffect::Trip {
                    until,
                    reason: "m".into(),
                },
                at(0),
            )
        };
        assert_eq!(gate(&open(at(6_250)), POLICY, at(0)), Gate::Open(at(6_250)));
        assert_eq!(gate(&open(at(6_251)), POLICY, at(0)), Gate::HalfOpen);
        let off = BreakerPolicy { failures: 0, ..POLICY };
        assert_eq!(gate(&open(at(1_000)), off, at(0)), Gate::Closed);
    }
}
