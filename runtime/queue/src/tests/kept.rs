use cofferdam_domain::DeliveryKind;
use cofferdam_domain::state::StateValues;
use cofferdam_store::{Key, Keyspace, Scan};

use super::*;
use crate::{CursorChange, KeptChange, KeptVersion, PollStanding, QueueError, SettleError, StateChange};

fn values(pairs: &[(&str, &[u8])]) -> StateValues {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
        .collect()
}

fn set(seen: KeptVersion, values: StateValues) -> KeptChange {
    KeptChange {
        state: Some(StateChange {
            seen,
            values: Some(values),
        }),
        ..KeptChange::default()
    }
}

fn delivered(kept: KeptChange, now: Timestamp) -> Settlement {
    Settlement {
        kept,
        ..outcome(Outcome::Delivered, None, now)
    }
}

impl Bed {
    async fn opened(&self) -> (KeptVersion, StateValues) {
        self.queue.open_state(&home(), &sink(), at(0)).await.unwrap()
    }

    async fn cursor(&self) -> (KeptVersion, Option<String>) {
        self.queue.open_cursor(&home(), &sink(), at(0)).await.unwrap()
    }

    async fn leased_one(&self) -> Leased {
        self.accept(owed(b"{}", None, at(0)), at(0)).await;
        self.lease(at(0)).await.unwrap()
    }

    fn standing(&self) -> PollStanding {
        self.queue.poll_standing(&home(), &sink(), at(0)).unwrap().unwrap()
    }

    /// Begins the schedule and makes a poll of it, which is leased.
    async fn leased_poll(&self) -> Leased {
        self.queue.begin_polls(&home(), &sink(), at(0)).await.unwrap();
        let made = self.make(&self.standing(), Some(at(0))).await;
        assert!(made.is_some());
        self.lease(at(0)).await.unwrap()
    }

    async fn make(&self, standing: &PollStanding, tick: Option<Timestamp>) -> Option<Accepted> {
        let made = self.queue.make_poll(&sink(), standing, turn(), tick, at(0)).await;
        made.unwrap()
    }

    fn kept_records(&self) -> usize {
        let all = Scan::prefix(Key::of(Keyspace::ConnectorState), 99);
        self.queue.store.scan(&all).unwrap().len()
    }
}

/// A turn to be polled.
fn turn() -> Accept {
    Accept::new(event_in(home(), b"{\"page\":1}", None, at(0)), vec![Owed::poll(sink())])
}

#[tokio::test]
async fn what_an_attempt_keeps_is_there_for_the_next_one_and_after_a_restart() {
    let bed = Bed::new().await;
    let (seen, empty) = bed.opened().await;
    assert_eq!(empty, StateValues::new());
    let large = vec![7; 70_000];
    let kept = values(&[("a", b"1"), ("large", &large)]);
    let leased = bed.leased_one().await;
    bed.queue
        .settle(leased, delivered(set(seen, kept.clone()), at(1)))
        .await
        .unwrap();
    let bed = bed.reopened(at(2)).await;
    let (seen, found) = bed.opened().await;
    assert_eq!(found, kept);
    let size = bed.queue.state_size(&home(), &sink()).unwrap().unwrap();
    assert_eq!((size.bytes, size.keys, size.changed_at), (70_039, 2, at(1)));

    // Emptied by an attempt, it takes no room.
    let leased = bed.leased_one().await;
    let emptied = delivered(set(seen, StateValues::new()), at(3));
    bed.queue.settle(leased, emptied).await.unwrap();
    assert_eq!(bed.opened().await.1, StateValues::new());
    assert_eq!(bed.kept_records(), 1);
}

#[tokio::test]
async fn of_two_that_saw_the_same_state_only_the_first_keeps_what_it_set() {
    let bed = Bed::new().await;
    let (first, second) = (bed.leased_one().await, bed.leased_one().await);
    let (seen, _) = bed.opened().await;
    let mine = |value: &[u8]| delivered(set(seen, values(&[("k", value)])), at(1));
    bed.queue.settle(first, mine(b"first")).await.unwrap();
    let refused = bed.queue.settle(second.clone(), mine(b"second")).await;
    assert!(matches!(refused, Err(SettleError::KeptChanged(name)) if name == sink()));
    assert_eq!(bed.opened().await.1, values(&[("k", b"first")]));
    // Nothing at all was settled: the lease still stands.
    assert!(matches!(bed.state(&second), DeliveryState::Leased { .. }));

    // One that has only read is held to what it has read.
    let read_only = |seen| {
        delivered(
            KeptChange {
                state: Some(StateChange { seen, values: None }),
                ..KeptChange::default()
            },
            at(2),
        )
    };
    let refused = bed.queue.settle(second.clone(), read_only(seen)).await;
    assert!(matches!(refused, Err(SettleError::KeptChanged(_))));
    let (present, _) = bed.opened().await;
    bed.queue.settle(second, read_only(present)).await.unwrap();
    assert_eq!(bed.opened().await.0, present, "reading changes nothing");
}

