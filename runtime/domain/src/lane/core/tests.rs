use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::classify::{Failure, Receipt};

const POLICY: LanePolicy = LanePolicy {
    concurrency: 8,
    rate: None,
    breaker: BreakerPolicy {
        failures: 3,
        open_ms: 1_000,
        open_max_ms: 8_000,
    },
};

/// A lane whose settles are durable at once.
struct Bed {
    core: LaneCore,
    state: LaneState,
    now: Timestamp,
    rng: StdRng,
    next: u8,
}

impl Bed {
    fn new(policy: LanePolicy) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut bed = Self {
            core: LaneCore::new(policy, now),
            state: LaneState::default(),
            now,
            rng: StdRng::seed_from_u64(7),
            next: 0,
        };
        bed.observe();
        bed
    }

    fn step(&mut self, event: LaneEvent) -> Vec<LaneEffect> {
        self.core.step(event, self.now, &mut self.rng)
    }

    fn observe(&mut self) {
        self.step(LaneEvent::Observed(self.state.clone()));
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
    }

    fn allowance(&self) -> Allowance {
        self.core.allowance(self.now)
    }

    fn room(&self) -> usize {
        match self.allowance() {
            Allowance::Room(room) => room,
            Allowance::Until(..) | Allowance::Signal(_) => 0,
        }
    }

    fn lease(&mut self) -> AttemptId {
        self.next += 1;
        let attempt = (DeliveryId::from_bytes([self.next; 16]), 1);
        self.step(LaneEvent::Leased(attempt));
        attempt
    }

    /// Decided, and not yet durable.
    fn decide(&mut self, attempt: AttemptId, class: Option<FailureClass>) -> Vec<LaneEffect> {
        let verdict = class.map_or(Verdict::Delivered(Receipt::default()), |class| {
            Verdict::Failed(Failure {
                class,
                code: None,
                message: "m".into(),
                ambiguous: false,
                retry_after_ms: None,
            })
        });
        let effect = match class {
            Some(FailureClass::RateLimited) => LaneEffect::BackOff {
                until: self.now.after(Duration::from_secs(5)),
            },
            Some(class @ FailureClass::Auth) => LaneEffect::Park {
                class,
                reason: "m".into(),
            },
            _ => LaneEffect::None,
        };
        self.step(LaneEvent::Settled {
            attempt,
            verdict,
            effect,
        })
    }

    fn make_durable(&mut self, attempt: AttemptId, effects: &[LaneEffect]) {
        let state = self.state.clone();
        self.state = effects
            .iter()
            .fold(state, |state, effect| state.after(effect, self.now));
        self.step(LaneEvent::Ended(attempt));
        self.observe();
    }

    fn settle(&mut self, attempt: AttemptId, class: Option<FailureClass>) -> Vec<LaneEffect> {
        let effects = self.decide(attempt, class);
        self.make_durable(attempt, &effects);
        effects
    }

    fn open(&mut self) {
        for _ in 0..3 {
            let attempt = self.lease();
            self.settle(attempt, Some(FailureClass::Transport));
        }
        assert!(self.state.tripped.is_some());
    }

    fn pass_the_breakers_wait(&mut self) {
        self.now = self.state.tripped.as_ref().unwrap().until;
    }
}

