use cofferdam_domain::event::RAW_REQUEST_TYPE;
use cofferdam_domain::{DeliveryId, DeliveryKind};

use super::*;
use crate::{DeadFilter, ReplayError};

pub(super) async fn dead(bed: &Bed, class: FailureClass, now: Timestamp) -> DeliveryId {
    bed.accept(owed(b"{}", None, now), now).await;
    let leased = bed.lease(now).await.unwrap();
    bed.queue
        .settle(leased, outcome(Outcome::Dead, Some(class), now))
        .await
        .unwrap()
        .delivery
        .id
}

#[tokio::test]
async fn a_replay_is_a_new_series_under_the_same_names() {
    let bed = Bed::new().await;
    let id = dead(&bed, FailureClass::ConnectorFault, at(0)).await;
    let before = bed.queue.delivery(&home(), id).unwrap().unwrap();
    bed.queue.replay(&home(), id, at(50), "anna").await.unwrap();
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    let bed = bed.reopened(at(51)).await;
    let leased = bed.lease(at(51)).await.unwrap();
    let after = &leased.delivery;
    assert_eq!(after.id, id);
    assert_eq!(after.idempotency_key, before.idempotency_key);
    assert_eq!(after.correlation_id, before.correlation_id);
    assert_eq!((after.series_at, after.accepted_at), (at(51), at(0)));
    assert_eq!((after.charged, after.faults, after.replays), (1, 0, 1));
    assert_eq!((leased.attempt.number, leased.attempt.run), (1, 2));
    assert_eq!(bed.queue.attempts(&home(), id).unwrap().len(), 2);
}