#[tokio::test]
async fn what_was_cleared_or_deleted_and_made_again_is_not_taken_for_what_it_was() {
    let bed = Bed::new().await;
    for forget in [false, true] {
        let (seen, _) = bed.opened().await;
        let leased = bed.leased_one().await;
        if forget {
            let mut batch = Batch::new();
            bed.queue.forget_kept(&mut batch, &home(), &sink());
            bed.queue.store.commit(batch).await.unwrap();
            assert_eq!(bed.kept_records(), 0);
            // As long as there is none, and once there is another.
            let late = bed
                .queue
                .settle(leased.clone(), delivered(set(seen, values(&[("k", b"x")])), at(1)));
            assert!(matches!(late.await, Err(SettleError::KeptChanged(_))));
            assert_eq!(bed.kept_records(), 0);
        } else {
            bed.queue.clear_state(&home(), &sink(), at(1)).await.unwrap();
        }
        assert_ne!(bed.opened().await.0, seen);
        let late = bed
            .queue
            .settle(leased, delivered(set(seen, values(&[("k", b"x")])), at(1)));
        assert!(matches!(late.await, Err(SettleError::KeptChanged(_))));
        assert_eq!(bed.opened().await.1, StateValues::new());
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_never_taken_for_an_empty_one_and_can_be_given_up() {
    let bed = Bed::new().await;
    let (seen, _) = bed.opened().await;
    let leased = bed.leased_one().await;
    bed.queue
        .settle(leased, delivered(set(seen, values(&[("k", b"v")])), at(1)))
        .await
        .unwrap();
    let content = crate::keys::kept(&home(), &sink(), crate::keys::KeptPart::StateContent);
    let raw = bed.queue.store.get(content.clone()).unwrap().unwrap();
    for damaged in [Some(raw[..raw.len() - 1].to_vec()), Some(vec![9]), None] {
        let mut batch = Batch::new();
        match damaged {
            Some(damaged) => batch.put(content.clone(), damaged),
            None => batch.delete(content.clone()),
        };
        bed.queue.store.commit(batch).await.unwrap();
        let read = bed.queue.open_state(&home(), &sink(), at(2)).await;
        assert!(matches!(read, Err(QueueError::Record(_))), "{read:?}");
    }
    bed.queue.clear_state(&home(), &sink(), at(3)).await.unwrap();
    assert_eq!(bed.opened().await.1, StateValues::new());
}

#[tokio::test]
async fn states_of_connections_and_workspaces_are_apart() {
    let bed = Bed::new().await;
    let (seen, _) = bed.opened().await;
    let leased = bed.leased_one().await;
    bed.queue
        .settle(leased, delivered(set(seen, values(&[("k", b"v")])), at(1)))
        .await
        .unwrap();
    let other_workspace: WorkspaceName = "other".parse().unwrap();
    let other_connection: ConnectionName = "sin".parse().unwrap();
    for (workspace, connection) in [(other_workspace, sink()), (home(), other_connection)] {
        let (_, found) = bed.queue.open_state(&workspace, &connection, at(2)).await.unwrap();
        assert_eq!(found, StateValues::new(), "{workspace} {connection}");
        let mut batch = Batch::new();
        bed.queue.forget_kept(&mut batch, &workspace, &connection);
        bed.queue.store.commit(batch).await.unwrap();
    }
    assert_eq!(bed.opened().await.1, values(&[("k", b"v")]));
}

#[tokio::test]
async fn a_poll_is_made_once_whoever_makes_it() {
    let bed = Bed::new().await;
    bed.queue.begin_polls(&home(), &sink(), at(0)).await.unwrap();
    let standing = bed.standing();
    assert!(!standing.is_open());
    // Both have read the same standing; the process may have died in between.
    let made = bed.make(&standing, Some(at(0))).await.unwrap();
    assert_eq!(bed.make(&standing, Some(at(0))).await, None);
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    let bed = bed.reopened(at(1)).await;
    let standing = bed.standing();
    assert!(standing.is_open());
    assert_eq!(
        (standing.last, standing.latest.unwrap().id),
        (Some(at(0)), made.deliveries[0])
    );
    let leased = bed.lease(at(1)).await.unwrap();
    assert_eq!(leased.delivery.kind, DeliveryKind::Poll);
    // One that was not for a time of the schedule leaves the schedule's last time as it was.
    bed.queue
        .settle(leased, delivered(KeptChange::default(), at(2)))
        .await
        .unwrap();
    bed.make(&bed.standing(), None).await.unwrap();
    assert_eq!(bed.standing().last, Some(at(0)));
}

#[tokio::test]
async fn a_page_and_its_cursor_and_the_poll_that_follows_are_one_batch() {
    let bed = Bed::new().await;
    let leased = bed.leased_poll().await;
    let (seen, none) = bed.cursor().await;
    assert_eq!(none, None);
    let page = |kept| Settlement {
        produced: vec![owed(b"{\"n\":1}", None, at(1)), owed(b"{\"n\":2}", None, at(1))],
        ..delivered(kept, at(1))
    };
    let kept = KeptChange {
        cursor: Some(CursorChange {
            seen,
            cursor: Some("c-1".into()),
        }),
        again: Some(turn()),
        ..KeptChange::default()
    };
    // Reset by a person while it ran: none of it happens.
    bed.queue.reset_cursor(&home(), &sink(), at(1)).await.unwrap();
    let refused = bed.queue.settle(leased.clone(), page(kept.clone())).await;
    assert!(matches!(refused, Err(SettleError::KeptChanged(_))));
    assert_eq!(bed.depth(), [0, 1, 0, 0]);
    assert_eq!(bed.cursor().await.1, None);

    let kept = KeptChange {
        cursor: Some(CursorChange {
            seen: bed.cursor().await.0,
            cursor: Some("c-1".into()),
        }),
        ..kept
    };
    let settled = bed.queue.settle(leased.clone(), page(kept)).await.unwrap();
    assert_eq!(settled.produced.len(), 2, "the poll that follows is not what it made");
    let bed = bed.reopened(at(2)).await;
    assert_eq!(bed.cursor().await.1.as_deref(), Some("c-1"));
    assert_eq!(bed.depth(), [3, 0, 0, 1]);
    let standing = bed.standing();
    assert!(standing.is_open());
    assert_ne!(standing.latest.unwrap().id, leased.delivery.id);
    assert_eq!(standing.last, Some(at(0)));
    let facts = bed.queue.cursor_facts(&home(), &sink()).unwrap().unwrap();
    assert_eq!((facts.bytes, facts.set_at), (3, at(1)));
}

#[tokio::test]
async fn polls_of_a_connection_are_made_one_after_the_other_whatever_is_replayed() {
    let bed = Bed::new().await;
    let first = bed.leased_poll().await;
    let dead = outcome(Outcome::Dead, Some(FailureClass::Schema), at(1));
    bed.queue.settle(first.clone(), dead).await.unwrap();
    // A person replays it, and the schedule goes on at the same moment.
    bed.queue
        .replay(&home(), first.delivery.id, at(2), "somebody")
        .await
        .unwrap();
    let standing = PollStanding {
        latest: None,
        ..bed.standing()
    };
    bed.make(&standing, Some(at(2))).await.unwrap();
    let both = bed.queue.lease_many(&home(), &sink(), terms(at(3), 9)).await.unwrap();
    assert_eq!(both.len(), 1);
    let then = delivered(KeptChange::default(), at(4));
    bed.queue.settle(both[0].clone(), then).await.unwrap();
    let next = bed.queue.lease_many(&home(), &sink(), terms(at(4), 9)).await.unwrap();
    assert_eq!(next.len(), 1);
}

#[tokio::test]
async fn a_poll_that_is_a_dead_letter_gives_way_to_the_next_one() {
    let bed = Bed::new().await;
    let first = bed.leased_poll().await;
    let dead = outcome(Outcome::Dead, Some(FailureClass::Schema), at(1));
    bed.queue.settle(first.clone(), dead).await.unwrap();
    assert_eq!(bed.depth(), [0, 0, 1, 0]);
    bed.make(&bed.standing(), Some(at(2))).await.unwrap();
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    let by = crate::SUPERSEDED_BY.to_owned();
    assert_eq!(bed.state(&first), DeliveryState::Discarded { at: at(0), by });
}

#[tokio::test]
async fn a_poll_that_waits_is_hastened_and_one_under_way_is_not() {
    let bed = Bed::new().await;
    let leased = bed.leased_poll().await;
    let id = leased.delivery.id;
    assert!(!bed.queue.hasten_poll(&home(), id, at(1)).await.unwrap());
    let later = Outcome::Retry {
        due_at: at(900_000),
        charged: true,
    };
    bed.queue
        .settle(leased, outcome(later, Some(FailureClass::Dependency), at(1)))
        .await
        .unwrap();
    assert!(bed.lease(at(2)).await.is_none());
    assert!(bed.queue.hasten_poll(&home(), id, at(2)).await.unwrap());
    assert_eq!(bed.lease(at(2)).await.unwrap().delivery.id, id);
}

#[tokio::test]
async fn the_record_of_a_schedule_that_cannot_be_read_begins_anew() {
    let bed = Bed::new().await;
    let key = crate::keys::kept(&home(), &sink(), crate::keys::KeptPart::Schedule);
    let mut batch = Batch::new();
    batch.put(key, b"\x01nonsense".to_vec());
    bed.queue.store.commit(batch).await.unwrap();
    let standing = bed.queue.poll_standing(&home(), &sink(), at(7)).unwrap().unwrap();
    assert_eq!(
        (standing.since, standing.last, standing.is_open()),
        (at(7), None, false)
    );
    assert!(bed.make(&standing, Some(at(7))).await.is_some());
    assert_eq!(bed.standing().last, Some(at(7)));
}
