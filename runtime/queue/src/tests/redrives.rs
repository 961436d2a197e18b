use cofferdam_domain::{Delivery, DeliveryId};

use super::dead_letters::dead;
use super::*;
use crate::{
    DeadFilter, REDRIVE_CHANGES_PER_STEP_MAX, REDRIVE_IDS_MAX, REDRIVES_KEPT_MAX, REDRIVES_RUNNING_MAX, Redrive,
    RedriveError, RedriveId, RedriveKind, RedriveOrder, RedriveState, Room, Skipped,
};

fn order(what: RedriveKind) -> RedriveOrder {
    RedriveOrder {
        what,
        filter: DeadFilter::default(),
        ids: None,
        by: "anna".into(),
        rate_per_s: 50,
    }
}

fn named(ids: &[DeliveryId]) -> RedriveOrder {
    RedriveOrder {
        ids: Some(ids.to_vec()),
        ..order(RedriveKind::Replay)
    }
}

fn anywhere(_: &ConnectionName) -> Room {
    Room::For(u64::MAX)
}

impl Bed {
    async fn begin(&self, order: RedriveOrder, now: Timestamp) -> RedriveId {
        self.queue.begin_redrive(&home(), order, now).await.unwrap().id
    }

    async fn step(&self, id: RedriveId, now: Timestamp, changes_max: usize) -> Redrive {
        let step = self.queue.step_redrive(&home(), id, now, changes_max, anywhere).await;
        step.unwrap().unwrap().redrive
    }

    async fn letters(&self, count: u64) -> Vec<DeliveryId> {
        let mut ids = Vec::new();
        for ms in 0..count {
            ids.push(dead(self, FailureClass::Schema, at(ms)).await);
        }
        ids
    }

    fn letter(&self, id: DeliveryId) -> Delivery {
        self.queue.delivery(&home(), id).unwrap().unwrap()
    }

    /// Takes every replayed delivery through one more attempt that fails for good.
    async fn die_again(&self, now: Timestamp) {
        while let Some(leased) = self.lease(now).await {
            let end = outcome(Outcome::Dead, Some(FailureClass::Schema), now);
            self.queue.settle(leased, end).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_redrive_replays_what_matches_oldest_first_and_no_more_at_once_than_it_may() {
    let bed = Bed::new().await;
    let letters = bed.letters(5).await;
    let gone = dead(&bed, FailureClass::Gone, at(6)).await;
    let filter = DeadFilter {
        class: Some(FailureClass::Schema),
        ..DeadFilter::default()
    };
    let id = bed
        .begin(
            RedriveOrder {
                filter,
                ..order(RedriveKind::Replay)
            },
            at(10),
        )
        .await;
    let redrive = bed.step(id, at(11), 2).await;
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Running, 2));
    assert_eq!(bed.depth(), [2, 0, 4, 0]);
    assert_eq!(bed.letter(letters[1]).replays, 1);
    assert_eq!(bed.letter(letters[2]).replays, 0);
    let redrive = bed.step(id, at(12), 9).await;
    assert_eq!(
        (redrive.state, redrive.changed, redrive.examined),
        (RedriveState::Done, 5, 6)
    );
    assert_eq!(redrive.ended_at, Some(at(12)));
    assert_eq!(bed.depth(), [5, 0, 1, 0]);
    assert_eq!(bed.letter(gone).replays, 0);
    let letter = bed.letter(letters[0]);
    assert_eq!(letter.interventions[0].by, "anna");
    assert_eq!((letter.charged, letter.series_at), (0, at(11)));
    assert_eq!(bed.step(id, at(13), 9).await, redrive, "one that is over does nothing");
}

#[tokio::test]
async fn a_redrive_goes_on_after_a_crash_and_never_replays_a_letter_twice() {
    let mut bed = Bed::new().await;
    let letters = bed.letters(6).await;
    let id = bed.begin(order(RedriveKind::Replay), at(10)).await;
    for step in 0..8 {
        // What was replayed dies again at once, and the process with it.
        bed.step(id, at(20 + step), 1).await;
        bed.die_again(at(20 + step)).await;
        bed = bed.reopened(at(20 + step)).await;
        let running = bed.queue.running_redrives().unwrap();
        assert_eq!(running.len(), usize::from(step < 5), "after step {step}");
    }
    let redrive = bed.queue.redrive(&home(), id).unwrap().unwrap();
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Done, 6));
    for id in letters {
        assert_eq!(bed.letter(id).replays, 1);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_redrive_replay_a_letter_twice() {
    let bed = Bed::new().await;
    let letters = bed.letters(3).await;
    let by_filter = bed.begin(order(RedriveKind::Replay), at(50)).await;
    for _ in 0..9 {
        // To the clock the letter dies again long before the redrive was made, and after letters that it has not met.
        bed.step(by_filter, at(5), 1).await;
        bed.die_again(at(5)).await;
    }
    // What is replayed at the time of the making is due then, and not before.
    bed.die_again(at(50)).await;
    let redrive = bed.step(by_filter, at(5), 9).await;
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Done, 3), "{redrive:?}");
    for id in &letters {
        assert_eq!(bed.letter(*id).replays, 1);
    }
}

