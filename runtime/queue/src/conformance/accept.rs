//! Taking events in.

use std::time::Duration;

use cofferdam_domain::DeliveryState;
use cofferdam_domain::limits::DEDUPE_WINDOW;
use tokio::task::JoinSet;

use super::{Bed, Harness, at, connection, home, owed, sink, terms};
use crate::{FAN_OUT_MAX, Owed, Queue as _, QueueError};

/// What [`Queue::accept`](crate::Queue::accept) has answered is there after a restart, whole.
pub async fn what_was_accepted_is_there_for_the_next_process<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let request = owed(b"{\"a\":1}", None, at(0));
    let event = request.new.event.clone();
    let accepted = bed.accept(request, at(0)).await;
    assert_eq!((accepted.event_id, accepted.duplicate), (event.id, false));
    let bed = bed.reopened(at(1)).await;
    let leased = bed.leased(at(1)).await;
    assert_eq!(leased.delivery.id, accepted.deliveries[0]);
    assert_eq!((leased.event, leased.body.as_slice()), (event, &b"{\"a\":1}"[..]));
}

/// One delivery for each connection, each due after its own wait.
pub async fn an_event_is_owed_to_each_connection_of_its_fan_out<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut request = owed(b"{}", None, at(0));
    let waits = [("a", 5), ("b", 7)];
    request.fan_out = waits
        .iter()
        .map(|(name, wait)| Owed::deliver(connection(name), Duration::from_millis(*wait)))
        .collect();
    let accepted = bed.accept(request, at(0)).await;
    for ((name, wait), id) in waits.into_iter().zip(accepted.deliveries) {
        let delivery = bed.delivery(id).await;
        assert_eq!(delivery.connection, connection(name));
        assert_eq!(delivery.state, DeliveryState::Pending { due_at: at(wait) });
        let head = bed.queue.next_due(&home(), &connection(name)).await;
        assert_eq!(head.expect("the queue works"), Some(at(wait)));
    }
}

/// One request over a limit, and none of the call is taken.
pub async fn a_call_is_taken_whole_or_refused_whole<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut too_many = owed(b"{}", None, at(0));
    too_many.fan_out = vec![Owed::deliver(sink(), Duration::ZERO); FAN_OUT_MAX + 1];
    let refused = bed.queue.accept(vec![owed(b"{}", None, at(0)), too_many], at(0)).await;
    assert!(matches!(refused, Err(QueueError::FanOut(_))));
    assert!(bed.lease(at(0)).await.is_none());
}

/// Within the first event's window the answer names that event, and nothing is taken in.
pub async fn a_duplicate_is_answered_with_the_first_event_until_its_window_is_over<H: Harness>() {
    for window in [Duration::from_hours(1), DEDUPE_WINDOW] {
        let bed = Bed::<H>::new().await;
        let with_key = |now| {
            let mut request = owed(b"{}", Some("k"), now);
            request.dedupe_window = window;
            request
        };
        let first = bed.accept(with_key(at(0)), at(0)).await;
        let over = at(0).after(window);
        let bed = bed.reopened(at(1)).await;
        let last = at(0).after(window - Duration::from_millis(1));
        let again = bed.accept(with_key(last), last).await;
        assert!(again.duplicate && again.deliveries.is_empty());
        let named = (again.event_id, again.correlation_id);
        assert_eq!(named, (first.event_id, first.correlation_id));
        assert!(!bed.accept(with_key(over), over).await.duplicate);
        assert_eq!(bed.lease_all(over).await.len(), 2);
    }
}

/// One of them is taken; the others are told of it, once it is durable.
pub async fn of_producers_that_race_with_one_key_all_are_told_of_one_event<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut producers = JoinSet::new();
    for _ in 0..16 {
        let (queue, request) = (bed.queue.clone(), owed(b"{}", Some("k"), at(0)));
        producers.spawn(async move { queue.accept(vec![request], at(0)).await });
    }
    let answers = producers.join_all().await.into_iter();
    let answers: Vec<_> = answers.flat_map(|answer| answer.expect("the queue works")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(answers.iter().all(|answer| answer.event_id == answers[0].event_id));
    assert_eq!(bed.lease_all(at(0)).await.len(), 1);
}

/// Wake-ups: by acceptance, a settle that makes something due, and a release; other lanes hear nothing.
pub async fn a_lane_is_told_of_what_is_accepted_for_it_and_of_nothing_else<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let mut changes = bed.queue.subscribe(&home(), &sink());
    let mut others = bed.queue.subscribe(&home(), &connection("other"));
    others.mark_unchanged();
    bed.one(at(0)).await;
    changes.changed().await.expect("the queue is there");
    let leased = bed.queue.lease(&home(), &sink(), terms(at(0), 1)).await;
    let leased = leased.expect("the queue works").expect("something is due");
    changes.mark_unchanged();
    bed.settle(leased, super::retry(at(5)), at(1))
        .await
        .expect("it is leased");
    changes.changed().await.expect("the queue is there");
    bed.queue
        .release_lane(&home(), &sink(), at(1))
        .await
        .expect("the queue works");
    changes.changed().await.expect("the queue is there");
    assert!(!others.has_changed().expect("the queue is there"));
}
