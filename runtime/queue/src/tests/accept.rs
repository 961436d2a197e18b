use cofferdam_domain::limits::DEDUPE_WINDOW;
use cofferdam_store::{Key, Keyspace};
use tokio::task::JoinSet;

use super::*;
use crate::{FAN_OUT_MAX, QueueError, keys};

#[tokio::test]
async fn what_was_accepted_is_there_after_reopening() {
    let bed = Bed::new().await;
    let request = owed(b"{}", Some("k"), at(0));
    let event = request.new.event.clone();
    let accepted = bed.accept(request, at(0)).await;
    assert_eq!((accepted.event_id, accepted.duplicate), (event.id, false));
    let bed = bed.reopened(at(1)).await;
    assert_eq!(bed.queue.event(&home(), event.id).unwrap(), Some(event.clone()));
    assert_eq!(bed.queue.body(&home(), event.id).unwrap().as_deref(), Some(&b"{}"[..]));
    let delivery = bed.queue.delivery(&home(), accepted.deliveries[0]).unwrap().unwrap();
    assert_eq!(delivery.state, DeliveryState::Pending { due_at: at(0) });
    assert_eq!(delivery.correlation_id, event.correlation_id);
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn bodies_of_every_size_come_back_as_they_went_in() {
    let mut bed = Bed::new().await;
    let mut expected = Vec::new();
    for bytes in [0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20] {
        let body: Vec<u8> = (0..=250u8).cycle().take(bytes).collect();
        let accepted = bed.accept(owed(&body, None, at(0)), at(0)).await;
        expected.push((accepted.event_id, body));
    }
    bed = bed.reopened(at(1)).await;
    for (event, body) in expected {
        assert!(bed.queue.body(&home(), event).unwrap() == Some(body));
    }
}

#[tokio::test]
async fn an_event_is_owed_to_each_connection_of_its_fan_out() {
    let bed = Bed::new().await;
    let names = ["a", "b", "c"].map(|name| name.parse::<ConnectionName>().unwrap());
    let mut request = owed(b"{}", None, at(0));
    request.fan_out = names
        .iter()
        .map(|name| Owed::deliver(name.clone(), Duration::from_millis(7)))
        .collect();
    let accepted = bed.accept(request, at(0)).await;
    let deliveries = bed.queue.deliveries_of(&home(), accepted.event_id).unwrap();
    assert_eq!(deliveries.len(), 3);
    for (name, id) in names.iter().zip(&accepted.deliveries) {
        let delivery = deliveries.iter().find(|delivery| delivery.id == *id).unwrap();
        assert_eq!(delivery.connection, *name);
        assert_eq!(bed.queue.next_due(&home(), name).await.unwrap(), Some(at(7)));
    }
    let keys: std::collections::HashSet<_> = deliveries.iter().map(|delivery| &delivery.idempotency_key).collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn more_deliveries_than_the_limit_are_refused_and_nothing_is_kept() {
    let bed = Bed::new().await;
    let mut request = owed(b"{}", None, at(0));
    request.fan_out = vec![Owed::deliver(sink(), Duration::ZERO); FAN_OUT_MAX + 1];
    let event = request.new.event.id;
    assert!(matches!(
        bed.queue.accept(vec![request], at(0)).await,
        Err(QueueError::FanOut(_))
    ));
    assert_eq!(bed.queue.event(&home(), event).unwrap(), None);
}

#[tokio::test]
async fn a_duplicate_is_answered_with_the_first_event_until_the_window_is_over() {
    let bed = Bed::new().await;
    let first = bed.accept(owed(b"1", Some("k"), at(0)), at(0)).await;
    let over = at(0).after(DEDUPE_WINDOW);
    let bed = bed.reopened(at(1)).await;
    let again = bed
        .accept(
            owed(b"2", Some("k"), at(1)),
            Timestamp::from_millis(over.as_millis() - 1),
        )
        .await;
    assert!(again.duplicate);
    assert_eq!(
        (again.event_id, again.correlation_id),
        (first.event_id, first.correlation_id)
    );
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    let after = bed.accept(owed(b"3", Some("k"), over), over).await;
    assert!(!after.duplicate);
    assert_eq!(bed.depth(), [2, 0, 0, 0]);
}

#[tokio::test]
async fn duplicates_within_one_call_name_its_first() {
    let bed = Bed::new().await;
    let requests = [Some("k"), None, Some("k"), Some("l"), None].map(|key| owed(b"{}", key, at(0)));
    let accepted = bed.queue.accept(requests.into(), at(0)).await.unwrap();
    assert_eq!(
        accepted.iter().map(|it| it.duplicate).collect::<Vec<_>>(),
        [false, false, true, false, false]
    );
    assert_eq!(accepted[2].event_id, accepted[0].event_id);
    assert_eq!(bed.depth(), [4, 0, 0, 0]);
}

#[tokio::test]
async fn one_producer_cannot_suppress_anothers_events() {
    let bed = Bed::new().await;
    bed.accept(owed(b"{}", Some("k"), at(0)), at(0)).await;
    let mut others_token = owed(b"{}", Some("k"), at(0));
    others_token.new.event.origin = Origin::Api("other".into());
    let mut others_workspace = owed(b"{}", Some("k"), at(0));
    others_workspace.new = event_in("other".parse().unwrap(), b"{}", Some("k"), at(0));
    for request in [others_token, others_workspace] {
        assert!(!bed.accept(request, at(0)).await.duplicate);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_producers_that_race_with_one_key_all_are_told_of_one_event() {
    let bed = Bed::new().await;
    let mut producers = JoinSet::new();
    for _ in 0..32 {
        let (queue, request) = (bed.queue.clone(), owed(b"{}", Some("k"), at(0)));
        producers.spawn(async move { queue.accept(vec![request], at(0)).await.unwrap().remove(0) });
    }
    let answers = producers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(answers.iter().all(|answer| answer.event_id == answers[0].event_id));
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_sweep_forgets_keys_whose_window_is_over_and_no_others() {
    let bed = Bed::new().await;
    let over = at(0).after(DEDUPE_WINDOW);
    bed.accept(owed(b"{}", Some("old"), at(0)), at(0)).await;
    bed.accept(owed(b"{}", Some("seen again"), at(0)), at(0)).await;
    bed.accept(owed(b"{}", Some("young"), at(500)), at(500)).await;
    bed.accept(owed(b"{}", Some("seen again"), over), over).await;
    assert_eq!(bed.queue.sweep(over).await.unwrap(), 0);
    let later = over.after(Duration::from_millis(1));
    assert_eq!(bed.queue.sweep(later).await.unwrap(), 2);
    assert_eq!(bed.queue.sweep(later).await.unwrap(), 0);
    for (key, duplicate) in [("old", false), ("seen again", true), ("young", true)] {
        assert_eq!(
            bed.accept(owed(b"{}", Some(key), later), later).await.duplicate,
            duplicate,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_lane_is_told_of_what_was_accepted_for_it_and_of_nothing_else() {
    let bed = Bed::new().await;
    let mut changes = bed.queue.subscribe(&home(), &sink());
    let others = bed.queue.subscribe(&home(), &"other".parse().unwrap());
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    assert!(changes.has_changed().unwrap());
    assert!(!others.has_changed().unwrap());
    changes.mark_unchanged();
    bed.lease(at(0)).await.unwrap();
    assert!(!changes.has_changed().unwrap());
    bed.queue.release_lane(&home(), &sink(), at(0)).await.unwrap();
    assert!(changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_sweep_forgets_many_keys_in_one_commit() {
    const KEYS: usize = 100;
    let bed = Bed::new().await;
    let requests = (0..KEYS).map(|key| owed(b"{}", Some(&key.to_string()), at(0)));
    bed.queue.accept(requests.collect(), at(0)).await.unwrap();
    let over = at(1).after(DEDUPE_WINDOW);
    let bed = bed.reopened(over).await;
    let before = commits(&bed);
    assert_eq!(bed.queue.sweep(over).await.unwrap(), KEYS);
    let bed = bed.reopened(over).await;
    assert_eq!(commits(&bed), before + 1);
}

/// Groups of commits that the store had made when it was last closed; opening it makes none.
fn commits(bed: &Bed) -> u64 {
    let note = std::fs::read_to_string(bed.dir.path().join("watermark")).unwrap();
    note.trim().parse().unwrap()
}

#[tokio::test]
async fn a_key_that_is_taken_again_during_a_sweep_keeps_no_other_from_being_forgotten() {
    let bed = Bed::new().await;
    for key in ["a", "b", "c"] {
        bed.accept(owed(b"{}", Some(key), at(0)), at(0)).await;
    }
    let over = at(1).after(DEDUPE_WINDOW);
    let held = bed.hold_commits();
    let again = bed.queue.accept(vec![owed(b"{}", Some("b"), over)], over);
    let (again, forgotten, ()) = tokio::join!(biased; again, bed.queue.sweep(over), async { drop(held) });
    assert!(!again.unwrap()[0].duplicate);
    assert_eq!(forgotten.unwrap(), 3);
    assert_eq!(bed.queue.sweep(over).await.unwrap(), 0);
    assert!(bed.accept(owed(b"{}", Some("b"), over), over).await.duplicate);
}

#[tokio::test]
async fn a_window_is_the_first_events_own() {
    let bed = Bed::new().await;
    for (key, hours) in [("short", 1), ("long", 240)] {
        let mut accept = owed(b"{}", Some(key), at(0));
        accept.dedupe_window = Duration::from_hours(hours);
        bed.accept(accept, at(0)).await;
    }
    let later = at(0).after(DEDUPE_WINDOW);
    for (key, duplicate) in [("short", false), ("long", true)] {
        assert_eq!(
            bed.accept(owed(b"{}", Some(key), later), later).await.duplicate,
            duplicate,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_dedupe_record_that_cannot_be_read_keeps_no_event_out_and_no_sweep_from_going_on() {
    let bed = Bed::new().await;
    let [damaged, swept] = ["damaged", "swept"].map(|key| owed(b"{}", Some(key), at(0)));
    let key_of = |accept: &Accept| keys::dedupe(&accept.new.event, accept.new.event.dedupe_key.as_deref().unwrap()).0;
    let nonsense = [key_of(&damaged), key_of(&swept)];
    for accept in [damaged, swept, owed(b"{}", Some("sound"), at(0))] {
        bed.accept(accept, at(0)).await;
    }
    let mut batch = Batch::new();
    for key in nonsense.clone() {
        batch.put(key, b"\x01nonsense");
    }
    batch.put(Key::of(Keyspace::DedupeExpiry).u64(1), "");
    bed.queue.store.commit(batch).await.unwrap();
    let again = bed.accept(owed(b"{}", Some("damaged"), at(1)), at(1)).await;
    assert!(!again.duplicate, "rather twice than never");
    assert!(bed.accept(owed(b"{}", Some("damaged"), at(2)), at(2)).await.duplicate);
    assert!(bed.accept(owed(b"{}", Some("sound"), at(2)), at(2)).await.duplicate);
    let over = at(1).after(DEDUPE_WINDOW);
    assert_eq!(
        bed.queue.sweep(over).await.unwrap(),
        4,
        "with the entry that cannot be read"
    );
    assert_eq!(bed.queue.sweep(over).await.unwrap(), 0);
    assert_eq!(bed.queue.store.get(&nonsense[1]).unwrap(), None);
    assert!(bed.accept(owed(b"{}", Some("damaged"), at(2)), at(2)).await.duplicate);
}
