use std::collections::HashSet;

use cofferdam_domain::{RetryPolicy, Verdict, retry};
use tokio::task::JoinSet;

use super::*;
use crate::{LEASES_PER_CALL_MAX, SettleError};

#[tokio::test]
async fn nothing_is_leased_before_it_is_due() {
    let bed = Bed::new().await;
    let mut request = owed(b"{}", None, at(0));
    request.fan_out = vec![Owed::deliver(sink(), Duration::from_millis(100))];
    bed.accept(request, at(0)).await;
    assert_eq!(bed.queue.next_due(&home(), &sink()).await.unwrap(), Some(at(100)));
    assert!(bed.lease(at(99)).await.is_none());
    assert!(bed.lease(at(100)).await.is_some());
    assert_eq!(bed.queue.next_due(&home(), &sink()).await.unwrap(), None);
}

#[tokio::test]
async fn a_lane_is_left_in_the_order_in_which_things_fall_due() {
    let bed = Bed::new().await;
    for (body, wait) in [(b"3", 30), (b"1", 10), (b"2", 20)] {
        let mut request = owed(body, None, at(0));
        request.fan_out = vec![Owed::deliver(sink(), Duration::from_millis(wait))];
        bed.accept(request, at(0)).await;
    }
    let leased = bed.queue.lease_many(&home(), &sink(), terms(at(30), 2)).await.unwrap();
    assert_eq!(leased.iter().map(|leased| leased.body[0]).collect::<Vec<_>>(), *b"12");
    assert_eq!(bed.lease(at(30)).await.unwrap().body, b"3");
}

