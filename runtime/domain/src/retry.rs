//! What follows a verdict: done, again at a time, parked, or dead.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::attempt::Exchange;
use crate::classify::{Failure, FailureClass, Verdict};
use crate::delivery::Delivery;
use crate::lane::LaneEffect;
use crate::time::Timestamp;

/// Full jitter applies to what is above this.
const JITTER_FLOOR: Duration = Duration::from_secs(1);

/// A lane that is told to slow down without being told for how long waits this long.
pub const RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// The least wait after a first rate limit, and the most that it grows to; what is asked for may be longer.
const RATE_LIMIT_WAIT_MIN: Duration = Duration::from_secs(1);
const RATE_LIMIT_WAIT_FLOOR_MAX: Duration = Duration::from_secs(60);

/// The longest Retry-After that is believed; past it the value says more about the upstream than about time.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// The code of a delivery whose attempts ended with the process too often.
pub const POISON: &str = "poison";

/// The code of an attempt that a stopping server has ended.
pub const DRAINED: &str = "drained";

/// How a connection retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Wait before attempt n+1 after attempt n has failed, in milliseconds; the first entry is the wait before the very
    /// first attempt. When it is used up the delivery is dead.
    pub schedule_ms: Vec<u64>,
    /// A series is dead once its next attempt would come later than this after its beginning, whatever the schedule says.
    /// See [`series_at`] for what does not count.
    pub max_age_ms: u64,
    /// Connector faults in one series before the delivery is dead.
    pub faults_max: u32,
    /// Attempts in one series that may end with the process in them before the delivery is a dead letter (code `poison`): it
    /// may be what ends the process.
    pub interruptions_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        const S: u64 = 1_000;
        const M: u64 = 60 * S;
        const H: u64 = 60 * M;
        Self {
            schedule_ms: vec![0, 5 * S, 30 * S, 2 * M, 10 * M, 30 * M, 2 * H, 6 * H, 12 * H],
            max_age_ms: 72 * H,
            faults_max: 3,
            interruptions_max: 5,
        }
    }
}

/// What happens to the delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Delivered,
    /// Tried again.
    Retry {
        /// Not before this.
        due_at: Timestamp,
        /// Whether this attempt counts against the schedule.
        charged: bool,
    },
    /// Waits, uncharged, until the lane is released.
    Parked,
    /// A dead letter.
    Dead,
}

/// An outcome and what it means for the rest of the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For the delivery.
    pub outcome: Outcome,
    /// For the lane.
    pub lane: LaneEffect,
}

/// Decides what follows `verdict`, the attempt of `delivery` that has just ended.
///
/// `delivery` counts the attempt as charged already, as it was when the lease was taken.
pub fn decide(
    policy: &RetryPolicy,
    delivery: &Delivery,
    verdict: &Verdict,
    now: Timestamp,
    rng: &mut impl Rng,
) -> Decision {
    let failure = match verdict {
        Verdict::Delivered(_) => {
            return Decision {
                outcome: Outcome::Delivered,
                lane: LaneEffect::None,
            };
        }
        Verdict::Failed(failure) => failure,
    };
    let dead = |lane| Decision {
        outcome: Outcome::Dead,
        lane,
    };
    match failure.class {
        FailureClass::Auth => Decision {
            outcome: Outcome::Parked,
            lane: LaneEffect::Park {
                class: failure.class,
                reason: failure.message.clone(),
            },
        },
        FailureClass::RateLimited => {
            let wait = match asked(failure) {
                Some(asked) if asked >= RATE_LIMIT_WAIT_MIN => asked,
                asked => asked.unwrap_or(RATE_LIMIT_WAIT).max(rate_limit_floor(delivery)),
            };
            let due_at = now.after(wait + jitter(wait / 4, rng));
            let back_off = LaneEffect::BackOff { until: now.after(wait) };
            retry_unless_too_old(policy, delivery, due_at, false, back_off)
        }
        FailureClass::Dependency | FailureClass::Transport | FailureClass::Timeout => {
            again(policy, delivery, failure, now, rng)
        }
        FailureClass::ConnectorFault if delivery.faults < policy.faults_max && !is_poison(failure) => {
            again(policy, delivery, failure, now, rng)
        }
        FailureClass::Gone | FailureClass::Configuration => dead(LaneEffect::Flag {
            class: failure.class,
            reason: failure.message.clone(),
        }),
        FailureClass::Schema | FailureClass::Policy | FailureClass::ConnectorFault | FailureClass::DataQuality => {
            dead(LaneEffect::None)
        }
    }
}

