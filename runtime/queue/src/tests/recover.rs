use super::*;
use cofferdam_store::Scan;

use crate::{SettleError, keys};

#[tokio::test]
async fn a_lease_of_the_former_process_is_void_and_costs_the_schedule_nothing() {
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
    let both = bed.queue.lease_many(&home(), &sink(), terms(at(1), 2)).await.unwrap();
    let again = both
        .iter()
        .find(|leased| leased.delivery.id == lost.delivery.id)
        .unwrap();
    assert_eq!(
        (again.attempt.run, again.attempt.number, again.delivery.generation),
        (2, 1, 2)
    );
    assert_eq!((again.delivery.charged, again.delivery.interruptions), (1, 1));
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

#[tokio::test]
async fn a_delivery_that_ends_the_process_again_and_again_waits_longer_each_time() {
    let mut bed = Bed::new().await;
    let counted = |bed: &Bed, id| {
        let delivery = bed.queue.delivery(&home(), id).unwrap().unwrap();
        (delivery.charged, delivery.interruptions)
    };
    let id = bed.accept(owed(b"{}", None, at(0)), at(0)).await.deliveries[0];
    let mut now = at(0);
    let waits = [0, 4, 8, 16, 32, 64, 128, 256, 256, 256];
    for (interruptions, wait_s) in (1u32..).zip(waits) {
        let lost = bed.lease(now).await.unwrap();
        bed = bed.reopened(now).await;
        let due_at = now.after(Duration::from_secs(wait_s));
        assert_eq!(
            bed.state(&lost),
            DeliveryState::Pending { due_at },
            "interruption {interruptions}"
        );
        assert_eq!(counted(&bed, id), (0, interruptions));
        now = due_at;
    }
}

#[tokio::test]
async fn days_without_a_process_are_not_the_age_of_an_interrupted_series() {
    let bed = Bed::new().await;
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    let lost = bed.lease(at(0)).await.unwrap();
    let down = Duration::from_hours(96);
    let bed = bed.reopened(at(0).after(LEASE).after(down)).await;
    let delivery = bed.queue.delivery(&home(), lost.delivery.id).unwrap().unwrap();
    assert_eq!(delivery.series_at, at(0).after(down));
}

#[tokio::test]
async fn bytes_that_wait_are_counted_at_every_step_and_after_reopening() {
    let bed = Bed::new().await;
    for body in [&b"12345"[..], b"123", b""] {
        bed.accept(owed(body, None, at(0)), at(0)).await;
    }
    assert_eq!(bed.pending_bytes(), 8);
    let leased = bed.queue.lease_many(&home(), &sink(), terms(at(0), 3)).await.unwrap();
    assert_eq!(bed.pending_bytes(), 0);
    let [five, three] = [5, 3].map(|bytes| leased.iter().find(|it| it.body.len() == bytes).unwrap().clone());
    bed.queue
        .settle(three, outcome(Outcome::Dead, Some(FailureClass::Schema), at(1)))
        .await
        .unwrap();
    bed.queue.release(five).await.unwrap();
    assert_eq!(bed.pending_bytes(), 5);
    let bed = bed.reopened(at(2)).await;
    assert_eq!(bed.pending_bytes(), 5, "and the empty one, whose lease was void");
    assert_eq!(bed.depth(), [2, 0, 1, 0]);
    let dead = bed
        .queue
        .dead_letters(&home(), &Default::default(), 1, None)
        .unwrap()
        .items[0]
        .id;
    bed.queue.replay(&home(), dead, at(3), "anna").await.unwrap();
    assert_eq!(bed.pending_bytes(), 8);
}

#[tokio::test]
async fn what_an_earlier_version_has_stored_opens_and_is_delivered() {
    let bed = Bed::new().await;
    let id = bed.accept(owed(b"{}", None, at(0)), at(0)).await.deliveries[0];
    let record = keys::delivery(&home(), id);
    let stored = bed.queue.store.get(&record).unwrap().unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&stored[1..]).unwrap();
    for field in ["order", "interruptions", "event_type", "body_bytes"] {
        json.as_object_mut().unwrap().remove(field);
    }
    let listed = keys::LaneEntry {
        workspace: home(),
        connection: sink(),
        at: at(0),
        delivery: id,
    };
    let mut batch = Batch::new();
    batch
        .put(record, [&b"\x01"[..], json.to_string().as_bytes()].concat())
        .put(listed.key(keys::LaneIndex::Due), "");
    bed.queue.store.commit(batch).await.unwrap();
    let bed = bed.reopened(at(1)).await;
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    let leased = bed.lease(at(1)).await.unwrap();
    bed.queue
        .settle(leased, outcome(Outcome::Delivered, None, at(1)))
        .await
        .unwrap();
    assert_eq!(bed.depth(), [0, 0, 0, 1]);
    let due = Scan::prefix(keys::LaneIndex::Due.of(&home(), &sink()), 9);
    assert_eq!(bed.queue.store.scan(&due).unwrap(), []);
}