#[tokio::test]
async fn a_letter_that_dies_again_is_not_met_again_although_it_lies_ahead() {
    let bed = Bed::new().await;
    let letters = bed.letters(3).await;
    let id = bed.begin(order(RedriveKind::Replay), at(50)).await;
    bed.step(id, at(50), 1).await;
    // In the same millisecond as the making.
    bed.die_again(at(50)).await;
    let redrive = bed.step(id, at(51), 9).await;
    assert_eq!(
        (redrive.changed, redrive.skipped.died_since, redrive.state),
        (3, 1, RedriveState::Done)
    );
    assert_eq!(bed.letter(letters[0]).replays, 1);
}

#[tokio::test]
async fn named_letters_are_done_once_each_and_the_others_counted_by_reason() {
    let bed = Bed::new().await;
    let letters = bed.letters(3).await;
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    bed.queue.discard(&home(), letters[1], at(8), "otto").await.unwrap();
    let late = {
        bed.queue.replay(&home(), letters[2], at(8), "otto").await.unwrap();
        bed.die_again(at(60)).await;
        letters[2]
    };
    let id = bed
        .begin(named(&[late, letters[0], nobody, letters[1], letters[0]]), at(10))
        .await;
    let redrive = bed.step(id, at(61), 9).await;
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Done, 1));
    let skipped = Skipped {
        not_dead: 1,
        died_since: 1,
        not_found: 1,
        connection_gone: 0,
    };
    assert_eq!(redrive.skipped, skipped);
    assert_eq!(bed.letter(letters[0]).replays, 1);
}

#[tokio::test]
async fn a_redrive_waits_where_a_lane_is_full_and_skips_what_has_no_connection() {
    let bed = Bed::new().await;
    bed.letters(4).await;
    let id = bed.begin(order(RedriveKind::Replay), at(10)).await;
    let step = async |room| {
        let step = bed
            .queue
            .step_redrive(&home(), id, at(11), 9, |_: &ConnectionName| room)
            .await;
        step.unwrap().unwrap()
    };
    let full = step(Room::For(1)).await;
    assert_eq!(full.changed, 1);
    assert!(full.redrive.waiting.as_deref().unwrap().contains("connection sink"));
    let still = step(Room::For(0)).await;
    assert_eq!((still.changed, &still.redrive), (0, &full.redrive));
    let moving = step(Room::For(2)).await;
    assert_eq!((moving.changed, moving.redrive.changed), (2, 3));
    let over = step(Room::Gone).await;
    assert_eq!((over.redrive.state, over.redrive.waiting), (RedriveState::Done, None));
    assert_eq!((over.redrive.changed, over.redrive.skipped.connection_gone), (3, 1));
}

