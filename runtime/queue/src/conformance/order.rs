//! Order by key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofferdam_domain::{DeliveryId, Outcome, Timestamp};
use tokio::task::JoinSet;

use super::{Bed, Harness, at, home, owed, retry, settlement, sink, terms};
use crate::{Accept, Leased, Queue as _};

fn ordered(key: &str, number: u8, now: Timestamp) -> Accept {
    let mut request = owed(&[number], None, now);
    request.fan_out[0].order_key = Some(key.to_owned());
    request
}

fn numbers(leased: &[Leased]) -> Vec<u8> {
    leased.iter().map(|leased| leased.body[0]).collect()
}

async fn accept_numbers<H: Harness>(bed: &Bed<H>, key: &str, numbers: std::ops::Range<u8>) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(bed.accept(ordered(key, number, at(0)), at(0)).await.deliveries[0]);
    }
    ids
}

/// In the order of acceptance; a retry keeps its turn through its wait.
pub async fn one_key_is_made_one_after_the_other<H: Harness>() {
    let bed = Bed::<H>::new().await;
    accept_numbers(&bed, "k", 0..3).await;
    for expected in 0..3 {
        let leased = bed.leased(at(1)).await;
        assert_eq!(leased.body, [expected]);
        assert!(bed.lease_all(at(1)).await.is_empty(), "one at a time");
        bed.settle(leased, retry(at(1)), at(1)).await.expect("it is leased");
        let leased = bed.leased(at(1)).await;
        assert_eq!(leased.body, [expected]);
        bed.settle(leased, Outcome::Delivered, at(1))
            .await
            .expect("it is leased");
    }
}

/// The key goes on without it.
pub async fn a_dead_letter_frees_its_key_and_a_replay_goes_to_the_end<H: Harness>() {
    let bed = Bed::<H>::new().await;
    let ids = accept_numbers(&bed, "k", 0..3).await;
    let leased = bed.leased(at(1)).await;
    bed.settle(leased, Outcome::Dead, at(1)).await.expect("it is leased");
    let replayed = bed.queue.replay(&home(), ids[0], at(2), "anna").await;
    replayed.expect("it is a dead letter");
    for expected in [1, 2, 0] {
        let leased = bed.leased(at(2)).await;
        assert_eq!(leased.body, [expected]);
        bed.settle(leased, Outcome::Delivered, at(2))
            .await
            .expect("it is leased");
    }
}

/// Nor anything that has no key.
pub async fn a_blocked_key_holds_up_no_other<H: Harness>() {
    let bed = Bed::<H>::new().await;
    accept_numbers(&bed, "blocked", 0..100).await;
    let holder = bed.leased(at(0)).await;
    assert_eq!(holder.body, [0]);
    let mut others = [ordered("free", 200, at(0)), owed(&[201], None, at(0))];
    for other in &mut others {
        other.fan_out[0].first_wait = Duration::from_millis(1);
    }
    bed.queue.accept(others.into(), at(0)).await.expect("the queue works");
    let mut met = numbers(&bed.lease_all(at(1)).await);
    met.sort_unstable();
    assert_eq!(met, [200, 201]);
}

/// Whoever held the turn has it again.
pub async fn the_next_process_keeps_the_order<H: Harness>() {
    let mut bed = Bed::<H>::new().await;
    accept_numbers(&bed, "k", 0..3).await;
    for expected in 0..3 {
        let lost = bed.leased(at(1)).await;
        assert_eq!(lost.body, [expected]);
        assert!(bed.lease_all(at(1)).await.is_empty());
        bed = bed.reopened(at(1)).await;
        let mut leased = bed.lease_all(at(1)).await;
        assert_eq!(numbers(&leased), [expected]);
        let leased = leased.remove(0);
        bed.settle(leased, Outcome::Delivered, at(1))
            .await
            .expect("it is leased");
    }
}

/// Leases, settles and accepts at once: never two of a key in flight, and all of them end.
pub async fn tasks_that_race_keep_the_order_and_strand_nothing<H: Harness>() {
    const NUMBERS: u8 = 40;
    let bed = Bed::<H>::new().await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let length = |log: &Mutex<Vec<_>>| log.lock().expect("nobody panicked").len();
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let (queue, log) = (bed.queue.clone(), Arc::clone(&log));
        workers.spawn(async move {
            let note = |what| log.lock().expect("nobody panicked").push(what);
            while length(&log) < 2 * usize::from(NUMBERS) {
                let leased = queue.lease_many(&home(), &sink(), terms(at(1), 3)).await;
                for leased in leased.expect("the queue works") {
                    let number = leased.body[0];
                    note(("begins", number));
                    tokio::task::yield_now().await;
                    note(("ends", number));
                    let settled = queue.settle(leased, settlement(Outcome::Delivered, at(1))).await;
                    settled.expect("it is leased");
                }
                tokio::task::yield_now().await;
            }
        });
    }
    accept_numbers(&bed, "k", 0..NUMBERS).await;
    let done = tokio::time::timeout(Duration::from_secs(60), workers.join_all()).await;
    done.expect("nothing is stranded");
    let expected: Vec<_> = (0..NUMBERS)
        .flat_map(|number| [("begins", number), ("ends", number)])
        .collect();
    assert_eq!(*log.lock().expect("nobody panicked"), expected);
}
