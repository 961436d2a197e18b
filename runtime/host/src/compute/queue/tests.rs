use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Jobs by lane and number.
type Job = (u64, usize);

/// One thread: takes turns until none waits or the rounds are over; each turn uses what `uses` says of its lane, and a job that
/// is not done comes back, as a guest that computes does. Answers what each lane has used, in milliseconds.
fn serve(queue: &mut FairQueue<Job>, rounds: usize, uses: impl Fn(u64) -> u32, now: &mut Instant) -> HashMap<u64, u32> {
    let mut used = HashMap::new();
    for _ in 0..rounds {
        let Some(turn) = queue.pop(*now) else { break };
        let took = uses(turn.lane.0);
        *now += MS * took;
        queue.push(turn.lane, turn.job, *now);
        queue.end(turn.lane, MS * took, *now);
        *used.entry(turn.lane.0).or_default() += took;
    }
    used
}

#[test]
fn a_lane_with_thirty_calls_gets_what_a_lane_with_one_gets() {
    let mut now = Instant::now();
    let mut queue = FairQueue::default();
    for number in 0..30 {
        queue.push(LaneId(1), (1, number), now);
    }
    queue.push(LaneId(2), (2, 0), now);
    let used = serve(&mut queue, 100, |_| 10, &mut now);
    assert_eq!(used, HashMap::from([(1, 500), (2, 500)]));
}

#[test]
fn calls_of_one_lane_are_served_in_the_order_of_coming() {
    let now = Instant::now();
    let mut queue = FairQueue::default();
    for number in 0..5 {
        queue.push(LaneId(1), number, now);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(now).map(|turn| turn.job)).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn who_comes_beside_one_that_computes_on_and_on_is_next_and_saves_nothing_up() {
    let mut now = Instant::now();
    let mut queue = FairQueue::default();
    queue.push(LaneId(1), (1, 0), now);
    serve(&mut queue, 1000, |_| 10, &mut now);
    queue.push(LaneId(2), (2, 0), now);
    assert_eq!(queue.pop(now).map(|turn| turn.lane), Some(LaneId(2)));
    queue.push(LaneId(2), (2, 0), now);
    queue.end(LaneId(2), 10 * MS, now);
    let used = serve(&mut queue, 100, |_| 10, &mut now);
    assert!(used[&1].abs_diff(used[&2]) <= 20, "{used:?}");
}

#[test]
fn two_threads_serve_two_lanes_and_not_one_of_them_twice() {
    let now = Instant::now();
    let mut queue = FairQueue::default();
    for number in 0..4 {
        queue.push(LaneId(1), (1, number), now);
        queue.push(LaneId(2), (2, number), now);
    }
    let lanes: Vec<_> = (0..2).filter_map(|_| queue.pop(now)).map(|turn| turn.lane).collect();
    assert_eq!(lanes, [LaneId(1), LaneId(2)]);
}

#[test]
fn a_wait_is_the_neighbours_while_they_are_served_and_the_lanes_own_while_it_is() {
    let mut now = Instant::now();
    let mut queue = FairQueue::default();
    queue.push(LaneId(1), "hog", now);
    let hog = queue.pop(now).unwrap();
    queue.push(LaneId(2), "first", now);
    queue.push(LaneId(2), "second", now);
    now += 7 * MS;
    queue.end(hog.lane, 7 * MS, now);
    let first = queue.pop(now).unwrap();
    assert_eq!((first.job, first.held_up), ("first", 7 * MS));
    now += 5 * MS;
    queue.end(first.lane, 5 * MS, now);
    now += 2 * MS;
    let second = queue.pop(now).unwrap();
    assert_eq!(
        (second.job, second.held_up),
        ("second", 9 * MS),
        "not the first one's turn"
    );
    queue.push(LaneId(2), "alone", now);
    now += 3 * MS;
    queue.end(second.lane, 3 * MS, now);
    assert_eq!(queue.pop(now).unwrap().held_up, Duration::ZERO);
}

#[test]
fn lanes_that_have_gone_are_forgotten() {
    for beside_a_hog in [false, true] {
        let mut now = Instant::now();
        let mut queue = FairQueue::default();
        if beside_a_hog {
            queue.push(LaneId(0), (0, 0), now);
        }
        for lane in 1..5_000 {
            queue.push(LaneId(lane), (lane, 0), now);
            for _ in 0..=usize::from(beside_a_hog) {
                now += MS;
                let turn = queue.pop(now).unwrap();
                if turn.lane == LaneId(0) {
                    queue.push(turn.lane, turn.job, now);
                }
                queue.end(turn.lane, MS, now);
            }
        }
        assert!(queue.lanes.len() <= RESTING_MAX + 2, "{}", queue.lanes.len());
    }
}

proptest! {
    /// Whatever lanes come with how many calls and turns of whatever length: those that always have something waiting differ by
    /// no more than a turn each way.
    #[test]
    fn lanes_that_always_want_get_the_same(
        lanes in prop::collection::vec((1_usize..40, 1_u32..=10), 2..8),
        rounds in 100_usize..600,
    ) {
        let mut now = Instant::now();
        let mut queue = FairQueue::default();
        for (lane, (calls, _)) in lanes.iter().enumerate() {
            for number in 0..*calls {
                queue.push(LaneId(lane as u64), (lane as u64, number), now);
            }
        }
        let used = serve(&mut queue, rounds, |lane| lanes[usize::try_from(lane).unwrap()].1, &mut now);
        let least = (0..lanes.len()).map(|lane| used.get(&(lane as u64)).copied().unwrap_or(0)).min().unwrap();
        let most = used.values().copied().max().unwrap();
        prop_assert!(most - least <= 20, "{used:?}");
    }

    /// Nothing is lost and nothing comes twice, whatever is pushed, served and ended in whatever order by several threads.
    #[test]
    fn everything_is_served_once(steps in prop::collection::vec((0_u8..3, 0_u64..6, 0_u32..15), 1..400)) {
        let mut now = Instant::now();
        let mut queue = FairQueue::default();
        let (mut pushed, mut served, mut open) = (0_usize, Vec::new(), Vec::new());
        for (what, lane, ms) in steps {
            now += MS;
            match what {
                0 => {
                    queue.push(LaneId(lane), pushed, now);
                    pushed += 1;
                }
                1 => if let Some(turn) = queue.pop(now) {
                    served.push(turn.job);
                    open.push(turn.lane);
                },
                _ => if !open.is_empty() {
                    queue.end(open.remove(0), MS * ms, now);
                },
            }
            prop_assert_eq!(queue.len(), pushed - served.len());
        }
        while let Some(turn) = queue.pop(now) {
            served.push(turn.job);
        }
        served.sort_unstable();
        prop_assert_eq!(served, (0..pushed).collect::<Vec<_>>());
    }
}
