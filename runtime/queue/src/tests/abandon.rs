use super::*;

fn gone() -> Failure {
    Failure {
        code: Some("connection-deleted".into()),
        ..failure(FailureClass::Configuration)
    }
}

/// Ten deliveries: one due later, three of one order key of which two are behind, and one under lease.
async fn ten() -> (Bed, Leased) {
    let bed = Bed::new().await;
    let leased = {
        bed.accept(owed(b"{}", None, at(0)), at(0)).await;
        bed.lease(at(0)).await.unwrap()
    };
    for number in 0..9u64 {
        let mut accept = owed(b"123", None, at(1));
        match number {
            0 => accept.fan_out[0].first_wait = Duration::from_hours(1),
            1..=3 => accept.fan_out[0].order_key = Some("k".into()),
            _ => {}
        }
        bed.accept(accept, at(1)).await;
    }
    for leased in bed.queue.lease_many(&home(), &sink(), terms(at(1), 9)).await.unwrap() {
        bed.queue.release(leased).await.unwrap();
    }
    assert_eq!(bed.depth(), [9, 1, 0, 0]);
    (bed, leased)
}

#[tokio::test]
async fn what_waits_in_an_abandoned_lane_is_dead_letters_due_or_not_and_in_order_or_not() {
    let (bed, _leased) = ten().await;
    let abandon = async |bed: &Bed, max| {
        let done = bed.queue.abandon(&home(), &sink(), at(5), &gone(), max).await;
        done.unwrap()
    };
    assert_eq!(abandon(&bed, 4).await, 4);
    assert_eq!(bed.depth(), [5, 1, 4, 0]);
    let bed = bed.reopened(at(5)).await;
    assert_eq!(bed.depth(), [6, 0, 4, 0], "the lease was void");
    assert_eq!(abandon(&bed, 99).await, 6);
    assert_eq!(abandon(&bed, 99).await, 0);
    assert_eq!(bed.depth(), [0, 0, 10, 0]);
    assert_eq!((bed.queue.pending_total(), bed.queue.pending_bytes_total()), (0, 0));
    let page = bed.queue.dead_letters(&home(), &Default::default(), 99, None).unwrap();
    assert!(page.items.iter().all(|letter| letter.last_failure == Some(gone())));
    assert_eq!(bed.queue.lanes_waiting(), []);
    // Those that waited behind another begin anew like any other, and in the order in which they were asked for.
    let ordered = page.items.iter().filter(|letter| letter.order.is_some());
    let ordered: Vec<_> = ordered.map(|letter| letter.id).collect();
    assert_eq!(ordered.len(), 3);
    for id in &ordered {
        bed.queue.replay(&home(), *id, at(6), "anna").await.unwrap();
    }
    for id in ordered {
        let leased = bed.lease(at(6)).await.unwrap();
        assert_eq!(leased.delivery.id, id);
        bed.queue
            .settle(leased, outcome(Outcome::Delivered, None, at(6)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_attempt_under_way_settles_in_an_abandoned_lane() {
    let (bed, leased) = ten().await;
    bed.queue.abandon(&home(), &sink(), at(5), &gone(), 99).await.unwrap();
    bed.queue
        .settle(leased, outcome(Outcome::Delivered, None, at(6)))
        .await
        .unwrap();
    assert_eq!(bed.depth(), [0, 0, 9, 1]);
}

#[tokio::test]
async fn abandoning_one_lane_leaves_its_neighbours_alone() {
    let (bed, _leased) = ten().await;
    let other: ConnectionName = "sink-2".parse().unwrap();
    let mut accept = owed(b"{}", None, at(0));
    accept.fan_out = vec![Owed::deliver(other.clone(), Duration::ZERO)];
    bed.accept(accept, at(0)).await;
    bed.queue.abandon(&home(), &sink(), at(5), &gone(), 99).await.unwrap();
    assert_eq!(bed.queue.depth(&home(), &other).pending, 1);
    assert_eq!(bed.queue.lanes_waiting(), [(home(), other)]);
}
