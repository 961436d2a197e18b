//! Dead letters, lanes that are abandoned, and what is retired.

use std::time::Duration;

use cofferdam_domain::{DeliveryState, FailureClass, Outcome};

use super::{Bed, Harness, at, failure, home, owed, sink};
use crate::{Queue as _, ReplayError, Retention};

/// Same delivery, idempotency key and correlation id; attempts are counted anew.
pub async fn a_replay_is_a_new_series_under_the_same_names<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.dead(at(0)).await;
    let before = bed.delivery(id).await;
    assert!(bed.lease(at(1)).await.is_none());
    let replayed = bed.queue.replay(&home(), id, at(2), "anna").await;
    replayed.expect("it is a dead letter");
    let bed = bed.reopened(at(3)).await;
    let leased = bed.leased(at(3)).await;
    let after = leased.delivery;
    assert_eq!((after.id, &after.idempotency_key), (id, &before.idempotency_key));
    assert_eq!(after.correlation_id, before.correlation_id);
    assert_eq!((leased.attempt.number, leased.attempt.run, after.replays), (1, 2, 1));
    assert_eq!(after.series_at, at(3), "what it stood ready for does not age it");
}

/// Whatever else it is, the answer says.
pub async fn only_dead_letters_are_replayed_or_discarded<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let pending = bed.one(at(0)).await;
    let refused = bed.queue.replay(&home(), pending, at(1), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotDead { .. })));
    let elsewhere = "other".parse().expect("a name");
    let refused = bed.queue.discard(&elsewhere, pending, at(1), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotFound(_))));
    let leased = bed.leased(at(0)).await;
    bed.settle(leased, Outcome::Dead, at(1)).await.expect("it is leased");
    let discarded = bed.queue.discard(&home(), pending, at(2), "anna").await;
    discarded.expect("it is a dead letter");
    assert!(matches!(bed.state(pending).await, DeliveryState::Discarded { .. }));
    let refused = bed.queue.replay(&home(), pending, at(3), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotDead { .. })));
}

/// All that waits, due or not, at most as many as asked for at once; what is under lease settles.
pub async fn an_abandoned_lane_is_dead_letters<H: Harness>() {
    let bed = Bed::<H>::new().await;
    bed.one(at(0)).await;
    let held = bed.leased(at(0)).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let mut request = owed(b"{}", None, at(0));
        match number {
            0 => request.fan_out[0].first_wait = Duration::from_hours(1),
            1..=3 => request.fan_out[0].order_key = Some("k".to_owned()),
            _ => {}
        }
        ids.push(bed.accept(request, at(0)).await.deliveries[0]);
    }
    for leased in bed.lease_all(at(0)).await {
        bed.queue.release(leased).await.expect("it is leased");
    }
    let why = failure(FailureClass::Configuration);
    for (max, turned) in [(5, 5), (5, 2), (5, 0)] {
        let done = bed.queue.abandon(&home(), &sink(), at(1), &why, max).await;
        assert_eq!(done.expect("the queue works"), turned);
    }
    for id in ids {
        let delivery = bed.delivery(id).await;
        assert!(matches!(delivery.state, DeliveryState::Dead { .. }));
        assert_eq!(delivery.last_failure.as_ref(), Some(&why));
    }
    bed.settle(held, Outcome::Delivered, at(2)).await.expect("it is leased");
}

/// At its age and not before; what waits never.
pub async fn what_is_done_for_long_enough_is_retired_and_nothing_else<H: Harness>() {
    let bed = Bed::<H>::new().await;
    bed.one(at(0)).await;
    let leased = bed.leased(at(0)).await;
    let done = leased.delivery.id;
    bed.settle(leased, Outcome::Delivered, at(0))
        .await
        .expect("it is leased");
    let dead = bed.dead(at(0)).await;
    let waits = bed.one(at(0)).await;
    let retention = Retention {
        delivered_days: 2,
        dead_days: 3,
        ..Retention::default()
    };
    for (hours, kept) in [(47, [true, true]), (48, [false, true]), (72, [false, false])] {
        let now = at(0).after(Duration::from_hours(hours));
        while bed.queue.retire(now, &retention).await.expect("the queue works").more {}
        for (id, kept) in [(done, kept[0]), (dead, kept[1]), (waits, true)] {
            let found = bed.queue.look_up(&home(), id).await.expect("the queue works");
            assert_eq!(found.is_some(), kept, "{id} after {hours} h");
        }
    }
    assert_eq!(bed.leased(at(1)).await.delivery.id, waits);
}
