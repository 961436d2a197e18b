use tokio::sync::oneshot;

use super::*;
use crate::batch::Batch;

const SMALL: usize = LARGE_BATCH_BYTES;
const LARGE: usize = LARGE_BATCH_BYTES + 1;
const TURN: Duration = Duration::from_millis(20);

/// A batch of exactly this many bytes, its key's included.
fn request(bytes: usize) -> Request {
    let mut batch = Batch::new();
    batch.put("k", vec![0; bytes - 1]);
    assert_eq!(batch.bytes(), bytes);
    let (answer, _) = oneshot::channel();
    Request { batch, answer }
}

/// Turns with a clock.
struct Bed {
    turns: Turns,
    now: Instant,
}

impl Bed {
    fn with(sizes: &[usize]) -> Self {
        let mut turns = Turns::default();
        for bytes in sizes {
            turns.add(request(*bytes));
        }
        Self {
            turns,
            now: Instant::now(),
        }
    }

    /// The sizes of the next group, which then takes [`TURN`].
    fn commit(&mut self) -> Vec<usize> {
        let Next::Commit(group) = self.turns.next(self.now, false) else {
            return Vec::new();
        };
        let began = self.now;
        self.now += TURN;
        self.turns.committed(group.sizes, began, self.now);
        group.requests.iter().map(|it| it.batch.bytes()).collect()
    }

    fn rest(&mut self) -> Option<Duration> {
        match self.turns.next(self.now, false) {
            Next::RestUntil(until) => Some(until - self.now),
            Next::Commit(_) | Next::Idle => None,
        }
    }
}

#[test]
fn large_ones_alone_take_all_the_time_there_is() {
    let mut bed = Bed::with(&[LARGE; 200]);
    let full = GROUP_BYTES_MAX.div_ceil(LARGE);
    for _ in 0..200 / full {
        assert_eq!(bed.commit().len(), full);
    }
    assert!(bed.rest().is_none());
}

#[test]
fn a_large_one_rests_three_times_as_long_as_its_turn_took_while_small_ones_are_about() {
    let mut bed = Bed::with(&[SMALL, LARGE, LARGE_BYTES_MAX, LARGE]);
    // Large ones join until they have their share of bytes.
    assert_eq!(bed.commit(), [SMALL, LARGE, LARGE_BYTES_MAX]);
    assert_eq!(bed.rest(), Some(TURN * REST_PER_TURN));
    for waited in 1..=REST_PER_TURN {
        bed.turns.add(request(SMALL));
        assert_eq!(bed.commit(), [SMALL], "{waited}");
    }
    assert_eq!(bed.commit(), [LARGE]);
}

#[test]
fn when_the_small_ones_have_gone_large_ones_rest_once_and_then_no_more() {
    let mut bed = Bed::with(&[SMALL, LARGE_BYTES_MAX, LARGE]);
    bed.commit();
    let rest = bed.rest().unwrap();
    bed.now += rest;
    assert_eq!(bed.commit(), [LARGE]);
    bed.turns.add(request(LARGE));
    assert_eq!(bed.commit(), [LARGE]);
}

#[test]
fn a_small_one_is_never_made_to_wait_for_a_turn() {
    let mut bed = Bed::with(&[LARGE; 4]);
    bed.turns.add(request(SMALL));
    assert_eq!(bed.commit()[0], SMALL);
    bed.turns.add(request(SMALL));
    assert_eq!(bed.commit(), [SMALL]);
}

#[test]
fn a_disk_that_stalled_makes_nobody_rest_for_long() {
    let mut bed = Bed::with(&[LARGE]);
    let Next::Commit(group) = bed.turns.next(bed.now, false) else {
        panic!("one waits");
    };
    bed.turns.add(request(SMALL));
    bed.turns.add(request(LARGE));
    let began = bed.now;
    bed.now += Duration::from_secs(60);
    bed.turns.committed(group.sizes, began, bed.now);
    assert_eq!(bed.commit(), [SMALL]);
    assert_eq!(bed.rest(), Some(REST_MAX - TURN));
}

#[test]
fn nobody_rests_at_the_end() {
    let mut bed = Bed::with(&[SMALL, LARGE_BYTES_MAX, LARGE]);
    bed.commit();
    assert!(matches!(bed.turns.next(bed.now, true), Next::Commit(_)));
    assert!(matches!(bed.turns.next(bed.now, true), Next::Idle));
}

#[test]
fn a_group_has_a_bound_on_batches_and_bytes() {
    let mut bed = Bed::with(&[2; GROUP_BATCHES_MAX + 1]);
    assert_eq!(bed.commit().len(), GROUP_BATCHES_MAX);
    assert_eq!(bed.commit().len(), 1);
    let mut bed = Bed::with(&[SMALL; 2 * GROUP_BYTES_MAX / SMALL]);
    assert_eq!(bed.commit().len(), GROUP_BYTES_MAX / SMALL);
}