#[tokio::test]
async fn discarding_needs_no_connection() {
    let bed = Bed::new().await;
    bed.letters(3).await;
    let id = bed.begin(order(RedriveKind::Discard), at(10)).await;
    let step = bed
        .queue
        .step_redrive(&home(), id, at(11), 9, |_: &ConnectionName| Room::Gone)
        .await;
    assert_eq!(step.unwrap().unwrap().redrive.changed, 3);
    assert_eq!(bed.depth(), [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_cancelled_redrive_changes_nothing_more_and_stays_cancelled() {
    let bed = Bed::new().await;
    bed.letters(3).await;
    let id = bed.begin(order(RedriveKind::Replay), at(10)).await;
    bed.step(id, at(11), 1).await;
    let cancelled = bed.queue.cancel_redrive(&home(), id, at(12), "otto").await.unwrap();
    assert_eq!(cancelled.cancelled_by.as_deref(), Some("otto"));
    let bed = bed.reopened(at(13)).await;
    let after = bed.step(id, at(14), 9).await;
    assert_eq!((after.state, after.changed), (RedriveState::Cancelled, 1));
    assert!(bed.queue.running_redrives().unwrap().is_empty());
    let again = bed.queue.cancel_redrive(&home(), id, at(15), "otto").await;
    assert!(matches!(again, Err(RedriveError::Ended { .. })));
}

#[tokio::test]
async fn of_a_step_and_a_person_at_the_same_letter_one_wins_and_the_other_sees_it() {
    let bed = Bed::new().await;
    let letters = bed.letters(8).await;
    let id = bed.begin(order(RedriveKind::Replay), at(10)).await;
    let held = bed.hold_commits();
    let home = home();
    let discard = bed.queue.discard(&home, letters[3], at(11), "otto");
    let (discarded, redrive, ()) = tokio::join!(discard, bed.step(id, at(11), 9), async { drop(held) });
    let letter = bed.letter(letters[3]);
    assert_eq!(letter.interventions.len(), 1, "exactly one of them did something");
    assert_eq!(redrive.changed + u64::from(discarded.is_ok()), 8);
}

#[tokio::test]
async fn two_that_step_the_same_redrive_change_each_letter_once() {
    let bed = Bed::new().await;
    let letters = bed.letters(40).await;
    let id = bed.begin(order(RedriveKind::Replay), at(50)).await;
    let run = async || {
        while bed.step(id, at(51), 3).await.state == RedriveState::Running {}
    };
    tokio::join!(run(), run(), run());
    let redrive = bed.queue.redrive(&home(), id).unwrap().unwrap();
    assert_eq!(redrive.changed, 40);
    for id in letters {
        assert_eq!(bed.letter(id).replays, 1);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_left_alone_and_keeps_nothing_from_the_others() {
    let bed = Bed::new().await;
    let letters = bed.letters(3).await;
    let mut batch = Batch::new();
    batch.put(crate::keys::delivery(&home(), letters[1]), b"\x02newer".to_vec());
    bed.queue.store.commit(batch).await.unwrap();
    let id = bed.begin(order(RedriveKind::Discard), at(10)).await;
    let redrive = bed.step(id, at(11), 9).await;
    assert_eq!(
        (redrive.state, redrive.changed, redrive.failed),
        (RedriveState::Done, 2, 1)
    );
    let kept = bed.queue.store.get(crate::keys::delivery(&home(), letters[1])).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"\x02newer"[..]));
}

#[tokio::test]
async fn a_redrive_whose_list_is_lost_fails_and_says_so() {
    let bed = Bed::new().await;
    let letters = bed.letters(1).await;
    let id = bed.begin(named(&letters), at(10)).await;
    let mut batch = Batch::new();
    batch.delete(crate::keys::redrive_ids(&home(), 1));
    bed.queue.store.commit(batch).await.unwrap();
    let redrive = bed.step(id, at(11), 9).await;
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Failed, 0));
    assert!(redrive.last_error.is_some());
}

#[tokio::test]
async fn an_order_has_bounds_and_both_sides_of_each_are_known() {
    let bed = Bed::new().await;
    let other = "other".parse().unwrap();
    let id = |number: u128| DeliveryId::from_bytes(number.to_be_bytes());
    let ids = |count: usize| Some((0..count as u128).map(id).collect::<Vec<_>>());
    for (ids, rate_per_s, taken) in [
        (ids(0), 1, false),
        (ids(1), 1, true),
        (ids(REDRIVE_IDS_MAX), 10_000, true),
        (ids(REDRIVE_IDS_MAX + 1), 1, false),
        (None, 0, false),
        (None, 10_001, false),
        (None, 10_000, true),
    ] {
        let what = format!("{:?} ids, {rate_per_s}", ids.as_ref().map(Vec::len));
        let order = RedriveOrder {
            ids,
            rate_per_s,
            ..order(RedriveKind::Replay)
        };
        let made = bed.queue.begin_redrive(&other, order, at(0)).await;
        assert_eq!(made.is_ok(), taken, "{what}");
    }
}

#[tokio::test]
async fn only_so_many_redrives_run_at_once_also_when_they_are_asked_for_at_once() {
    let bed = Bed::new().await;
    let begin = async || {
        let home = home();
        bed.queue.begin_redrive(&home, order(RedriveKind::Discard), at(0)).await
    };
    let (a, b, c, d, e, f) = tokio::join!(begin(), begin(), begin(), begin(), begin(), begin());
    let made = [a, b, c, d, e, f];
    let mut ids: Vec<_> = made
        .iter()
        .filter_map(|made| made.as_ref().ok())
        .map(|it| it.id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), REDRIVES_RUNNING_MAX);
    let refused = made.iter().filter(|made| matches!(made, Err(RedriveError::Busy)));
    assert_eq!(refused.count(), made.len() - REDRIVES_RUNNING_MAX);
    bed.step(ids[0], at(1), 1).await;
    assert!(begin().await.is_ok(), "one has ended");
}