/// When a series has begun, as seen by an attempt that starts `now` on a delivery that stood ready since `ready_at`.
///
/// What lies between the two is not the series' age: the lane was off, parked or busy, or no process ran. So a week in a
/// parked lane kills nothing at the first failure after it. What the upstream asked for does count, so `ready_at` is the due
/// time or the end of the lane's back-off, whichever is later, and a series that is only ever rate-limited ends by its age.
pub fn series_at(delivery: &Delivery, ready_at: Timestamp, now: Timestamp) -> Timestamp {
    delivery.series_at.after(now.since(ready_at))
}

/// The verdict on a delivery whose attempts ended with the process too often; it is not tried once more.
///
/// Interruptions are the host's trouble and are not charged to the schedule, so they have a bound of their own: the delivery
/// may be what ends the process.
pub fn poisoned(policy: &RetryPolicy, delivery: &Delivery) -> Option<Failure> {
    (delivery.interruptions >= policy.interruptions_max).then(|| Failure {
        class: FailureClass::ConnectorFault,
        code: Some(POISON.to_owned()),
        message: format!(
            "{} attempts ended with the process or their lease and not with an answer",
            delivery.interruptions
        ),
        ambiguous: true,
        retry_after_ms: None,
    })
}

/// The end of an attempt that was stopped because the process stops, and of which something may have left: due again at once
/// and not charged. The destination has not failed, so the lane is as before.
pub fn drained(trail: &[Exchange], now: Timestamp) -> (Failure, Outcome) {
    let ambiguous = trail.iter().any(|exchange| exchange.result.may_have_acted());
    let failure = Failure {
        class: if ambiguous {
            FailureClass::Timeout
        } else {
            FailureClass::Transport
        },
        code: Some(DRAINED.to_owned()),
        message: "the server stopped before the attempt had come to its end".to_owned(),
        ambiguous,
        retry_after_ms: None,
    };
    let outcome = Outcome::Retry {
        due_at: now,
        charged: false,
    };
    (failure, outcome)
}

/// What follows a fault of a version that is on probation: the delivery is tried again as after any failure, and the attempt is not
/// charged. A series that is too old ends all the same.
pub fn spared(policy: &RetryPolicy, delivery: &Delivery, now: Timestamp, rng: &mut impl Rng) -> Outcome {
    let step = policy
        .schedule_ms
        .get(delivery.charged as usize)
        .or(policy.schedule_ms.last());
    let step = Duration::from_millis(step.copied().unwrap_or_default());
    let floor = step.min(JITTER_FLOOR);
    let due_at = now.after(floor + jitter(step - floor, rng));
    retry_unless_too_old(policy, delivery, due_at, false, LaneEffect::None).outcome
}

fn again(policy: &RetryPolicy, delivery: &Delivery, failure: &Failure, now: Timestamp, rng: &mut impl Rng) -> Decision {
    let Some(step) = policy.schedule_ms.get(delivery.charged as usize) else {
        return Decision {
            outcome: Outcome::Dead,
            lane: LaneEffect::None,
        };
    };
    let asked = asked(failure).unwrap_or_default();
    let step = Duration::from_millis(*step);
    let floor = step.min(JITTER_FLOOR);
    let backed_off = floor + jitter(step - floor, rng);
    // What the upstream asks for is a floor that jitter only adds to.
    let wait = if asked > backed_off {
        asked + jitter(asked / 4, rng)
    } else {
        backed_off
    };
    retry_unless_too_old(policy, delivery, now.after(wait), true, LaneEffect::None)
}

fn is_poison(failure: &Failure) -> bool {
    failure.code.as_deref() == Some(POISON)
}

/// An attempt that would come too late is not waited for: people hear of the dead letter now.
fn retry_unless_too_old(
    policy: &RetryPolicy,
    delivery: &Delivery,
    due_at: Timestamp,
    charged: bool,
    lane: LaneEffect,
) -> Decision {
    let outcome = if due_at.since(delivery.series_at).as_millis() > u128::from(policy.max_age_ms) {
        Outcome::Dead
    } else {
        Outcome::Retry { due_at, charged }
    };
    Decision { outcome, lane }
}

/// Rate-limited attempts are not charged, so an upstream or a connector that asks to wait for nothing, or does not say, could be
/// asked for ever: each one that was not charged doubles the least wait, from a second to a minute.
fn rate_limit_floor(delivery: &Delivery) -> Duration {
    let uncharged = delivery.runs.saturating_sub(delivery.charged);
    RATE_LIMIT_WAIT_MIN
        .saturating_mul(1 << uncharged.min(6))
        .min(RATE_LIMIT_WAIT_FLOOR_MAX)
}

fn asked(failure: &Failure) -> Option<Duration> {
    failure
        .retry_after_ms
        .map(|ms| Duration::from_millis(ms).min(RETRY_AFTER_MAX))
}

fn jitter(upto: Duration, rng: &mut impl Rng) -> Duration {
    let millis = u64::try_from(upto.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(if millis == 0 { 0 } else { rng.random_range(0..=millis) })
}

#[cfg(test)]
mod tests;
