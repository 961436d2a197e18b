use std::collections::HashMap;

use cofferdam_domain::DeliveryId;
use cofferdam_store::Batch;
use rand::RngExt as _;
use tokio::task::JoinSet;

use super::*;
use crate::keys;

/// An event of this key, owed to the sink at once; its body is its number.
fn ordered(key: &str, number: u32, now: Timestamp) -> Accept {
    let mut accept = owed(&number.to_be_bytes(), None, now);
    accept.fan_out[0].order_key = Some(key.to_owned());
    accept
}

fn number(leased: &Leased) -> u32 {
    u32::from_be_bytes(leased.body.as_slice().try_into().unwrap())
}

impl Bed {
    async fn accept_numbers(&self, key: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<DeliveryId> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.accept(ordered(key, number, at(0)), at(0)).await.deliveries[0]);
        }
        ids
    }

    async fn lease_numbers(&self, now: Timestamp) -> Vec<u32> {
        let leased = self.queue.lease_many(&home(), &sink(), terms(now, 64)).await.unwrap();
        leased.iter().map(number).collect()
    }

    async fn settle(&self, leased: Leased, how: Outcome, now: Timestamp) {
        let class = (how != Outcome::Delivered).then_some(FailureClass::Dependency);
        self.queue.settle(leased, outcome(how, class, now)).await.unwrap();
    }
}

#[tokio::test]
async fn deliveries_of_one_key_are_made_one_after_the_other_in_the_order_of_acceptance() {
    let bed = Bed::new().await;
    bed.accept_numbers("k", 0..4).await;
    for expected in 0..4 {
        let mut leased = bed.queue.lease_many(&home(), &sink(), terms(at(1), 9)).await.unwrap();
        assert_eq!(leased.iter().map(number).collect::<Vec<_>>(), [expected]);
        assert_eq!(bed.lease_numbers(at(1)).await, [0; 0], "one at a time");
        assert_eq!(
            bed.depth()[..2],
            [u64::from(3 - expected), 1],
            "those behind are counted"
        );
        bed.settle(leased.remove(0), Outcome::Delivered, at(1)).await;
    }
    assert_eq!(bed.depth(), [0, 0, 0, 4]);
    assert_eq!(leftovers(&bed), 0);
}

/// Records that only order keeps.
fn leftovers(bed: &Bed) -> usize {
    use cofferdam_store::{Key, Keyspace, Scan};
    [Keyspace::Order, Keyspace::Turn]
        .map(|space| bed.queue.store.scan(&Scan::prefix(Key::of(space), 99)).unwrap().len())
        .iter()
        .sum()
}

#[tokio::test]
async fn a_retry_keeps_its_turn_and_a_dead_letter_frees_its_key() {
    let bed = Bed::new().await;
    bed.accept_numbers("k", 0..3).await;
    let first = bed.lease(at(0)).await.unwrap();
    let again = Outcome::Retry {
        due_at: at(500),
        charged: true,
    };
    bed.settle(first, again, at(1)).await;
    assert_eq!(bed.lease_numbers(at(499)).await, [0; 0], "its turn is in its wait");
    let first = bed.lease(at(500)).await.unwrap();
    assert_eq!(number(&first), 0);
    bed.settle(first, Outcome::Dead, at(501)).await;
    assert_eq!(bed.lease_numbers(at(501)).await, [1]);
}

#[tokio::test]
async fn a_replay_takes_its_place_at_the_end() {
    let bed = Bed::new().await;
    let ids = bed.accept_numbers("k", 0..3).await;
    let first = bed.lease(at(0)).await.unwrap();
    bed.settle(first, Outcome::Dead, at(1)).await;
    bed.queue.replay(&home(), ids[0], at(2), "anna").await.unwrap();
    for expected in [1, 2, 0] {
        let leased = bed.lease(at(3)).await.unwrap();
        assert_eq!(number(&leased), expected);
        assert_eq!(bed.lease_numbers(at(3)).await, [0; 0]);
        bed.settle(leased, Outcome::Delivered, at(3)).await;
    }
}

