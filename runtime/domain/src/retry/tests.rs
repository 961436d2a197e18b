use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::delivery::{DeliveryKind, DeliveryState};
use crate::id::{DeliveryId, EventId};

fn delivery(charged: u32, faults: u32) -> Delivery {
    Delivery {
        id: DeliveryId::from_bytes([1; 16]),
        workspace: Default::default(),
        event: EventId::from_bytes([2; 16]),
        correlation_id: "c".parse().unwrap(),
        connection: "sink".parse().unwrap(),
        kind: DeliveryKind::Deliver,
        idempotency_key: "k".into(),
        accepted_at: Timestamp::ZERO,
        series_at: Timestamp::ZERO,
        state: DeliveryState::Leased { until: Timestamp::ZERO },
        charged,
        runs: charged,
        faults,
        generation: 1,
        replays: 0,
        interventions: Vec::new(),
        last_failure: None,
        event_type: String::new(),
        order: None,
        interruptions: 0,
        body_bytes: 0,
    }
}

fn failed(class: FailureClass, retry_after_ms: Option<u64>) -> Verdict {
    Verdict::Failed(Failure {
        class,
        code: None,
        message: "m".into(),
        ambiguous: false,
        retry_after_ms,
    })
}

fn decided(delivery: &Delivery, verdict: &Verdict, now_ms: u64, seed: u64) -> Decision {
    let now = Timestamp::from_millis(now_ms);
    decide(
        &RetryPolicy::default(),
        delivery,
        verdict,
        now,
        &mut StdRng::seed_from_u64(seed),
    )
}

fn wait_ms(decision: &Decision, now_ms: u64) -> u64 {
    match decision.outcome {
        Outcome::Retry { due_at, .. } => due_at.as_millis() - now_ms,
        ref other => panic!("{other:?} is no retry"),
    }
}

#[test]
fn each_class_has_the_outcome_of_the_table() {
    for class in FailureClass::ALL {
        let decision = decided(&delivery(1, 1), &failed(class, None), 1_000, 1);
        let (outcome, lane) = (&decision.outcome, &decision.lane);
        let as_expected = match class {
            FailureClass::Auth => *outcome == Outcome::Parked && matches!(lane, LaneEffect::Park { .. }),
            FailureClass::RateLimited => {
                matches!(outcome, Outcome::Retry { charged: false, .. }) && matches!(lane, LaneEffect::BackOff { .. })
            }
            FailureClass::Dependency
            | FailureClass::Transport
            | FailureClass::Timeout
            | FailureClass::ConnectorFault => {
                matches!(outcome, Outcome::Retry { charged: true, .. }) && *lane == LaneEffect::None
            }
            FailureClass::Gone | FailureClass::Configuration => {
                *outcome == Outcome::Dead && matches!(lane, LaneEffect::Flag { .. })
            }
            FailureClass::Schema | FailureClass::Policy | FailureClass::DataQuality => {
                *outcome == Outcome::Dead && *lane == LaneEffect::None
            }
        };
        assert!(as_expected, "{class}: {decision:?}");
    }
}

#[test]
fn the_schedule_ends_in_a_dead_letter() {
    let last = u32::try_from(RetryPolicy::default().schedule_ms.len()).unwrap();
    let verdict = failed(FailureClass::Dependency, None);
    assert!(matches!(
        decided(&delivery(last - 1, 0), &verdict, 0, 1).outcome,
        Outcome::Retry { .. }
    ));
    assert_eq!(decided(&delivery(last, 0), &verdict, 0, 1).outcome, Outcome::Dead);
}

#[test]
fn a_series_past_its_age_is_dead_even_when_only_rate_limited() {
    let max_age = RetryPolicy::default().max_age_ms;
    for class in [FailureClass::RateLimited, FailureClass::Transport] {
        let outcome_at = |now| decided(&delivery(1, 0), &failed(class, None), now, 1).outcome;
        // Neither waits for more than ten seconds here, and each for at least one.
        assert!(matches!(outcome_at(max_age - 10_000), Outcome::Retry { .. }));
        assert_eq!(outcome_at(max_age), Outcome::Dead);
    }
}