#[test]
fn a_breaker_opens_probes_once_and_ramps_after_the_probe_gets_through() {
    let mut bed = Bed::new(POLICY);
    bed.open();
    let until = bed.state.tripped.as_ref().unwrap().until;
    assert_eq!(bed.allowance(), Allowance::Until(until, Held::Breaker));
    bed.pass_the_breakers_wait();
    assert_eq!(bed.allowance(), Allowance::Room(1));
    let probe = bed.lease();
    assert_eq!(bed.allowance(), Allowance::Signal(Held::Probe));
    assert_eq!(bed.settle(probe, None), [LaneEffect::Recover]);
    let mut rooms = vec![bed.room()];
    for _ in 0..4 {
        let attempt = bed.lease();
        bed.settle(attempt, None);
        rooms.push(bed.room());
    }
    assert_eq!(rooms, [1, 2, 4, 8, 8]);
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_and_one_that_says_nothing_is_followed_by_another() {
    let mut bed = Bed::new(POLICY);
    bed.open();
    bed.pass_the_breakers_wait();
    let probe = bed.lease();
    assert!(bed.settle(probe, Some(FailureClass::ConnectorFault)).is_empty());
    assert_eq!(bed.allowance(), Allowance::Room(1));
    let probe = bed.lease();
    assert!(matches!(
        bed.settle(probe, Some(FailureClass::Timeout))[..],
        [LaneEffect::Trip { .. }]
    ));
    let tripped = bed.state.tripped.as_ref().unwrap();
    assert_eq!(tripped.trips, 2);
    assert!(tripped.until.since(bed.now) >= Duration::from_secs(2));
}

#[test]
fn attempts_in_flight_when_it_opens_do_not_open_it_again_and_do_not_close_it() {
    let mut bed = Bed::new(POLICY);
    let attempts: Vec<_> = (0..8).map(|_| bed.lease()).collect();
    for attempt in &attempts[..3] {
        bed.settle(*attempt, Some(FailureClass::Timeout));
    }
    assert_eq!(bed.state.tripped.as_ref().unwrap().trips, 1);
    for attempt in &attempts[3..7] {
        assert!(bed.settle(*attempt, Some(FailureClass::Timeout)).is_empty());
    }
    assert!(bed.settle(attempts[7], None).is_empty());
    assert_eq!(bed.state.tripped.as_ref().unwrap().trips, 1);
}

#[test]
fn failures_from_before_the_recovery_do_not_count_after_it() {
    let mut bed = Bed::new(POLICY);
    let old: Vec<_> = (0..3).map(|_| bed.lease()).collect();
    bed.open();
    bed.pass_the_breakers_wait();
    let probe = bed.lease();
    bed.settle(probe, None);
    for attempt in old {
        assert!(bed.settle(attempt, Some(FailureClass::Timeout)).is_empty());
    }
    assert!(bed.state.tripped.is_none());
}

#[test]
fn a_settle_that_is_being_written_already_holds() {
    for (class, held) in [
        (FailureClass::RateLimited, Held::BackOff),
        (FailureClass::Auth, Held::Parked),
    ] {
        let mut bed = Bed::new(POLICY);
        let attempt = bed.lease();
        let effects = bed.decide(attempt, Some(class));
        // What the queue says has not changed yet.
        bed.observe();
        let (Allowance::Until(_, by) | Allowance::Signal(by)) = bed.allowance() else {
            panic!("{class}: {:?}", bed.allowance())
        };
        assert_eq!(by, held);
        bed.make_durable(attempt, &effects);
        assert_eq!(bed.room(), 0);
    }
}

#[test]
fn a_settle_that_could_not_be_written_leaves_the_lane_as_the_queue_knows_it() {
    let mut bed = Bed::new(POLICY);
    let attempt = bed.lease();
    bed.decide(attempt, Some(FailureClass::Auth));
    bed.step(LaneEvent::Ended(attempt));
    bed.observe();
    assert_eq!(bed.allowance(), Allowance::Room(8));
}

#[test]
fn a_rate_limit_backs_the_whole_lane_off_and_what_waited_comes_one_by_one() {
    let mut bed = Bed::new(POLICY);
    let attempts: Vec<_> = (0..4).map(|_| bed.lease()).collect();
    bed.settle(attempts[0], Some(FailureClass::RateLimited));
    let until = bed.now.after(Duration::from_secs(5));
    assert_eq!(bed.allowance(), Allowance::Until(until, Held::BackOff));
    // Those that were under way say nothing of what comes after it.
    for attempt in &attempts[1..] {
        bed.settle(*attempt, None);
    }
    bed.now = until;
    assert_eq!(bed.allowance(), Allowance::Room(1));
    let attempt = bed.lease();
    bed.settle(attempt, None);
    assert_eq!(bed.room(), 2);
}

#[test]
fn a_connector_that_keeps_faulting_comes_down_to_one_call_and_back_with_what_gets_through() {
    let mut bed = Bed::new(POLICY);
    for room in [4, 2, 1, 1] {
        let attempt = bed.lease();
        bed.settle(attempt, Some(FailureClass::ConnectorFault));
        assert_eq!(bed.room(), room);
    }
    for room in [2, 4, 8] {
        let attempt = bed.lease();
        bed.settle(attempt, None);
        assert_eq!(bed.room(), room);
    }
}

#[test]
fn a_restart_keeps_an_open_breaker_open_and_then_probes() {
    let mut before = Bed::new(POLICY);
    before.open();
    let mut bed = Bed::new(POLICY);
    (bed.state, bed.now) = (before.state.clone(), before.now);
    bed.observe();
    assert!(matches!(bed.allowance(), Allowance::Until(_, Held::Breaker)));
    bed.pass_the_breakers_wait();
    bed.lease();
    assert_eq!(bed.allowance(), Allowance::Signal(Held::Probe));
}

#[test]
fn a_released_lane_forgets_what_held_it_and_begins_carefully() {
    let mut bed = Bed::new(POLICY);
    bed.open();
    bed.pass(1);
    bed.state = LaneState::released(bed.now);
    bed.observe();
    assert_eq!(bed.allowance(), Allowance::Room(1));
}

#[test]
fn an_attempt_that_a_release_has_outdated_holds_nothing() {
    let mut bed = Bed::new(POLICY);
    let attempt = bed.lease();
    bed.pass(1);
    bed.state = LaneState::released(bed.now);
    bed.observe();
    bed.decide(attempt, Some(FailureClass::Auth));
    bed.step(LaneEvent::Ended(attempt));
    assert_eq!(bed.room(), 1);
}

#[test]
fn a_lane_over_its_rate_waits_and_what_is_given_back_costs_nothing() {
    let rate = Rate {
        count: 2,
        per_ms: 1_000,
        burst: None,
    };
    let mut bed = Bed::new(LanePolicy {
        rate: Some(rate),
        ..POLICY
    });
    assert_eq!(bed.room(), 2);
    let attempt = bed.lease();
    bed.lease();
    assert_eq!(
        bed.allowance(),
        Allowance::Until(bed.now.after(Duration::from_millis(500)), Held::Rate)
    );
    bed.step(LaneEvent::GivenBack(attempt));
    assert_eq!(bed.room(), 1);
    bed.step(LaneEvent::Configured(POLICY));
    assert_eq!(bed.room(), 7);
}

#[test]
fn what_began_without_a_rate_puts_no_token_back() {
    let rate = Rate {
        count: 1,
        per_ms: 1_000,
        burst: None,
    };
    let mut bed = Bed::new(POLICY);
    let unmetered = bed.lease();
    bed.step(LaneEvent::Configured(LanePolicy {
        rate: Some(rate),
        ..POLICY
    }));
    bed.lease();
    bed.step(LaneEvent::GivenBack(unmetered));
    assert!(matches!(bed.allowance(), Allowance::Until(_, Held::Rate)));
}

#[test]
fn waits_from_another_clock_do_not_hold_a_lane() {
    let mut bed = Bed::new(POLICY);
    let far = bed.now.after(RETRY_AFTER_MAX);
    bed.state.back_off_until = Some(far);
    bed.observe();
    assert_eq!(bed.allowance(), Allowance::Until(far, Held::BackOff));
    bed.state.back_off_until = Some(far.after(Duration::from_millis(1)));
    bed.observe();
    assert!(bed.room() > 0);
    bed.open();
    bed.now = Timestamp::ZERO;
    assert_eq!(bed.allowance(), Allowance::Room(1));
}

#[test]
fn after_a_jump_of_the_clock_a_lane_begins_carefully() {
    let mut bed = Bed::new(POLICY);
    bed.step(LaneEvent::ClockJumped);
    assert_eq!(bed.allowance(), Allowance::Room(1));
}

#[test]
fn the_end_of_an_outage_does_not_make_what_waited_through_it_younger() {
    let mut bed = Bed::new(POLICY);
    bed.open();
    let until = bed.state.tripped.as_ref().unwrap().until;
    assert_eq!(bed.state.open_since(), until);
    bed.pass_the_breakers_wait();
    let probe = bed.lease();
    bed.settle(probe, None);
    assert_eq!(bed.state.open_since(), until);
}