#[tokio::test]
async fn only_so_many_redrives_are_remembered_and_no_number_is_given_out_twice() {
    let bed = Bed::new().await;
    let mut last = None;
    for _ in 0..REDRIVES_KEPT_MAX + 5 {
        let id = bed.begin(order(RedriveKind::Discard), at(0)).await;
        bed.step(id, at(1), 1).await;
        assert!(Some(id) > last);
        last = Some(id);
    }
    let kept = bed.queue.redrives(&home()).unwrap();
    assert!(kept.len() <= REDRIVES_KEPT_MAX, "{}", kept.len());
    assert_eq!(Some(kept[0].id), last, "the latest first");
}

#[tokio::test]
async fn a_redrive_is_of_one_workspace() {
    let bed = Bed::new().await;
    bed.letters(1).await;
    let other = "other".parse().unwrap();
    let id = bed
        .queue
        .begin_redrive(&other, order(RedriveKind::Discard), at(10))
        .await
        .unwrap()
        .id;
    let step = bed
        .queue
        .step_redrive(&other, id, at(11), 9, anywhere)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((step.redrive.state, step.redrive.examined), (RedriveState::Done, 0));
    assert_eq!(bed.queue.redrive(&home(), id).unwrap(), None);
    let cancelled = bed.queue.cancel_redrive(&home(), id, at(12), "otto").await;
    assert!(matches!(cancelled, Err(RedriveError::NotFound(_))));
}

#[tokio::test]
async fn a_step_is_bounded_whatever_it_is_asked_for() {
    let bed = Bed::new().await;
    let many = REDRIVE_CHANGES_PER_STEP_MAX as u64 + 1;
    bed.letters(many).await;
    let id = bed.begin(order(RedriveKind::Discard), at(1000)).await;
    let redrive = bed.step(id, at(1001), usize::MAX).await;
    assert_eq!((redrive.state, redrive.changed), (RedriveState::Running, many - 1));
}