#[test]
fn a_wait_that_alone_outlasts_the_age_is_not_waited_for() {
    let policy = RetryPolicy {
        schedule_ms: vec![0, 1_000],
        max_age_ms: 10_000,
        ..RetryPolicy::default()
    };
    // A wait of a second has no jitter.
    let verdict = failed(FailureClass::Dependency, None);
    for (now_ms, expected) in [
        (
            9_000,
            Outcome::Retry {
                due_at: Timestamp::from_millis(10_000),
                charged: true,
            },
        ),
        (9_001, Outcome::Dead),
    ] {
        let now = Timestamp::from_millis(now_ms);
        let decision = decide(&policy, &delivery(1, 0), &verdict, now, &mut StdRng::seed_from_u64(1));
        assert_eq!(decision.outcome, expected, "at {now_ms}");
    }
}

#[test]
fn time_that_a_ready_delivery_was_not_taken_is_not_its_age() {
    let at = Timestamp::from_millis;
    for (ready_at, now, began) in [(100, 100, 0), (100, 1_000, 900), (100, 50, 0)] {
        assert_eq!(
            series_at(&delivery(0, 0), at(ready_at), at(now)),
            at(began),
            "{ready_at} {now}"
        );
    }
}

#[test]
fn a_connector_that_keeps_faulting_is_given_up_early() {
    let verdict = failed(FailureClass::ConnectorFault, None);
    assert!(matches!(
        decided(&delivery(2, 2), &verdict, 0, 1).outcome,
        Outcome::Retry { .. }
    ));
    assert_eq!(decided(&delivery(3, 3), &verdict, 0, 1).outcome, Outcome::Dead);
}

#[test]
fn a_delivery_that_ends_with_the_process_too_often_is_dead_whatever_its_schedule_has_left() {
    let policy = RetryPolicy::default();
    let interrupted = |interruptions| Delivery {
        interruptions,
        ..delivery(1, 0)
    };
    assert_eq!(poisoned(&policy, &interrupted(policy.interruptions_max - 1)), None);
    let failure = poisoned(&policy, &interrupted(policy.interruptions_max)).unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::ConnectorFault, Some(POISON))
    );
    assert_eq!(
        decided(&delivery(1, 1), &Verdict::Failed(failure), 1_000, 1).outcome,
        Outcome::Dead
    );
}

#[test]
fn an_attempt_that_a_stopping_server_ends_is_due_at_once_and_not_charged() {
    let now = Timestamp::from_millis(5);
    let (failure, outcome) = drained(&[], now);
    assert_eq!((failure.code.as_deref(), failure.ambiguous), (Some(DRAINED), false));
    assert_eq!(
        outcome,
        Outcome::Retry {
            due_at: now,
            charged: false
        }
    );
}

#[test]
fn a_rate_limit_that_asks_for_nothing_is_no_hot_loop() {
    let limited = failed(FailureClass::RateLimited, Some(0));
    let wait_after = |runs: u32| {
        let delivery = Delivery { runs, ..delivery(1, 0) };
        wait_ms(&decided(&delivery, &limited, 1_000, 1), 1_000)
    };
    assert!((1_000..=1_250).contains(&wait_after(1)), "{}", wait_after(1));
    assert!(wait_after(2) >= 2_000);
    assert!((60_000..=75_000).contains(&wait_after(1_000)), "{}", wait_after(1_000));
}

proptest! {
    #[test]
    fn nothing_is_due_before_what_the_upstream_asked_for(
        seed: u64, charged in 1u32..9, asked in 0u64..86_400_000, limited: bool,
    ) {
        let class = if limited { FailureClass::RateLimited } else { FailureClass::Dependency };
        let decision = decided(&delivery(charged, 0), &failed(class, Some(asked)), 1_000, seed);
        if let Outcome::Retry { .. } = decision.outcome {
            prop_assert!(wait_ms(&decision, 1_000) >= asked);
        }
    }

    #[test]
    fn back_off_stays_between_a_second_and_its_step(seed: u64, charged in 1u32..9) {
        let step = RetryPolicy::default().schedule_ms[charged as usize];
        let decision = decided(&delivery(charged, 0), &failed(FailureClass::Dependency, None), 1_000, seed);
        let wait = wait_ms(&decision, 1_000);
        prop_assert!((step.min(1_000)..=step).contains(&wait), "{} of {}", wait, step);
    }
}
