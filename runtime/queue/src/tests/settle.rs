use cofferdam_domain::classify::Receipt;
use cofferdam_domain::{LaneState, Verdict};

use super::*;
use crate::SettleError;

async fn leased(bed: &Bed) -> Leased {
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    bed.lease(at(0)).await.unwrap()
}

#[tokio::test]
async fn each_outcome_leaves_the_delivery_where_it_says() {
    let pending = |ms| DeliveryState::Pending { due_at: at(ms) };
    let receipt = Receipt {
        external_id: Some("x-1".into()),
        summary: None,
        confirmation: None,
    };
    let retry = |charged| Outcome::Retry {
        due_at: at(500),
        charged,
    };
    let dead = |class| DeliveryState::Dead { at: at(9), class };
    use FailureClass::{Auth, ConnectorFault, Dependency, RateLimited, Schema};
    // Outcome, why, the state that follows, attempts charged, faults counted, depth.
    let cases = [
        (
            Outcome::Delivered,
            None,
            DeliveryState::Delivered { at: at(9), receipt },
            1,
            0,
            [0, 0, 0, 1],
        ),
        (retry(true), Some(Dependency), pending(500), 1, 0, [1, 0, 0, 0]),
        (retry(false), Some(RateLimited), pending(500), 0, 0, [1, 0, 0, 0]),
        (retry(true), Some(ConnectorFault), pending(500), 1, 1, [1, 0, 0, 0]),
        (Outcome::Parked, Some(Auth), pending(9), 0, 0, [1, 0, 0, 0]),
        (Outcome::Dead, Some(Schema), dead(Schema), 1, 0, [0, 0, 1, 0]),
    ];
    for (outcome_, class, state, charged, faults, depth) in cases {
        let case = format!("{outcome_:?} {class:?}");
        let bed = Bed::new().await;
        let leased = leased(&bed).await;
        let settled = bed
            .queue
            .settle(leased.clone(), outcome(outcome_, class, at(9)))
            .await
            .unwrap();
        let bed = bed.reopened(at(10)).await;
        let delivery = bed.queue.delivery(&home(), leased.delivery.id).unwrap().unwrap();
        assert_eq!(settled.delivery, delivery, "{case}");
        assert_eq!(delivery.state, state, "{case}");
        assert_eq!((delivery.charged, delivery.faults), (charged, faults), "{case}");
        assert_eq!(delivery.last_failure, class.map(failure), "{case}");
        assert_eq!(bed.depth(), depth, "{case}");
        let attempts = bed.queue.attempts(&home(), delivery.id).unwrap();
        assert_eq!(attempts.len(), 1, "{case}");
        assert_eq!(attempts[0].ended.as_ref().unwrap().at, at(9), "{case}");
    }
}

#[tokio::test]
async fn a_second_settle_of_one_lease_is_refused_and_changes_nothing() {
    let bed = Bed::new().await;
    let leased = leased(&bed).await;
    bed.queue
        .settle(leased.clone(), outcome(Outcome::Delivered, None, at(1)))
        .await
        .unwrap();
    let mut second = outcome(Outcome::Dead, Some(FailureClass::Schema), at(2));
    second.produced = vec![owed(b"{}", None, at(2))];
    assert!(matches!(
        bed.queue.settle(leased.clone(), second).await,
        Err(SettleError::Stale(_))
    ));
    assert!(matches!(
        bed.queue.release(leased.clone()).await,
        Err(SettleError::Stale(_))
    ));
    assert!(matches!(bed.state(&leased), DeliveryState::Delivered { .. }));
    assert_eq!(bed.depth(), [0, 0, 0, 1]);
    assert_eq!(bed.queue.recent_events(&home(), 9, None).unwrap().len(), 1);
}

#[tokio::test]
async fn the_lane_remembers_the_effect_until_it_is_released() {
    let bed = Bed::new().await;
    let leased = leased(&bed).await;
    let effect = LaneEffect::Park {
        class: FailureClass::Auth,
        reason: "401".into(),
    };
    let settlement = Settlement {
        lane: vec![effect],
        ..outcome(Outcome::Parked, Some(FailureClass::Auth), at(1))
    };
    bed.queue.settle(leased, settlement).await.unwrap();
    let again = bed.lease(at(1)).await.unwrap();
    let effect = LaneEffect::BackOff { until: at(900) };
    let retry = Outcome::Retry {
        due_at: at(900),
        charged: false,
    };
    let settlement = Settlement {
        lane: vec![effect],
        ..outcome(retry, Some(FailureClass::RateLimited), at(2))
    };
    bed.queue.settle(again, settlement).await.unwrap();
    let bed = bed.reopened(at(3)).await;
    let state = bed.queue.lane_state(&home(), &sink()).await.unwrap();
    assert_eq!(state.parked.as_ref().unwrap().since, at(1));
    assert_eq!(state.back_off_until, Some(at(900)));
    bed.queue.release_lane(&home(), &sink(), at(3)).await.unwrap();
    let bed = bed.reopened(at(4)).await;
    assert!(bed.queue.lane_state(&home(), &sink()).await.unwrap().is_open(at(4)));
}

