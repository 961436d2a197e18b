use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits(rate: Option<(u32, u64, Option<u32>)>, concurrency: Option<u16>) -> Limits {
    let rate = rate.map(|(count, per_ms, burst)| Rate { count, per_ms, burst });
    Limits { rate, concurrency }
}

fn budget(limits: Limits) -> Budget {
    let mut budget = Budget::default();
    budget.configure(limits, at(0));
    budget
}

fn asked_to_wait(wait: Duration, reason: HoldReason) -> Heard {
    Heard {
        hold: Some((wait, reason)),
        ..Heard::default()
    }
}

#[track_caller]
fn queued(entry: Result<Entry, Limited>) -> Ticket {
    match entry {
        Ok(Entry::Queued(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_limits_everything_goes_and_only_the_upstream_holds() {
    let mut budget = budget(Limits::default());
    for _ in 0..1000 {
        assert_eq!(budget.enter(at(0), ms(0)), Ok(Entry::Go));
    }
    budget.hear(asked_to_wait(ms(500), HoldReason::Refused), at(0));
    let held = Err(Limited {
        wait: ms(500),
        by: LimitedBy::Hold,
    });
    assert_eq!(budget.enter(at(0), ms(499)), held);
    let ticket = queued(budget.enter(at(0), ms(500)));
    assert_eq!(budget.ask(ticket, at(499), at(500)), Ok(Turn::Wait(Some(at(500)))));
    assert_eq!(budget.ask(ticket, at(500), at(500)), Ok(Turn::Go));
}

#[test]
fn who_comes_over_the_rate_waits_in_order_or_learns_when_it_would_be_his_turn() {
    let mut budget = budget(limits(Some((1, 100, Some(2))), None));
    assert_eq!(budget.enter(at(0), ms(300)), Ok(Entry::Go));
    assert_eq!(budget.enter(at(0), ms(300)), Ok(Entry::Go));
    let tickets: Vec<_> = (0..3).map(|_| queued(budget.enter(at(0), ms(300)))).collect();
    // The fourth in the queue would go at 400.
    let late = Err(Limited {
        wait: ms(400),
        by: LimitedBy::Rate,
    });
    assert_eq!(budget.enter(at(0), ms(399)), late);
    for (nth, ticket) in tickets.iter().enumerate() {
        let turn = at(100 * (nth as u64 + 1));
        assert_eq!(
            budget.ask(*ticket, at(turn.as_millis() - 1), at(300)),
            Ok(Turn::Wait(Some(turn)))
        );
        if let Some(behind) = tickets.get(nth + 1) {
            assert_eq!(
                budget.ask(*behind, turn, at(300)),
                Ok(Turn::Wait(None)),
                "not before its turn"
            );
        }
        assert_eq!(budget.ask(*ticket, turn, at(300)), Ok(Turn::Go));
    }
    assert_eq!(budget.standing(at(300)).in_use, 5);
}

#[test]
fn a_place_is_taken_until_its_holder_ends_and_the_wait_for_one_is_bounded() {
    let mut budget = budget(limits(None, Some(1)));
    assert_eq!(budget.enter(at(0), ms(10)), Ok(Entry::Go));
    let (first, second) = (queued(budget.enter(at(0), ms(10))), queued(budget.enter(at(0), ms(10))));
    assert_eq!(budget.ask(first, at(9), at(10)), Ok(Turn::Wait(None)));
    let over = Err(Limited {
        wait: PLACE_WAIT,
        by: LimitedBy::Concurrency,
    });
    assert_eq!(budget.ask(first, at(10), at(10)), over);
    assert_eq!(budget.ask(first, at(10), at(10)), over, "its place is given up");
    budget.end();
    assert_eq!(
        budget.ask(second, at(10), at(10)),
        Ok(Turn::Go),
        "free in the last moment"
    );
}

#[test]
fn a_hold_reaches_those_who_wait_already() {
    let mut budget = budget(limits(None, Some(1)));
    assert_eq!(budget.enter(at(0), ms(10)), Ok(Entry::Go));
    let waiting = queued(budget.enter(at(0), ms(10)));
    budget.hear(asked_to_wait(ms(5000), HoldReason::Refused), at(1));
    budget.end();
    let held = Err(Limited {
        wait: ms(5000),
        by: LimitedBy::Hold,
    });
    assert_eq!(budget.ask(waiting, at(1), at(10)), held);
    assert_eq!(budget.standing(at(1)).waiting, 0);
}

#[test]
fn a_hold_has_a_bound_by_its_reason_and_is_never_shortened_but_by_a_person() {
    for (reason, max) in [
        (HoldReason::Refused, RETRY_AFTER_MAX),
        (HoldReason::Spent, SPENT_HOLD_MAX),
    ] {
        for (asked, until) in [
            (max - ms(1), at(0).after(max - ms(1))),
            (max, at(0).after(max)),
            (max + ms(1), at(0).after(max)),
            (Duration::MAX, at(0).after(max)),
        ] {
            let mut budget = budget(Limits::default());
            budget.hear(asked_to_wait(asked, reason), at(0));
            assert_eq!(budget.standing(at(0)).hold, Some(Hold { until, reason }), "{asked:?}");
            budget.hear(asked_to_wait(ms(1), HoldReason::Refused), at(0));
            budget.hear(Heard::default(), at(0));
            assert_eq!(budget.standing(at(0)).hold.unwrap().until, until, "{asked:?}");
            budget.release();
            assert_eq!(budget.standing(at(0)).hold, None);
        }
    }
    let mut budget = budget(Limits::default());
    budget.hear(asked_to_wait(ms(0), HoldReason::Spent), at(0));
    assert_eq!(budget.enter(at(0), ms(0)), Ok(Entry::Go));
}

#[test]
fn what_is_left_upstream_is_shown_and_holds_nothing() {
    let mut budget = budget(Limits::default());
    let heard = Heard {
        remaining: Some(3),
        resets_in: Some(ms(700)),
        hold: None,
    };
    budget.hear(heard, at(100));
    let told = Told {
        remaining: 3,
        resets_at: Some(at(800)),
        at: at(100),
    };
    assert_eq!(budget.standing(at(100)).upstream, Some(told));
    assert_eq!(budget.enter(at(100), ms(0)), Ok(Entry::Go));
}

#[test]
fn changed_limits_hold_from_then_on_and_what_is_under_way_counts() {
    let mut budget = budget(limits(None, Some(3)));
    for _ in 0..3 {
        assert_eq!(budget.enter(at(0), ms(0)), Ok(Entry::Go));
    }
    budget.configure(limits(Some((1, 1000, None)), Some(2)), at(0));
    budget.end();
    let waiting = queued(budget.enter(at(0), ms(10)));
    assert_eq!(
        budget.ask(waiting, at(0), at(10)),
        Ok(Turn::Wait(None)),
        "two are under way"
    );
    budget.end();
    assert_eq!(budget.ask(waiting, at(0), at(10)), Ok(Turn::Go));
    budget.configure(limits(Some((1, 1000, None)), None), at(1));
    assert_eq!(budget.standing(at(1)).tokens, Some(0), "the same rate keeps its bucket");
    budget.configure(Limits::default(), at(1));
    assert_eq!(budget.enter(at(1), ms(0)), Ok(Entry::Go));
}

#[test]
fn the_strictest_of_each_holds() {
    let check = |one: Limits, two: Limits, expected: Limits| {
        assert_eq!(one.strictest(two), expected);
        assert_eq!(two.strictest(one), expected);
        assert_eq!(expected.strictest(one), expected);
    };
    let none = Limits::default();
    let slow = limits(Some((1, 1000, None)), None);
    check(none, none, none);
    check(none, slow, slow);
    check(
        slow,
        limits(Some((100, 60_000, None)), Some(4)),
        limits(Some((1, 1000, None)), Some(4)),
    );
    // 2 in a second is slower than 1,000 in a minute, and the smaller burst is the other's.
    check(
        limits(Some((2, 1000, Some(20))), Some(9)),
        limits(Some((1000, 60_000, Some(5))), Some(8)),
        limits(Some((2, 1000, Some(5))), Some(8)),
    );
}

#[test]
fn only_what_would_be_the_same_anew_is_idle() {
    let mut budget = budget(limits(Some((1, 100, None)), Some(1)));
    assert!(budget.is_idle(at(0)));
    assert_eq!(budget.enter(at(0), ms(0)), Ok(Entry::Go));
    assert!(!budget.is_idle(at(100)), "under way");
    budget.end();
    assert!(!budget.is_idle(at(99)) && budget.is_idle(at(100)), "its bucket fills");
    budget.hear(asked_to_wait(ms(50), HoldReason::Spent), at(100));
    assert!(!budget.is_idle(at(149)) && budget.is_idle(at(150)), "held");
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Come { patience: u64, lasts: u64 },
    Hear { wait: u64, refused: bool },
    Pass { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u64..400, 1u64..300).prop_map(|(patience, lasts)| Step::Come { patience, lasts }),
        1 => (0u64..500, any::<bool>()).prop_map(|(wait, refused)| Step::Hear { wait, refused }),
        3 => (1u64..200).prop_map(|by| Step::Pass { by }),
    ]
}

/// What callers of a budget do, a millisecond at a time.
struct Bed {
    budget: Budget,
    now: u64,
    held_until: u64,
    running: Vec<u64>,
    waiting: Vec<(Ticket, u64, u64)>,
    started: Vec<u64>,
    order: Vec<Ticket>,
}

impl Bed {
    fn began(&mut self, lasts: u64) -> Result<(), TestCaseError> {
        prop_assert!(
            self.now >= self.held_until,
            "began at {} before {}",
            self.now,
            self.held_until
        );
        self.started.push(self.now);
        self.running.push(self.now + lasts);
        Ok(())
    }

    fn poll(&mut self) -> Result<(), TestCaseError> {
        let (ended, running) = self.running.iter().partition(|end| **end <= self.now);
        self.running = running;
        for _ in 0..Vec::<u64>::len(&ended) {
            self.budget.end();
        }
        for (ticket, deadline, lasts) in std::mem::take(&mut self.waiting) {
            match self.budget.ask(ticket, at(self.now), at(deadline)) {
                Ok(Turn::Go) => {
                    self.order.push(ticket);
                    self.began(lasts)?;
                }
                Ok(Turn::Wait(until)) => {
                    prop_assert!(self.now < deadline, "nobody waits past his patience");
                    prop_assert!(until.is_none_or(|until| until > at(self.now) && until <= at(deadline)));
                    self.waiting.push((ticket, deadline, lasts));
                }
                Err(limited) => prop_assert!(limited.wait > ms(0)),
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_goes_over_the_limits_or_out_of_turn(
        rate in prop::option::of((1u32..20, 1u64..500, prop::option::of(1u32..10))),
        concurrency in prop::option::of(1u16..6),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut bed = Bed {
            budget: budget(limits(rate, concurrency)),
            now: 0,
            held_until: 0,
            running: Vec::new(),
            waiting: Vec::new(),
            started: Vec::new(),
            order: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Come { patience, lasts } => match bed.budget.enter(at(bed.now), ms(patience)) {
                    Ok(Entry::Go) => {
                        prop_assert!(bed.waiting.is_empty(), "nobody overtakes");
                        bed.began(lasts)?;
                    }
                    Ok(Entry::Queued(ticket)) => bed.waiting.push((ticket, bed.now + patience, lasts)),
                    Err(limited) => prop_assert!(limited.wait > ms(patience)),
                },
                Step::Hear { wait, refused } => {
                    let reason = if refused { HoldReason::Refused } else { HoldReason::Spent };
                    bed.budget.hear(asked_to_wait(ms(wait), reason), at(bed.now));
                    bed.held_until = bed.held_until.max(bed.now + wait);
                }
                Step::Pass { by } => {
                    for _ in 0..by {
                        bed.now += 1;
                        bed.poll()?;
                    }
                }
            }
            bed.poll()?;
            if let Some(concurrency) = concurrency {
                prop_assert!(bed.running.len() <= concurrency.into());
            }
            let standing = bed.budget.standing(at(bed.now));
            prop_assert_eq!((standing.in_use, standing.waiting), (bed.running.len(), bed.waiting.len()));
        }
        prop_assert!(bed.order.is_sorted(), "first come, first served");
        if let Some((count, per_ms, burst)) = rate {
            let burst = u64::from(burst.unwrap_or(count));
            for (first, from) in bed.started.iter().enumerate() {
                for (last, to) in bed.started.iter().enumerate().skip(first) {
                    let most = burst + (to - from) * u64::from(count) / per_ms + 1;
                    prop_assert!((last - first + 1) as u64 <= most, "{} in {} ms", last - first + 1, to - from);
                }
            }
        }
        // Nobody is left behind: with the running ended and the holds over, all have gone or given up.
        bed.now += 2_000;
        for _ in 0..500 {
            bed.poll()?;
            bed.now += 1;
        }
        prop_assert!(bed.waiting.is_empty());
    }
}
