//! The core of a lane against a naive model, over random histories in simulated time.
//!
//! What jitter decides cannot be foreseen, so the model does not predict the core's answers: it is told each of them and
//! judges it by rules of its own. [`model`] is the lane, [`ledger`] the deliveries, and [`bed`] does what the server and the
//! queue do around the core. After each history everything must come to its end.

mod bed;
mod ledger;
mod model;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use self::bed::Bed;
use super::*;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
struct End {
    class: Option<FailureClass>,
    retry_after_ms: Option<u64>,
}

/// What happens to a lane. An index picks one of what is under way; where nothing is, nothing happens.
#[derive(Clone, Debug)]
enum Step {
    /// An event is accepted.
    Accept,
    /// So many attempts begin, if so many are due and may.
    Lease(usize),
    /// An attempt comes to its verdict.
    Decide(Index, End),
    /// The settle of one that has is durable.
    Write(Index),
    /// An attempt is over and nothing of it is durable.
    Lose(Index),
    /// The lease of an attempt runs out, and the attempt goes on.
    Expire(Index),
    GiveBack(Index),
    Release,
    Configure(LanePolicy),
    Pass(u64),
    JumpAhead(u64),
    SetBack(u64),
    /// The process ends and another begins, after so long.
    Restart(u64),
}

/// A lane as a history begins with it.
#[derive(Clone, Debug)]
struct Beginning {
    policy: LanePolicy,
    seed: u64,
}

fn policy() -> impl Strategy<Value = LanePolicy> {
    let rate = (
        1..6_u32,
        prop::sample::select(&[1_000, 10_000][..]),
        prop::option::of(1..4_u32),
    )
        .prop_map(|(count, per_ms, burst)| Rate { count, per_ms, burst });
    (1..6_usize, prop::option::of(rate), 0..4_u32, 1..4_u64, 0..4_u64).prop_map(
        |(concurrency, rate, failures, open, open_max)| LanePolicy {
            concurrency,
            rate,
            breaker: BreakerPolicy {
                failures,
                open_ms: open * SECOND,
                // Not seldom below the first wait, which then is the longest.
                open_max_ms: open_max * 3 * SECOND,
            },
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    let class = prop_oneof![
        3 => Just(None),
        3 => prop::sample::select(&[FailureClass::Dependency, FailureClass::Transport, FailureClass::Timeout][..]).prop_map(Some),
        1 => Just(Some(FailureClass::RateLimited)),
        2 => prop::sample::select(&FailureClass::ALL[..]).prop_map(Some),
    ];
    // Below every wait of ours, above them, and more than is believed.
    let asked = prop_oneof![0..SECOND, SECOND..600 * SECOND, 23 * HOUR..48 * HOUR];
    (class, prop::option::of(asked)).prop_map(|(class, retry_after_ms)| End { class, retry_after_ms })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..50_u64, 4 => 50..3_000_u64, 2 => SECOND..30 * SECOND, 1 => 60 * SECOND..30 * HOUR]
}

impl ReferenceStateMachine for Beginning {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        (policy(), any::<u64>())
            .prop_map(|(policy, seed)| Self { policy, seed })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let pick = any::<Index>;
        prop_oneof![
            6 => Just(Step::Accept),
            12 => (1..6_usize).prop_map(Step::Lease),
            12 => (pick(), end()).prop_map(|(index, end)| Step::Decide(index, end)),
            12 => pick().prop_map(Step::Write),
            10 => time().prop_map(Step::Pass),
            1 => pick().prop_map(Step::Lose),
            1 => pick().prop_map(Step::Expire),
            1 => pick().prop_map(Step::GiveBack),
            1 => Just(Step::Release),
            1 => policy().prop_map(Step::Configure),
            1 => time().prop_map(Step::JumpAhead),
            1 => time().prop_map(Step::SetBack),
            1 => time().prop_map(Step::Restart),
        ]
        .boxed()
    }

    fn apply(state: Self, _: &Step) -> Self {
        state
    }
}

struct AgainstTheModel;

impl StateMachineTest for AgainstTheModel {
    type SystemUnderTest = Bed;
    type Reference = Beginning;

    fn init_test(beginning: &Beginning) -> Bed {
        Bed::new(beginning.policy, beginning.seed)
    }

    fn apply(mut bed: Bed, _: &Beginning, step: Step) -> Bed {
        match step {
            Step::Accept => bed.accept(),
            Step::Lease(most) => bed.lease(most),
            Step::Decide(index, end) => bed.decide(index, end),
            Step::Write(index) => bed.write(index),
            Step::Lose(index) => bed.lose(index),
            Step::Expire(index) => bed.expire(index),
            Step::GiveBack(index) => bed.give_back(index),
            Step::Release => bed.release(),
            Step::Configure(policy) => bed.configure(policy),
            Step::Pass(ms) => bed.pass(ms),
            Step::JumpAhead(ms) => bed.jump_ahead(ms),
            Step::SetBack(ms) => bed.set_back(ms),
            Step::Restart(ms) => bed.restart(ms),
        }
        bed
    }

    fn check_invariants(bed: &Bed, _: &Beginning) {
        bed.check();
    }

    fn teardown(mut bed: Bed, _: Beginning) {
        bed.drain();
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_never_breaks_its_promises_and_loses_no_delivery(sequential 1..150 => AgainstTheModel);
}
