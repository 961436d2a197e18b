//! Handing deliveries out.

use std::collections::HashSet;
use std::time::Duration;

use cofferdam_domain::{DeliveryState, FailureClass, Outcome};
use tokio::task::JoinSet;

use super::{Bed, Harness, LEASE, at, home, owed, sink, terms};
use crate::{LeaseTerms, Queue as _, SettleError};

/// At its due time, and not a millisecond sooner.
pub async fn nothing_is_leased_before_it_is_due<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut request = owed(b"{}", None, at(0));
    request.fan_out[0].first_wait = Duration::from_millis(100);
    bed.accept(request, at(0)).await;
    assert!(bed.lease(at(99)).await.is_none());
    assert!(bed.lease(at(100)).await.is_some());
    let head = bed.queue.next_due(&home(), &sink()).await;
    assert_eq!(head.expect("the queue works"), None);
}

/// Nobody gets what another has, and nothing is left behind.
pub async fn callers_that_race_get_different_deliveries<H: Harness>() {
    const DELIVERIES: usize = 48;
    let bed = Bed::<H>::new().await;
    let requests = (0..DELIVERIES).map(|_| owed(b"{}", None, at(0))).collect();
    bed.queue.accept(requests, at(0)).await.expect("the queue works");
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let queue = bed.queue.clone();
        callers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let leased = queue.lease_many(&home(), &sink(), terms(at(1), 3)).await;
                let leased = leased.expect("the queue works");
                let head = queue.next_due(&home(), &sink()).await;
                if leased.is_empty() && head.expect("the queue works").is_none() {
                    return mine;
                }
                mine.extend(leased.into_iter().map(|leased| leased.delivery.id));
                tokio::task::yield_now().await;
            }
        });
    }
    let leased = callers.join_all().await.concat();
    assert_eq!(leased.len(), DELIVERIES);
    assert_eq!(leased.into_iter().collect::<HashSet<_>>().len(), DELIVERIES);
}

/// And then somebody else gets it, with a later generation.
pub async fn a_lease_is_void_after_its_end_unless_it_was_extended<H: Harness>() {
    let bed = Bed::<H>::new().await;
    for _ in 0..2 {
        bed.one(at(0)).await;
    }
    let (left, extended) = (bed.leased(at(0)).await, bed.leased(at(0)).await);
    let past = at(1).after(LEASE);
    bed.queue.extend(&extended, past).await.expect("it still stands");
    let voided = bed.queue.expire_leases(past).await;
    assert_eq!(voided.expect("the queue works"), 1);
    let again = bed.leased(past).await;
    assert_eq!(again.delivery.id, left.delivery.id);
    assert!(again.delivery.generation > left.delivery.generation);
    let refused = bed.queue.extend(&left, past).await;
    assert!(matches!(refused, Err(SettleError::Stale(_))));
    bed.settle(extended, Outcome::Delivered, past)
        .await
        .expect("it still stands");
}

/// Counted apart, and after the first one the delivery waits.
pub async fn a_lease_that_its_holder_lost_is_an_interruption_and_not_charged<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.one(at(0)).await;
    let mut now = at(0);
    for interruptions in 1..=2 {
        let lost = bed.leased(now).await;
        assert_eq!(
            lost.attempt.number, 1,
            "of those that are charged it is still the first"
        );
        assert_eq!(lost.attempt.run, interruptions);
        now = now.after(LEASE).after(Duration::from_millis(1));
        bed.queue.expire_leases(now).await.expect("the queue works");
        let delivery = bed.delivery(id).await;
        assert_eq!((delivery.charged, delivery.interruptions), (0, interruptions));
        let DeliveryState::Pending { due_at } = delivery.state else {
            panic!("{:?}", delivery.state)
        };
        assert_eq!(due_at > now, interruptions > 1);
    }
}

/// It is due again as it was.
pub async fn what_is_released_costs_no_attempt<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.one(at(0)).await;
    let leased = bed.leased(at(5)).await;
    bed.queue.release(leased).await.expect("it is leased");
    assert_eq!(bed.delivery(id).await.charged, 0);
    assert_eq!(bed.leased(at(5)).await.attempt.number, 1);
}

/// With a code that says so, and no attempt.
pub async fn a_series_that_is_too_old_is_a_dead_letter<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut request = owed(b"{}", None, at(0));
    request.fan_out[0].first_wait = Duration::from_secs(11);
    let id = bed.accept(request, at(0)).await.deliveries[0];
    let now = at(11_000);
    let expiring = LeaseTerms {
        max_age: Some(Duration::from_secs(10)),
        ..terms(now, 1)
    };
    let leased = bed.queue.lease(&home(), &sink(), expiring).await;
    assert!(leased.expect("the queue works").is_none());
    let delivery = bed.delivery(id).await;
    let class = FailureClass::Timeout;
    assert_eq!(
        (delivery.state, delivery.runs),
        (DeliveryState::Dead { at: now, class }, 0)
    );
    let why = delivery.last_failure.expect("a dead letter says why");
    assert_eq!(why.code.as_deref(), Some("expired"));
}

/// Same connection name, same delivery id, other workspace: nothing.
pub async fn no_workspace_sees_anothers<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let id = bed.one(at(0)).await;
    let other = "other".parse().expect("a name");
    let leased = bed.queue.lease(&other, &sink(), terms(at(0), 1)).await;
    assert!(leased.expect("the queue works").is_none());
    assert_eq!(
        bed.queue.next_due(&other, &sink()).await.expect("the queue works"),
        None
    );
    assert_eq!(bed.queue.look_up(&other, id).await.expect("the queue works"), None);
}