#[tokio::test]
async fn only_dead_letters_are_replayed_or_discarded() {
    let bed = Bed::new().await;
    let id = dead(&bed, FailureClass::Schema, at(0)).await;
    let other = "other".parse().unwrap();
    assert!(matches!(
        bed.queue.replay(&other, id, at(1), "anna").await,
        Err(ReplayError::NotFound(_))
    ));
    bed.queue.replay(&home(), id, at(1), "anna").await.unwrap();
    let refused = bed.queue.replay(&home(), id, at(1), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotDead { state: "pending", .. })));
    let leased = bed.lease(at(1)).await.unwrap();
    let refused = bed.queue.discard(&home(), id, at(1), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotDead { state: "in-flight", .. })));
    bed.queue
        .settle(leased, outcome(Outcome::Dead, Some(FailureClass::Schema), at(2)))
        .await
        .unwrap();
    bed.queue.discard(&home(), id, at(3), "anna").await.unwrap();
    let refused = bed.queue.replay(&home(), id, at(4), "anna").await;
    assert!(matches!(refused, Err(ReplayError::NotDead { state: "discarded", .. })));
    let state = bed.queue.delivery(&home(), id).unwrap().unwrap().state;
    assert_eq!(
        state,
        DeliveryState::Discarded {
            at: at(3),
            by: "anna".into()
        }
    );
    assert_eq!(bed.depth(), [0, 0, 0, 0]);
    assert_eq!(
        bed.queue
            .dead_letters(&home(), &DeadFilter::default(), 9, None)
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn pages_stay_good_while_those_before_them_are_replayed() {
    let bed = Bed::new().await;
    let mut expected = Vec::new();
    for ms in 0..5 {
        expected.insert(0, dead(&bed, FailureClass::Schema, at(ms)).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = bed
            .queue
            .dead_letters(&home(), &DeadFilter::default(), 2, cursor)
            .unwrap();
        for delivery in page.items {
            bed.queue.replay(&home(), delivery.id, at(9), "anna").await.unwrap();
            seen.push(delivery.id);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn dead_letters_are_found_by_class_and_connection() {
    let bed = Bed::new().await;
    let schema = dead(&bed, FailureClass::Schema, at(0)).await;
    let policy = dead(&bed, FailureClass::Policy, at(1)).await;
    let check = |connection: Option<&str>, class, expected: &[DeliveryId]| {
        let filter = DeadFilter {
            connection: connection.map(|name| name.parse().unwrap()),
            class,
            ..DeadFilter::default()
        };
        let page = bed.queue.dead_letters(&home(), &filter, 9, None).unwrap();
        assert_eq!(
            page.items.iter().map(|delivery| delivery.id).collect::<Vec<_>>(),
            expected,
            "{filter:?}"
        );
        assert_eq!(page.next, None);
    };
    check(None, None, &[policy, schema]);
    check(Some("sink"), Some(FailureClass::Schema), &[schema]);
    check(Some("other"), None, &[]);
    check(None, Some(FailureClass::Gone), &[]);
}

/// A dead letter of an event of this type.
async fn dead_of_type(bed: &Bed, kind: &str, now: Timestamp) -> DeliveryId {
    let mut accept = owed(b"{}", None, now);
    accept.new.event.kind = kind.into();
    bed.accept(accept, now).await;
    let leased = bed.lease(now).await.unwrap();
    let end = outcome(Outcome::Dead, Some(FailureClass::Schema), now);
    bed.queue.settle(leased, end).await.unwrap().delivery.id
}

#[tokio::test]
async fn dead_letters_are_found_by_type_and_by_when_they_died_both_sides_of_each_bound() {
    let bed = Bed::new().await;
    let made = dead_of_type(&bed, "com.example.made", at(10)).await;
    let sold = dead_of_type(&bed, "com.example.sold", at(20)).await;
    let other = dead_of_type(&bed, "org.example.made", at(30)).await;
    let check = |kind: Option<&str>, since: Option<u64>, until: Option<u64>, expected: &[DeliveryId]| {
        let filter = DeadFilter {
            event_type: kind.map(|kind| kind.parse().unwrap()),
            since: since.map(at),
            until: until.map(at),
            ..DeadFilter::default()
        };
        let page = bed.queue.dead_letters(&home(), &filter, 9, None).unwrap();
        let ids: Vec<_> = page.items.iter().map(|delivery| delivery.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        let counted = bed.queue.count_dead_letters(&home(), &filter, 1).unwrap();
        assert_eq!(
            (counted.count, counted.at_least),
            (expected.len() as u64, false),
            "{filter:?}"
        );
        let first: Vec<_> = counted.sample.iter().map(|delivery| delivery.id).collect();
        assert_eq!(first, expected.last().copied().into_iter().collect::<Vec<_>>());
    };
    check(Some("com.example.*"), None, None, &[sold, made]);
    check(Some("com.example.made"), None, None, &[made]);
    check(Some("nothing"), None, None, &[]);
    check(None, Some(10), None, &[other, sold, made]);
    check(None, Some(11), None, &[other, sold]);
    check(None, None, Some(30), &[sold, made]);
    check(None, None, Some(31), &[other, sold, made]);
    check(None, Some(20), Some(21), &[sold]);
    check(None, Some(20), Some(20), &[]);
    check(None, Some(31), Some(10), &[]);
}

#[tokio::test]
async fn a_page_goes_on_where_the_one_before_ended_whatever_the_time_bounds() {
    let bed = Bed::new().await;
    for ms in 0..6 {
        dead(&bed, FailureClass::Schema, at(ms)).await;
    }
    let filter = DeadFilter {
        since: Some(at(1)),
        until: Some(at(5)),
        ..DeadFilter::default()
    };
    let (mut died, mut cursor) = (Vec::new(), None);
    loop {
        let page = bed.queue.dead_letters(&home(), &filter, 1, cursor).unwrap();
        died.extend(page.items.iter().map(|delivery| delivery.accepted_at));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(died, [at(4), at(3), at(2), at(1)]);
}

#[tokio::test]
async fn a_dead_letter_from_before_the_type_was_kept_with_it_is_found_by_its_event() {
    let bed = Bed::new().await;
    let id = dead_of_type(&bed, "com.example.made", at(0)).await;
    let found = bed.queue.found(&home(), id).unwrap().unwrap();
    let mut older = found.delivery.clone();
    older.event_type = String::new();
    let mut step = crate::step::Step::default();
    step.change(&bed.queue.lanes, found, &older);
    bed.queue.commit(step).await.unwrap();
    for (kind, count) in [("com.example.*", 1), ("org.*", 0)] {
        let filter = DeadFilter {
            event_type: Some(kind.parse().unwrap()),
            ..DeadFilter::default()
        };
        let page = bed.queue.dead_letters(&home(), &filter, 9, None).unwrap();
        assert_eq!(page.items.len(), count, "{kind}");
    }
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_read_does_not_hide_the_others() {
    let bed = Bed::new().await;
    let damaged = dead(&bed, FailureClass::Schema, at(0)).await;
    let good = dead(&bed, FailureClass::Schema, at(1)).await;
    let mut batch = Batch::new();
    batch.put(crate::keys::delivery(&home(), damaged), b"\x01nonsense".to_vec());
    bed.queue.store.commit(batch).await.unwrap();
    let page = bed
        .queue
        .dead_letters(&home(), &DeadFilter::default(), 9, None)
        .unwrap();
    assert_eq!(page.items.iter().map(|it| it.id).collect::<Vec<_>>(), [good]);
    assert_eq!(
        bed.queue
            .count_dead_letters(&home(), &DeadFilter::default(), 0)
            .unwrap()
            .count,
        1
    );
}

#[test]
fn a_filter_with_a_field_that_is_not_known_is_refused_and_does_not_match_everything() {
    assert!(serde_json::from_str::<DeadFilter>(r#"{"conection": "sink"}"#).is_err());
    assert_eq!(serde_json::from_str::<DeadFilter>("{}").unwrap(), DeadFilter::default());
}

#[tokio::test]
async fn a_raw_request_is_replayed_to_its_source_and_settled_with_what_it_makes() {
    let bed = Bed::new().await;
    let mut raw = event_in(home(), b"raw", None, at(0));
    raw.event.kind = RAW_REQUEST_TYPE.into();
    let why = failure(FailureClass::ConnectorFault);
    let request = Accept::new(raw, vec![Owed::unreadable(sink(), why)]);
    let accepted = bed.accept(request, at(0)).await;
    let id = accepted.deliveries[0];
    assert_eq!(bed.depth(), [0, 0, 1, 0]);
    assert!(bed.lease(at(0)).await.is_none());
    let listed = bed
        .queue
        .dead_letters(&home(), &DeadFilter::default(), 9, None)
        .unwrap()
        .items;
    assert_eq!(listed[0].last_failure, Some(failure(FailureClass::ConnectorFault)));
    bed.queue.replay(&home(), id, at(5), "anna").await.unwrap();
    let leased = bed.lease(at(5)).await.unwrap();
    assert_eq!(
        (leased.delivery.kind, leased.body.as_slice()),
        (DeliveryKind::Receive, &b"raw"[..])
    );
    let mut settlement = outcome(Outcome::Delivered, None, at(6));
    let target: ConnectionName = "target".parse().unwrap();
    settlement.produced = ["a", "a", "b"]
        .map(|key| {
            let new = event_in(home(), key.as_bytes(), Some(key), at(6));
            Accept::new(new, vec![Owed::deliver(target.clone(), Duration::ZERO)])
        })
        .into();
    let settled = bed.queue.settle(leased, settlement).await.unwrap();
    assert_eq!(
        settled.produced.iter().map(|it| it.duplicate).collect::<Vec<_>>(),
        [false, true, false]
    );
    let bed = bed.reopened(at(7)).await;
    assert_eq!(bed.depth(), [0, 0, 0, 1]);
    assert_eq!(bed.queue.depth(&home(), &target).pending, 2);
}
