//! What a seed stands for: connections, what arrives for them, and what goes wrong. Each seed takes some of the ingredients
//! and leaves others out, so that no one of them hides what another would show.

use std::time::Duration;

use cofferdam_domain::connection::{BreakerPolicy, Rate};
use cofferdam_domain::{ConnectionName, Policy, RetryPolicy};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::destination::{Destination, Mood};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The longest time in which things go wrong.
const TROUBLE_MAX_MS: u64 = 40 * MINUTE;

/// Order keys of a lane that has an order.
const ORDER_KEYS: u8 = 3;

/// The lane whose destination is always well, and which nothing is done to.
pub(super) const NEIGHBOUR: usize = 0;

/// A connection.
pub(super) struct LanePlan {
    pub(super) name: ConnectionName,
    pub(super) policy: Policy,
    pub(super) destination: Destination,
    /// Whether its deliveries have an order.
    pub(super) ordered: bool,
}

impl LanePlan {
    /// Until the first attempt.
    pub(super) fn first_wait(&self) -> Duration {
        Duration::from_millis(self.policy.retry.schedule_ms.first().copied().unwrap_or(0))
    }
}

/// An event that a producer sends.
pub(super) struct Arrival {
    /// To whom it is owed.
    pub(super) lanes: Vec<usize>,
    /// Its order key.
    pub(super) key: u8,
    /// The producer sends it a second time, as if it had seen no answer.
    pub(super) twice: bool,
}

/// Something that goes wrong, or that a person does.
#[derive(Clone, Debug)]
pub(super) enum Mishap {
    /// kill -9, and a start after so long.
    Kill(u64),
    /// SIGTERM, and a start after so long.
    Stop(u64),
    /// The wall clock is set.
    Jump(i64),
    /// A connection gets another policy.
    Edit(usize, Box<Policy>),
    /// A connection is turned off for so long.
    Disable(usize, u64),
    /// A person releases a lane, whether it is parked or not.
    Release(usize),
}

/// All of it. Times are in milliseconds from the beginning.
pub(super) struct Scenario {
    pub(super) lanes: Vec<LanePlan>,
    pub(super) arrivals: Vec<(u64, Arrival)>,
    pub(super) mishaps: Vec<(u64, Mishap)>,
    /// Nothing goes wrong after this.
    pub(super) heal_at_ms: u64,
    /// Settles may take longer than their lease.
    pub(super) slow_settles: bool,
}

impl Scenario {
    /// What this generator's seed stands for.
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        let heal_at_ms = rng.random_range(2 * MINUTE..=TROUBLE_MAX_MS);
        let count = rng.random_range(2..=5);
        let lanes: Vec<_> = (0..count).map(|lane| draw_lane(lane, heal_at_ms, rng)).collect();
        let arrivals = draw_arrivals(&lanes, heal_at_ms, rng);
        let mishaps = draw_mishaps(&lanes, heal_at_ms, rng);
        Self {
            lanes,
            arrivals,
            mishaps,
            heal_at_ms,
            slow_settles: rng.random_bool(0.3),
        }
    }
}

fn draw_lane(lane: usize, heal_at_ms: u64, rng: &mut StdRng) -> LanePlan {
    let name: ConnectionName = format!("lane-{lane}").parse().expect("a name");
    if lane == NEIGHBOUR {
        return LanePlan {
            name,
            policy: Policy {
                concurrency: 8,
                ..Policy::default()
            },
            destination: Destination::new(Vec::new(), 60),
            ordered: false,
        };
    }
    let mut moods = Vec::new();
    let mut at = 0;
    while at < heal_at_ms {
        at += rng.random_range(5 * SECOND..8 * MINUTE);
        moods.push((at, draw_mood(rng)));
    }
    LanePlan {
        name,
        policy: draw_policy(rng),
        destination: Destination::new(moods, *pick(&[20, 200, 2_000], rng)),
        ordered: rng.random_bool(0.4),
    }
}

fn draw_mood(rng: &mut StdRng) -> Mood {
    let wait_ms = match rng.random_range(0..12) {
        0 | 1 => None,
        2 => Some(0),
        3..=6 => Some(rng.random_range(1..20 * SECOND)),
        7..=9 => Some(rng.random_range(MINUTE..10 * MINUTE)),
        10 => Some(HOUR),
        // More than is believed.
        _ => Some(30 * HOUR),
    };
    *pick(
        &[
            Mood::Well,
            Mood::Well,
            Mood::Down,
            Mood::Down,
            Mood::Unreachable,
            Mood::Stalls,
            Mood::Late,
            Mood::Limits(wait_ms),
            Mood::Limits(wait_ms),
            Mood::Refuses,
            Mood::Alternates,
            Mood::Picky,
            Mood::Traps,
        ],
        rng,
    )
}