#[tokio::test]
async fn a_release_is_not_undone_by_an_attempt_that_began_before_it() {
    let class = FailureClass::Auth;
    let reason = || "401".to_owned();
    let effects = [
        LaneEffect::Park {
            class,
            reason: reason(),
        },
        LaneEffect::BackOff { until: at(900) },
        LaneEffect::Flag {
            class,
            reason: reason(),
        },
    ];
    for effect in effects {
        let bed = Bed::new().await;
        let settle = async |leased, now| {
            let settlement = Settlement {
                lane: vec![effect.clone()],
                ..outcome(Outcome::Parked, Some(class), now)
            };
            bed.queue.settle(leased, settlement).await.unwrap().delivery.state
        };
        let before = leased(&bed).await;
        bed.queue.release_lane(&home(), &sink(), at(5)).await.unwrap();
        assert_eq!(settle(before, at(9)).await, DeliveryState::Pending { due_at: at(9) });
        let released = LaneState::released(at(5));
        assert_eq!(bed.queue.lane_state(&home(), &sink()).await.unwrap(), released);
        let after = bed.lease(at(9)).await.unwrap();
        settle(after, at(11)).await;
        assert_eq!(
            bed.queue.lane_state(&home(), &sink()).await.unwrap(),
            released.after(&effect, at(11))
        );
    }
}

#[tokio::test]
async fn a_release_that_races_with_a_settle_stands() {
    let bed = Bed::new().await;
    let leased = leased(&bed).await;
    let settlement = Settlement {
        lane: vec![LaneEffect::BackOff { until: at(900) }],
        ..outcome(Outcome::Parked, Some(FailureClass::RateLimited), at(2))
    };
    // The settle reads the lane as it was before the release, and is committed after it.
    let held = bed.hold_commits();
    let (workspace, connection) = (home(), sink());
    let release = bed.queue.release_lane(&workspace, &connection, at(1));
    let settle = bed.queue.settle(leased, settlement);
    let (released, settled, ()) = tokio::join!(biased; release, settle, async { drop(held) });
    released.unwrap();
    settled.unwrap();
    let state = bed.queue.lane_state(&home(), &sink()).await.unwrap();
    assert_eq!(state, LaneState::released(at(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settles_that_race_each_leave_their_effect_on_the_lane() {
    let bed = Bed::new().await;
    let first = leased(&bed).await;
    let second = leased(&bed).await;
    let class = FailureClass::Gone;
    let flag = LaneEffect::Flag {
        class,
        reason: "410".into(),
    };
    let back_off = LaneEffect::BackOff { until: at(900) };
    let settle = |leased, lane| {
        bed.queue.settle(
            leased,
            Settlement {
                lane,
                ..outcome(Outcome::Dead, Some(class), at(1))
            },
        )
    };
    let (first, second) = tokio::join!(settle(first, vec![flag]), settle(second, vec![back_off]));
    assert!(first.is_ok() && second.is_ok());
    let state = bed.queue.lane_state(&home(), &sink()).await.unwrap();
    assert!(state.flagged.is_some() && state.back_off_until.is_some(), "{state:?}");
}

#[tokio::test]
async fn the_third_fault_of_a_series_is_the_last() {
    let bed = Bed::new().await;
    let policy = cofferdam_domain::RetryPolicy::default();
    let mut leased = leased(&bed).await;
    for fault in 1..=policy.faults_max {
        let verdict = Verdict::Failed(failure(FailureClass::ConnectorFault));
        let now = leased.attempt.started_at;
        let decision =
            cofferdam_domain::retry::decide(&policy, &leased.delivery_after(&verdict), &verdict, now, &mut rng());
        let settlement = outcome(decision.outcome.clone(), Some(FailureClass::ConnectorFault), now);
        let settled = bed.queue.settle(leased.clone(), settlement).await.unwrap();
        assert_eq!(settled.delivery.faults, fault);
        match decision.outcome {
            Outcome::Retry { due_at, .. } => leased = bed.lease(due_at).await.unwrap(),
            other => assert_eq!((other, fault), (Outcome::Dead, policy.faults_max)),
        }
    }
    assert_eq!(bed.depth(), [0, 0, 1, 0]);
}

#[tokio::test]
async fn an_attempt_with_a_long_trail_comes_back_whole() {
    let bed = Bed::new().await;
    let leased = leased(&bed).await;
    let mut settlement = outcome(Outcome::Delivered, None, at(1));
    let line = cofferdam_domain::LogLine {
        at: at(1),
        level: "info".into(),
        message: "m".repeat(1000),
        fields: Vec::new(),
    };
    settlement.end.logs = vec![line; 64];
    let end = settlement.end.clone();
    let id = leased.delivery.id;
    bed.queue.settle(leased, settlement).await.unwrap();
    assert_eq!(bed.queue.attempts(&home(), id).unwrap()[0].ended, Some(end));
}
