//! Ending attempts.

use cofferdam_domain::{DeliveryState, FailureClass, LaneEffect, Outcome};

use super::{Bed, Harness, at, connection, failure, home, owed, retry, settlement, sink};
use crate::{Owed, Queue as _, SettleError};

/// Delivered, again at its time, parked without a charge, dead.
pub async fn each_outcome_leads_to_its_state<H: Harness>() {
    let class = FailureClass::Dependency;
    let receipt = Default::default();
    for (outcome, state, charged) in [
        (Outcome::Delivered, DeliveryState::Delivered { at: at(2), receipt }, 1),
        (retry(at(9)), DeliveryState::Pending { due_at: at(9) }, 1),
        (
            Outcome::Retry {
                due_at: at(9),
                charged: false,
            },
            DeliveryState::Pending { due_at: at(9) },
            0,
        ),
        (Outcome::Parked, DeliveryState::Pending { due_at: at(2) }, 0),
        (Outcome::Dead, DeliveryState::Dead { at: at(2), class }, 1),
    ] {
        let bed = Bed::<H>::new().await;
        let id = bed.one(at(0)).await;
        let leased = bed.leased(at(1)).await;
        let settled = bed.settle(leased, outcome.clone(), at(2)).await.expect("it is leased");
        let bed = bed.reopened(at(3)).await;
        let delivery = bed.delivery(id).await;
        assert_eq!(settled.delivery, delivery, "{outcome:?}");
        assert_eq!((delivery.state, delivery.charged), (state, charged), "{outcome:?}");
    }
}

/// Whether the lease ran out or was settled before.
pub async fn a_stale_settle_is_refused_and_changes_nothing<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.one(at(0)).await;
    let lost = bed.leased(at(0)).await;
    let past = at(1).after(super::LEASE);
    bed.queue.expire_leases(past).await.expect("the queue works");
    let present = bed.leased(past).await;
    for outcome in [Outcome::Delivered, Outcome::Dead] {
        let refused = bed.settle(lost.clone(), outcome, past).await;
        assert!(matches!(refused, Err(SettleError::Stale(stale)) if stale == id));
    }
    let twice = present.clone();
    bed.settle(present, Outcome::Delivered, past)
        .await
        .expect("it is leased");
    assert!(bed.settle(twice, Outcome::Dead, past).await.is_err());
    assert!(matches!(bed.state(id).await, DeliveryState::Delivered { .. }));
}

/// With the settle or not at all, and deduplicated as any other.
pub async fn what_an_attempt_produced_is_accepted_with_it<H: Harness>() {
    let bed = Bed::<H>::new().await;
    bed.one(at(0)).await;
    let leased = bed.leased(at(0)).await;
    let target = connection("target");
    let produced = |key: &str| {
        let mut accept = owed(b"{}", Some(key), at(1));
        accept.fan_out = vec![Owed::deliver(target.clone(), std::time::Duration::ZERO)];
        accept
    };
    let mut ends = settlement(Outcome::Delivered, at(1));
    ends.produced = ["a", "a", "b"].map(produced).into();
    let settled = bed
        .queue
        .settle(leased.clone(), ends.clone())
        .await
        .expect("it is leased");
    let duplicates: Vec<_> = settled.produced.iter().map(|it| it.duplicate).collect();
    assert_eq!(duplicates, [false, true, false]);
    ends.produced = vec![produced("c")];
    assert!(bed.queue.settle(leased, ends).await.is_err(), "it is settled already");
    let due = bed.queue.lease_many(&home(), &target, super::terms(at(1), 9)).await;
    assert_eq!(due.expect("the queue works").len(), 2);
}

/// Durable, and not undone by an attempt that began before the release.
pub async fn a_parked_lane_says_so_until_it_is_released<H: Harness>() {
    let bed = Bed::<H>::new().await;
    for _ in 0..2 {
        bed.one(at(0)).await;
    }
    let (first, second) = (bed.leased(at(0)).await, bed.leased(at(0)).await);
    let parks = || {
        let mut ends = settlement(Outcome::Parked, at(1));
        ends.lane = vec![LaneEffect::Park {
            class: FailureClass::Auth,
            reason: failure(FailureClass::Auth).message,
        }];
        ends
    };
    let parked = async |bed: &Bed<H>| {
        let state = bed.queue.lane_state(&home(), &sink()).await;
        state.expect("the queue works").parked.is_some()
    };
    bed.queue.settle(first, parks()).await.expect("it is leased");
    assert!(parked(&bed).await);
    let released = bed.queue.release_lane(&home(), &sink(), at(2)).await;
    released.expect("the queue works");
    bed.queue.settle(second, parks()).await.expect("it is leased");
    assert!(!parked(&bed).await, "it met the lane as it was before");
}