#[tokio::test]
async fn a_blocked_key_is_looked_at_once_and_holds_up_no_other() {
    const BLOCKED: u32 = 2000;
    let bed = Bed::new().await;
    let blocked = (0..BLOCKED).map(|number| ordered("blocked", number, at(0)));
    bed.queue.accept(blocked.collect(), at(0)).await.unwrap();
    let mut free = ordered("free", 9000, at(0));
    free.fan_out[0].first_wait = Duration::from_millis(1);
    bed.accept(free, at(0)).await;
    let mut unordered = owed(&9001u32.to_be_bytes(), None, at(0));
    unordered.fan_out[0].first_wait = Duration::from_millis(1);
    bed.accept(unordered, at(0)).await;
    let holder = bed.lease(at(0)).await.unwrap();
    assert_eq!(number(&holder), 0);
    let mut calls = 0;
    let mut met = Vec::new();
    while met.len() < 2 {
        calls += 1;
        let leased = bed.queue.lease_many(&home(), &sink(), terms(at(1), 2)).await.unwrap();
        met.extend(leased.iter().map(number));
        assert!(calls < 9, "{met:?}");
    }
    met.sort_unstable();
    assert_eq!(met, [9000, 9001]);
    while !bed.lease_numbers(at(1)).await.is_empty() {}
    assert_eq!(
        bed.queue.next_due(&home(), &sink()).await.unwrap(),
        None,
        "all are behind"
    );
    assert_eq!(bed.depth()[0], u64::from(BLOCKED) - 1);
    bed.settle(holder, Outcome::Delivered, at(2)).await;
    assert_eq!(bed.queue.next_due(&home(), &sink()).await.unwrap(), Some(at(0)));
    assert_eq!(bed.lease_numbers(at(2)).await, [1]);
}

