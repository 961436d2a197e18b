use super::*;
use crate::SettleError;

#[tokio::test]
async fn a_lease_of_the_former_process_is_void_and_its_charge_stays() {
    let bed = Bed::new().await;
    bed.accept(owed(b"1", None, at(0)), at(0)).await;
    bed.accept(owed(b"2", None, at(0)), at(0)).await;
    let lost = bed.lease(at(0)).await.unwrap();
    let bed = bed.reopened(at(1)).await;
    assert_eq!(bed.state(&lost), DeliveryState::Pending { due_at: at(1) });
    assert_eq!(bed.depth(), [2, 0, 0, 0]);
    let attempts = bed.queue.attempts(&home(), lost.delivery.id).unwrap();
    assert_eq!(
        attempts,
        std::slice::from_ref(&lost.attempt),
        "interrupted: it has no end"
    );
    let late = bed
        .queue
        .settle(lost.clone(), outcome(Outcome::Delivered, None, at(1)))
        .await;
    assert!(matches!(late, Err(SettleError::Stale(_))));
    let both = bed.queue.lease_many(&home(), &sink(), at(1), LEASE, 2).await.unwrap();
    let again = both
        .iter()
        .find(|leased| leased.delivery.id == lost.delivery.id)
        .unwrap();
    assert_eq!(
        (again.attempt.run, again.attempt.number, again.delivery.generation),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn counts_are_the_same_after_reopening_but_for_leases() {
    let bed = Bed::new().await;
    for _ in 0..4 {
        bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    }
    let [delivered, dead, _left] = [
        bed.lease(at(0)).await.unwrap(),
        bed.lease(at(0)).await.unwrap(),
        bed.lease(at(0)).await.unwrap(),
    ];
    bed.queue
        .settle(delivered, outcome(Outcome::Delivered, None, at(1)))
        .await
        .unwrap();
    bed.queue
        .settle(dead, outcome(Outcome::Dead, Some(FailureClass::Schema), at(1)))
        .await
        .unwrap();
    assert_eq!(bed.depth(), [1, 1, 1, 1]);
    let bed = bed.reopened(at(2)).await;
    assert_eq!(bed.depth(), [2, 0, 1, 1]);
}

#[tokio::test]
async fn a_dropped_call_is_counted_and_signalled_if_it_was_done() {
    let bed = Bed::new().await;
    let mut changes = bed.queue.subscribe(&home(), &sink());
    let request = owed(b"{}", None, at(0));
    // Polled once, so that the batch is with the store, and then given up, as for a client that has gone.
    tokio::select! {
        biased;
        answer = bed.queue.accept(vec![request], at(0)) => drop(answer),
        () = std::future::ready(()) => {}
    }
    changes.changed().await.unwrap();
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    assert!(bed.lease(at(0)).await.is_some());
}