/// A policy such as an admin may write.
pub(super) fn draw_policy(rng: &mut StdRng) -> Policy {
    let steps = rng.random_range(1..=9);
    let schedule_ms = (0..steps).map(|step| match step {
        0 => *pick(&[0, 0, 0, 2 * SECOND], rng),
        _ => *pick(&[500, 5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE], rng),
    });
    let schedule_ms: Vec<u64> = schedule_ms.collect();
    let open_ms = rng.random_range(SECOND..30 * SECOND);
    Policy {
        concurrency: rng.random_range(1..=12),
        deadline_ms: *pick(&[SECOND, 10 * SECOND, 30 * SECOND], rng),
        rate: rng.random_bool(0.35).then(|| Rate {
            count: rng.random_range(1..=20),
            per_ms: rng.random_range(200..20 * SECOND),
            burst: rng.random_bool(0.5).then(|| rng.random_range(1..=10)),
        }),
        breaker: BreakerPolicy {
            failures: *pick(&[0, 1, 2, 3, 5, 10], rng),
            open_ms,
            open_max_ms: open_ms * *pick(&[1, 4, 20], rng),
        },
        retry: RetryPolicy {
            schedule_ms,
            max_age_ms: *pick(&[7 * MINUTE, 30 * MINUTE, 72 * HOUR, 72 * HOUR], rng),
            faults_max: rng.random_range(1..=4),
            interruptions_max: *pick(&[2, 5, 20], rng),
        },
        ..Policy::default()
    }
}

fn draw_arrivals(lanes: &[LanePlan], heal_at_ms: u64, rng: &mut StdRng) -> Vec<(u64, Arrival)> {
    let mut arrivals = Vec::new();
    for _ in 0..rng.random_range(3..=12) {
        let at = rng.random_range(0..heal_at_ms);
        for offset in 0..rng.random_range(1..=14) {
            let mut to: Vec<_> = (0..lanes.len()).filter(|_| rng.random_bool(0.5)).collect();
            if to.is_empty() {
                to.push(rng.random_range(0..lanes.len()));
            }
            let arrival = Arrival {
                lanes: to,
                key: rng.random_range(0..ORDER_KEYS),
                twice: rng.random_bool(0.1),
            };
            arrivals.push((at + offset * 7, arrival));
        }
    }
    arrivals
}

fn draw_mishaps(lanes: &[LanePlan], heal_at_ms: u64, rng: &mut StdRng) -> Vec<(u64, Mishap)> {
    let mut mishaps = Vec::new();
    let (crashes, jumps, people) = (rng.random_bool(0.6), rng.random_bool(0.4), rng.random_bool(0.6));
    let mut add = |mishap, rng: &mut StdRng| mishaps.push((rng.random_range(0..heal_at_ms), mishap));
    if crashes {
        for _ in 0..rng.random_range(1..=5) {
            let down_ms = *pick(&[0, 200, 10 * SECOND, 2 * MINUTE], rng);
            let how = if rng.random_bool(0.7) {
                Mishap::Kill(down_ms)
            } else {
                Mishap::Stop(down_ms)
            };
            add(how, rng);
        }
    }
    if jumps {
        for _ in 0..rng.random_range(1..=3) {
            let far = *pick(&[SECOND, 40 * SECOND, 5 * MINUTE, 3 * HOUR, 30 * HOUR], rng);
            let far = i64::try_from(far).expect("hours fit");
            let by_ms = if rng.random_bool(0.5) { far } else { -far };
            add(Mishap::Jump(by_ms), rng);
        }
    }
    if people {
        for _ in 0..rng.random_range(1..=5) {
            let lane = rng.random_range(1..lanes.len());
            let what = match rng.random_range(0..4) {
                0 | 1 => {
                    // How old a delivery may become is not edited, so that it can be told whether one died too early.
                    let mut policy = draw_policy(rng);
                    policy.retry.max_age_ms = lanes[lane].policy.retry.max_age_ms;
                    Mishap::Edit(lane, Box::new(policy))
                }
                2 => Mishap::Disable(lane, rng.random_range(SECOND..20 * MINUTE)),
                _ => Mishap::Release(lane),
            };
            add(what, rng);
        }
    }
    mishaps
}

fn pick<'a, T>(of: &'a [T], rng: &mut StdRng) -> &'a T {
    &of[rng.random_range(0..of.len())]
}