#[tokio::test]
async fn order_survives_reopening_at_every_step() {
    let mut bed = Bed::new().await;
    bed.accept_numbers("k", 0..3).await;
    for expected in 0..5 {
        bed = bed.reopened(at(1)).await;
        // Moved behind, and interrupted: the turn stays where it is.
        let lost = bed.lease(at(1)).await.unwrap();
        assert_eq!(number(&lost), expected);
        assert_eq!(bed.lease_numbers(at(1)).await, [0; 0]);
        bed = bed.reopened(at(1)).await;
        let [pending, ..] = bed.depth();
        if expected < 2 {
            // The process starts with a clock that stands earlier: places rise all the same.
            bed.accept_numbers("k", [expected + 3]).await;
            assert_eq!(bed.depth()[0], pending + 1);
            bed = bed.reopened(at(0)).await;
        }
        let leased = bed.lease(at(1)).await.unwrap();
        assert_eq!(number(&leased), expected);
        bed.settle(leased, Outcome::Delivered, at(1)).await;
    }
    assert_eq!(bed.reopened(at(1)).await.depth(), [0, 0, 0, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_tasks_keep_the_order_and_strand_nothing() {
    const KEYS: u32 = 3;
    const PER_KEY: u32 = 40;
    let bed = Bed::new().await;
    let mut producers = JoinSet::new();
    for key in 0..KEYS {
        let queue = bed.queue.clone();
        // Made here: each thread has random numbers of its own, which are the same as its neighbour's.
        let accepts = (0..PER_KEY).map(|number| ordered(&key.to_string(), key * 1000 + number, at(0)));
        let accepts: Vec<_> = accepts.collect();
        producers.spawn(async move {
            for accept in accepts {
                queue.accept(vec![accept], at(0)).await.unwrap();
            }
        });
    }
    let mut workers = JoinSet::new();
    for worker in 0..6u64 {
        let queue = bed.queue.clone();
        workers.spawn(async move {
            let mut rng = StdRng::seed_from_u64(worker);
            let mut ended = Vec::new();
            let mut now = at(1);
            loop {
                let depth = queue.depth(&home(), &sink());
                if depth.delivered + depth.dead == u64::from(KEYS * PER_KEY) {
                    return ended;
                }
                now = now.after(Duration::from_millis(1));
                for leased in queue.lease_many(&home(), &sink(), terms(now, 2)).await.unwrap() {
                    let (how, class) = match rng.random_range(0..4) {
                        0 => (Outcome::Dead, Some(FailureClass::Schema)),
                        1 => {
                            let due_at = now.after(Duration::from_millis(1));
                            (
                                Outcome::Retry { due_at, charged: false },
                                Some(FailureClass::Dependency),
                            )
                        }
                        _ => (Outcome::Delivered, None),
                    };
                    let number = number(&leased);
                    let over = !matches!(how, Outcome::Retry { .. });
                    let place = leased.delivery.order.clone().unwrap().place;
                    if over {
                        // Noted while the turn is still held.
                        ended.push((place, number));
                    }
                    queue.settle(leased, outcome(how, class, now)).await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    producers.join_all().await;
    let ended = tokio::time::timeout(Duration::from_secs(60), workers.join_all()).await;
    let ended = ended.expect("nothing is stranded").concat();
    assert_eq!(ended.len(), (KEYS * PER_KEY) as usize);
    // That they come one after the other is the next test's to show; here each ends once, and places rise with acceptance.
    let mut by_place = ended;
    by_place.sort_unstable();
    let mut last: HashMap<u32, u32> = HashMap::new();
    for (_, number) in by_place {
        let before = last.insert(number / 1000, number);
        assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
    }
    assert_eq!(leftovers(&bed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_key_never_two_are_in_flight_whoever_leases() {
    const NUMBERS: u32 = 60;
    let bed = Bed::new().await;
    let log = std::sync::Arc::new(Mutex::new(Vec::new()));
    let mut workers = JoinSet::new();
    for _ in 0..6 {
        let (queue, log) = (bed.queue.clone(), std::sync::Arc::clone(&log));
        workers.spawn(async move {
            while log.lock().unwrap().len() < 2 * NUMBERS as usize {
                for leased in queue.lease_many(&home(), &sink(), terms(at(1), 3)).await.unwrap() {
                    let number = number(&leased);
                    log.lock().unwrap().push(("begins", number));
                    tokio::task::yield_now().await;
                    log.lock().unwrap().push(("ends", number));
                    let settlement = outcome(Outcome::Delivered, None, at(1));
                    queue.settle(leased, settlement).await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    bed.accept_numbers("k", 0..NUMBERS).await;
    let done = tokio::time::timeout(Duration::from_secs(60), workers.join_all()).await;
    done.expect("nothing is stranded");
    let expected: Vec<_> = (0..NUMBERS)
        .flat_map(|number| [("begins", number), ("ends", number)])
        .collect();
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test]
async fn an_order_that_nobody_holds_goes_on_after_the_next_start() {
    let bed = Bed::new().await;
    let ids = bed.accept_numbers("k", 0..3).await;
    let holder = bed.lease(at(0)).await.unwrap();
    assert_eq!(bed.lease_numbers(at(0)).await, [0; 0]);
    let order_key = holder.delivery.order.clone().unwrap().key;
    // The holder is gone with everything that lists it, and with the record of the turn.
    let mut batch = Batch::new();
    batch
        .delete(keys::delivery(&home(), ids[0]))
        .delete(keys::turn(&home(), &sink(), &order_key));
    bed.queue.store.commit(batch).await.unwrap();
    let bed = bed.reopened(at(1)).await;
    assert_eq!(bed.lease_numbers(at(1)).await, [1]);
    assert_eq!(bed.depth(), [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_holder_that_cannot_be_read_gives_its_turn_up() {
    let bed = Bed::new().await;
    let ids = bed.accept_numbers("k", 0..2).await;
    let holder = bed.lease(at(0)).await.unwrap();
    assert_eq!(bed.lease_numbers(at(0)).await, [0; 0]);
    bed.queue.release(holder).await.unwrap();
    let mut batch = Batch::new();
    batch.put(keys::delivery(&home(), ids[0]), b"\x01nonsense");
    bed.queue.store.commit(batch).await.unwrap();
    assert_eq!(bed.lease_numbers(at(1)).await, [1]);
}