#[tokio::test]
async fn an_attempt_is_durable_before_its_lease_is_handed_out() {
    let bed = Bed::new().await;
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    let leased = bed.lease(at(5)).await.unwrap();
    assert_eq!(
        leased.delivery.state,
        DeliveryState::Leased {
            until: at(5).after(LEASE)
        }
    );
    assert_eq!(
        (
            leased.delivery.charged,
            leased.delivery.runs,
            leased.delivery.generation
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (leased.attempt.run, leased.attempt.number, leased.attempt.started_at),
        (1, 1, at(5))
    );
    assert_eq!(leased.attempt.trace.trace_id(), leased.event.trace.trace_id());
    assert_ne!(leased.attempt.trace.span_id(), leased.event.trace.span_id());
    assert_eq!(
        bed.queue.attempts(&home(), leased.delivery.id).unwrap(),
        std::slice::from_ref(&leased.attempt)
    );
    assert_eq!(bed.state(&leased), leased.delivery.state);
    assert_eq!(bed.depth(), [0, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_race_never_get_the_same_delivery_and_leave_none_behind() {
    const DELIVERIES: usize = 60;
    let bed = Bed::new().await;
    let requests = (0..DELIVERIES).map(|_| owed(b"{}", None, at(0))).collect();
    bed.queue.accept(requests, at(0)).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..8usize {
        let queue = bed.queue.clone();
        callers.spawn(async move {
            let mut taken = Vec::new();
            let mut changes = queue.subscribe(&home(), &sink());
            loop {
                changes.mark_unchanged();
                let leased = queue
                    .lease_many(&home(), &sink(), terms(at(0), 1 + caller % 3))
                    .await
                    .unwrap();
                if leased.is_empty() && queue.next_due(&home(), &sink()).await.unwrap().is_none() {
                    return taken;
                }
                taken.extend(leased.into_iter().map(|leased| leased.delivery.id));
            }
        });
    }
    let taken: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), DELIVERIES);
    assert_eq!(taken.len(), DELIVERIES);
    assert_eq!(bed.depth(), [0, 60, 0, 0]);
}

#[tokio::test]
async fn one_call_leases_no_more_than_the_limit() {
    let bed = Bed::new().await;
    let requests = (0..=LEASES_PER_CALL_MAX).map(|_| owed(b"{}", None, at(0))).collect();
    bed.queue.accept(requests, at(0)).await.unwrap();
    let leased = bed
        .queue
        .lease_many(&home(), &sink(), terms(at(0), usize::MAX))
        .await
        .unwrap();
    assert_eq!(leased.len(), LEASES_PER_CALL_MAX);
    assert!(
        bed.queue
            .lease_many(&home(), &sink(), terms(at(0), 0))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_lease_outlives_its_end_only_if_it_was_extended() {
    let bed = Bed::new().await;
    for _ in 0..2 {
        bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    }
    let extended = bed.lease(at(0)).await.unwrap();
    let left = bed.lease(at(0)).await.unwrap();
    let end = at(0).after(LEASE);
    let past = end.after(Duration::from_millis(1));
    bed.queue.extend(&extended, past).await.unwrap();
    assert_eq!(bed.queue.expire_leases(end).await.unwrap(), 0);
    assert_eq!(bed.queue.expire_leases(past).await.unwrap(), 1);
    assert_eq!(bed.state(&extended), DeliveryState::Leased { until: past });
    assert_eq!(bed.state(&left), DeliveryState::Pending { due_at: past });
    assert!(matches!(
        bed.queue.extend(&left, past).await,
        Err(SettleError::Stale(_))
    ));
    let again = bed.lease(past).await.unwrap();
    assert_eq!(
        (again.delivery.id, again.attempt.run, again.attempt.number),
        (left.delivery.id, 2, 1)
    );
    let stale = bed.queue.settle(left, outcome(Outcome::Delivered, None, past)).await;
    assert!(matches!(stale, Err(SettleError::Stale(_))));
    bed.queue
        .settle(extended, outcome(Outcome::Delivered, None, past))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_released_costs_no_attempt_and_keeps_its_place() {
    let bed = Bed::new().await;
    bed.accept(owed(b"1", None, at(0)), at(0)).await;
    let leased = bed.lease(at(10)).await.unwrap();
    bed.accept(owed(b"2", None, at(20)), at(20)).await;
    let id = leased.delivery.id;
    bed.queue.release(leased).await.unwrap();
    assert_eq!(bed.queue.attempts(&home(), id).unwrap(), []);
    assert_eq!(bed.depth(), [2, 0, 0, 0]);
    let again = bed.lease(at(20)).await.unwrap();
    assert_eq!((again.delivery.id, again.attempt.number), (id, 1));
    assert_eq!(again.attempt.run, 2, "a run's number is never another's");
}

#[tokio::test]
async fn workspaces_never_cross() {
    let bed = Bed::new().await;
    let accepted = bed.accept(owed(b"{}", Some("k"), at(0)), at(0)).await;
    let other: WorkspaceName = "other".parse().unwrap();
    assert!(
        bed.queue
            .lease(&other, &sink(), terms(at(0), 1))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(bed.queue.next_due(&other, &sink()).await.unwrap(), None);
    assert_eq!(bed.queue.event(&other, accepted.event_id).unwrap(), None);
    assert_eq!(bed.queue.body(&other, accepted.event_id).unwrap(), None);
    assert_eq!(bed.queue.delivery(&other, accepted.deliveries[0]).unwrap(), None);
    assert_eq!(bed.queue.deliveries_of(&other, accepted.event_id).unwrap(), []);
    assert_eq!(
        bed.queue
            .events_by_correlation(&other, &accepted.correlation_id, 9)
            .unwrap(),
        []
    );
    assert_eq!(bed.queue.recent_events(&other, 9, None).unwrap(), []);
    assert_eq!(
        bed.queue
            .deliveries(&other, &Default::default(), 9, None)
            .unwrap()
            .items,
        []
    );
    assert_eq!(bed.queue.depth(&other, &sink()), Depth::default());
}

/// What the domain decides for an attempt that is told to slow down, for so long if the upstream said so.
fn limited(leased: &Leased, now: Timestamp, retry_after: Option<Duration>) -> Settlement {
    let verdict = Verdict::Failed(Failure {
        retry_after_ms: retry_after.map(|wait| wait.as_millis().try_into().unwrap()),
        ..failure(FailureClass::RateLimited)
    });
    let policy = RetryPolicy::default();
    let decision = retry::decide(&policy, &leased.delivery_after(&verdict), &verdict, now, &mut rng());
    Settlement {
        lane: vec![decision.lane],
        ..outcome(decision.outcome, Some(FailureClass::RateLimited), now)
    }
}

#[tokio::test]
async fn a_series_that_is_only_ever_rate_limited_ends_by_its_age() {
    let bed = Bed::new().await;
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    // A quarter of the greatest age, to which jitter adds another quarter of itself at most: the fourth wait is too long.
    let asked = Duration::from_millis(RetryPolicy::default().max_age_ms) / 4;
    let mut now = at(0);
    for attempt in 1..=4 {
        let leased = bed.lease(now).await.unwrap();
        let settlement = limited(&leased, now, Some(asked));
        match bed.queue.settle(leased, settlement).await.unwrap().delivery.state {
            DeliveryState::Pending { due_at } if attempt < 4 => now = due_at,
            state => assert!(
                matches!(state, DeliveryState::Dead { .. }) && attempt == 4,
                "{attempt}: {state:?}"
            ),
        }
    }
}

#[tokio::test]
async fn waiting_in_a_lane_that_is_off_or_parked_does_not_age_a_series() {
    let bed = Bed::new().await;
    let week = Duration::from_hours(168);
    // Before its first attempt: the connection was off.
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    let first_at = at(0).after(week);
    let leased = bed.lease(first_at).await.unwrap();
    assert_eq!(leased.delivery.series_at, first_at);
    // Charged once, and waiting for its second attempt when another delivery parks the lane.
    let due_at = first_at.after(Duration::from_secs(5));
    let retry = Outcome::Retry { due_at, charged: true };
    bed.queue
        .settle(leased, outcome(retry, Some(FailureClass::Dependency), first_at))
        .await
        .unwrap();
    let leased = bed.lease(due_at.after(week)).await.unwrap();
    assert_eq!(leased.delivery.series_at, first_at.after(week));
    // Parked itself.
    let parked_at = due_at.after(week);
    bed.queue
        .settle(leased, outcome(Outcome::Parked, Some(FailureClass::Auth), parked_at))
        .await
        .unwrap();
    let leased = bed.lease(parked_at.after(week)).await.unwrap();
    assert_eq!(leased.delivery.series_at, first_at.after(week).after(week));
    let age = leased.attempt.started_at.since(leased.delivery.series_at);
    assert_eq!(age, Duration::from_secs(5), "what its own retry cost");
}

#[tokio::test]
async fn time_in_a_closed_lane_does_not_age_a_series_by_a_back_off_that_comes_after_it() {
    let bed = Bed::new().await;
    let week = Duration::from_hours(168);
    for _ in 0..2 {
        bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    }
    // The lane was parked or off for a week, and the first attempt after it is told to slow down.
    let now = at(0).after(week);
    let first = bed.lease(now).await.unwrap();
    let settlement = limited(&first, now, None);
    let [LaneEffect::BackOff { until }] = settlement.lane[..] else {
        panic!("{:?}", settlement.lane)
    };
    bed.queue.settle(first, settlement).await.unwrap();
    let old = LeaseTerms {
        max_age: Some(Duration::from_hours(72)),
        ..terms(until, 1)
    };
    let second = bed.queue.lease(&home(), &sink(), old).await.unwrap().unwrap();
    assert_eq!(second.delivery.series_at, now, "only the back-off made it older");
}

#[tokio::test]
async fn the_lanes_back_off_ages_everything_that_waits_in_it() {
    let bed = Bed::new().await;
    for _ in 0..2 {
        bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    }
    let first = bed.lease(at(0)).await.unwrap();
    let settlement = limited(&first, at(0), None);
    let [LaneEffect::BackOff { until }] = settlement.lane[..] else {
        panic!("{:?}", settlement.lane)
    };
    bed.queue.settle(first, settlement).await.unwrap();
    let idle = Duration::from_secs(1);
    let second = bed.lease(until.after(idle)).await.unwrap();
    assert_eq!(second.delivery.series_at, at(0).after(idle));
}

#[tokio::test]
async fn a_series_that_is_too_old_is_a_dead_letter_and_costs_no_attempt() {
    let max_age = Duration::from_secs(10);
    let expiring = |now| LeaseTerms {
        max_age: Some(max_age),
        ..terms(now, 1)
    };
    let lease = async |bed: &Bed, now| bed.queue.lease(&home(), &sink(), expiring(now)).await.unwrap();
    for (last, class) in [
        (None, FailureClass::Timeout),
        (Some(FailureClass::Transport), FailureClass::Transport),
    ] {
        for (wait, expires) in [(max_age, false), (max_age + Duration::from_millis(1), true)] {
            let bed = Bed::new().await;
            // A wait of its own, and not time in which it stood ready, is what ages a series.
            let due_at = at(0).after(wait);
            let mut accept = owed(b"{}", None, at(0));
            accept.fan_out[0].first_wait = if last.is_none() { wait } else { Duration::ZERO };
            let id = bed.accept(accept, at(0)).await.deliveries[0];
            if let Some(last) = last {
                let leased = bed.lease(at(0)).await.unwrap();
                let again = Outcome::Retry { due_at, charged: true };
                bed.queue
                    .settle(leased, outcome(again, Some(last), at(0)))
                    .await
                    .unwrap();
            }
            let runs = u32::from(last.is_some());
            let leased = lease(&bed, due_at.after(Duration::from_hours(9))).await;
            assert_eq!(leased.is_none(), expires, "{last:?} {wait:?}");
            let delivery = bed.queue.delivery(&home(), id).unwrap().unwrap();
            assert_eq!(delivery.runs, runs + u32::from(!expires));
            if expires {
                let why = delivery.last_failure.unwrap();
                assert_eq!((why.class, why.code.as_deref()), (class, Some("expired")));
                assert_eq!(bed.depth(), [0, 0, 1, 0]);
            }
        }
    }
}

#[tokio::test]
async fn how_long_a_head_has_been_due_is_known_without_reading() {
    let bed = Bed::new().await;
    let lag = |bed: &Bed, now| bed.queue.lag(&home(), &sink(), now).as_millis();
    assert_eq!(lag(&bed, at(0)), 0);
    for wait in [300, 100, 200] {
        let mut accept = owed(b"{}", None, at(0));
        accept.fan_out[0].first_wait = Duration::from_millis(wait);
        bed.accept(accept, at(0)).await;
    }
    assert_eq!([50, 100, 150].map(|ms| lag(&bed, at(ms))), [0, 0, 50]);
    bed.lease(at(250)).await.unwrap();
    assert_eq!(lag(&bed, at(250)), 50, "the next one");
    bed.lease(at(250)).await.unwrap();
    bed.queue.next_due(&home(), &sink()).await.unwrap();
    assert_eq!(lag(&bed, at(350)), 50);
    let bed = bed.reopened(at(260)).await;
    assert_eq!(lag(&bed, at(350)), 90, "of those whose lease was void");
    bed.queue.lease_many(&home(), &sink(), terms(at(400), 9)).await.unwrap();
    assert_eq!(lag(&bed, at(400)), 0);
}

#[tokio::test]
async fn totals_of_all_lanes_follow_every_step() {
    let bed = Bed::new().await;
    let mut accept = owed(b"12345", None, at(0));
    accept
        .fan_out
        .push(Owed::deliver("other".parse().unwrap(), Duration::ZERO));
    bed.accept(accept, at(0)).await;
    let totals = |bed: &Bed| (bed.queue.pending_total(), bed.queue.pending_bytes_total());
    assert_eq!(totals(&bed), (2, 10));
    assert_eq!(bed.queue.lanes_waiting().len(), 2);
    let leased = bed.lease(at(0)).await.unwrap();
    assert_eq!(totals(&bed), (1, 5));
    bed.queue.release(leased).await.unwrap();
    let bed = bed.reopened(at(1)).await;
    assert_eq!(totals(&bed), (2, 10));
}
