use cofferdam_domain::{CorrelationId, DeliveryId, EventId};
use cofferdam_store::{Key, Keyspace, Scan};

use super::*;
use crate::{Retention, Retired};

const FOREVER: Retention = Retention {
    delivered_days: 0,
    bodies_days: 0,
    attempts_days: 0,
    dead_days: 0,
    bodies_bytes: 0,
    attempts_bytes: 0,
};

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// What one event left behind.
struct Trace {
    event: EventId,
    correlation: CorrelationId,
    delivery: DeliveryId,
}

impl Bed {
    /// An event that came to this end, after one attempt.
    async fn ended(&self, how: Outcome, body: &[u8], now: Timestamp) -> Trace {
        let accepted = self.accept(owed(body, None, now), now).await;
        let leased = self.lease(now).await.unwrap();
        let class = (how == Outcome::Dead).then_some(FailureClass::Schema);
        self.queue.settle(leased, outcome(how, class, now)).await.unwrap();
        Trace {
            event: accepted.event_id,
            correlation: accepted.correlation_id,
            delivery: accepted.deliveries[0],
        }
    }

    /// Everything that there is to retire, in as many calls as it takes.
    async fn retire_all(&self, now: Timestamp, retention: &Retention) -> Retired {
        let mut total = Retired::default();
        loop {
            let retired = self.queue.retire(now, retention).await.unwrap();
            total.events += retired.events;
            total.deliveries += retired.deliveries;
            total.dead += retired.dead;
            total.bodies += retired.bodies;
            total.attempts += retired.attempts;
            if !retired.more {
                return total;
            }
        }
    }

    /// Event, body, attempts, delivery, listed by correlation.
    fn kept(&self, trace: &Trace) -> [bool; 5] {
        let queue = &self.queue;
        [
            queue.event(&home(), trace.event).unwrap().is_some(),
            queue.body(&home(), trace.event).unwrap().is_some(),
            !queue.attempts(&home(), trace.delivery).unwrap().is_empty(),
            queue.delivery(&home(), trace.delivery).unwrap().is_some(),
            !queue
                .events_by_correlation(&home(), &trace.correlation, 1)
                .unwrap()
                .is_empty(),
        ]
    }

    fn records(&self) -> usize {
        let spaces = [
            Keyspace::Event,
            Keyspace::Body,
            Keyspace::Delivery,
            Keyspace::Due,
            Keyspace::Lease,
            Keyspace::Delivered,
            Keyspace::Dead,
            Keyspace::Correlation,
            Keyspace::FanOut,
            Keyspace::Attempt,
        ];
        let all = spaces.map(|space| {
            self.queue
                .store
                .keys(&Scan::prefix(Key::of(space), 9999))
                .unwrap()
                .len()
        });
        all.iter().sum()
    }
}

#[tokio::test]
async fn each_kind_of_record_goes_when_it_is_old_enough_and_not_before() {
    let whole = [true; 5];
    let gone = [false; 5];
    let without_body = [true, false, true, true, true];
    let without_attempts = [true, true, false, true, true];
    let only = |change: fn(&mut Retention)| {
        let mut retention = FOREVER;
        change(&mut retention);
        retention
    };
    for (retention, delivered, dead) in [
        (FOREVER, whole, whole),
        (only(|it| it.delivered_days = 3), gone, whole),
        (only(|it| it.bodies_days = 3), without_body, whole),
        (only(|it| it.attempts_days = 3), without_attempts, whole),
        (only(|it| it.dead_days = 3), whole, gone),
    ] {
        let bed = Bed::new().await;
        let traces = [
            bed.ended(Outcome::Delivered, b"{}", at(0)).await,
            bed.ended(Outcome::Dead, b"{}", at(0)).await,
        ];
        let kept = |bed: &Bed| traces.each_ref().map(|trace| bed.kept(trace));
        let early = Timestamp::from_millis(at(0).after(days(3)).as_millis() - 1);
        assert_eq!(bed.retire_all(early, &retention).await, Retired::default());
        assert_eq!(kept(&bed), [whole, whole], "{retention:?}");
        bed.retire_all(at(0).after(days(3)), &retention).await;
        assert_eq!(kept(&bed), [delivered, dead], "{retention:?}");
        let counts = bed.depth();
        let bed = bed.reopened(at(0).after(days(3))).await;
        assert_eq!(bed.depth(), counts, "{retention:?}");
        assert_eq!(kept(&bed), [delivered, dead], "{retention:?}");
    }
}

#[tokio::test]
async fn what_waits_keeps_its_event_and_everything_about_it() {
    let bed = Bed::new().await;
    let mut accept = owed(b"{}", None, at(0));
    accept
        .fan_out
        .push(Owed::deliver("off".parse().unwrap(), Duration::ZERO));
    let accepted = bed.accept(accept, at(0)).await;
    let leased = bed.lease(at(0)).await.unwrap();
    bed.queue
        .settle(leased, outcome(Outcome::Delivered, None, at(0)))
        .await
        .unwrap();
    let records = bed.records();
    let shortest = Retention {
        delivered_days: 1,
        bodies_days: 1,
        dead_days: 1,
        bodies_bytes: 1,
        ..FOREVER
    };
    let later = at(0).after(days(400));
    assert_eq!(bed.retire_all(later, &shortest).await, Retired::default());
    assert_eq!(bed.records(), records);
    let off = "off".parse().unwrap();
    let leased = bed.queue.lease(&home(), &off, terms(later, 1)).await.unwrap().unwrap();
    assert_eq!(
        (leased.event.id, leased.body.as_slice()),
        (accepted.event_id, &b"{}"[..])
    );
}

#[tokio::test]
async fn nothing_at_all_is_left_of_what_is_retired() {
    let bed = Bed::new().await;
    for number in 0..600u32 {
        let how = if number % 3 == 0 {
            Outcome::Dead
        } else {
            Outcome::Delivered
        };
        bed.ended(how, b"{}", at(number.into())).await;
    }
    // Owed to nobody, given up, and retried many times.
    let mut nobodys = owed(b"{}", None, at(0));
    nobodys.fan_out.clear();
    bed.accept(nobodys, at(0)).await;
    let given_up = bed.ended(Outcome::Dead, b"{}", at(0)).await;
    bed.queue
        .discard(&home(), given_up.delivery, at(0), "anna")
        .await
        .unwrap();
    bed.accept(owed(b"{}", None, at(0)), at(0)).await;
    for _ in 0..300 {
        let leased = bed.lease(at(0)).await.unwrap();
        let again = Outcome::Retry {
            due_at: at(0),
            charged: true,
        };
        let again = outcome(again, Some(FailureClass::Dependency), at(0));
        bed.queue.settle(leased, again).await.unwrap();
    }
    let leased = bed.lease(at(0)).await.unwrap();
    bed.queue
        .settle(leased, outcome(Outcome::Delivered, None, at(0)))
        .await
        .unwrap();
    assert_eq!(bed.depth(), [0, 0, 200, 401]);
    let other = event_in("other".parse().unwrap(), b"{}", None, at(0));
    bed.accept(Accept::new(other, Vec::new()), at(0)).await;
    let later = at(0).after(days(100));
    let young = bed.ended(Outcome::Delivered, b"{}", later).await;
    let retired = bed.retire_all(later, &Retention::default()).await;
    assert_eq!((retired.events, retired.deliveries, retired.dead), (604, 602, 200));
    assert_eq!(retired.attempts, 600 + 1 + 301);
    assert_eq!(bed.kept(&young), [true; 5]);
    // Event, body, delivery, delivered, correlation, fan-out and attempt of the one that is young.
    assert_eq!(bed.records(), 7);
    assert_eq!(bed.depth(), [0, 0, 0, 1]);
    assert_eq!(bed.reopened(later).await.depth(), [0, 0, 0, 1]);
}

#[tokio::test]
async fn each_call_does_a_bounded_amount_and_the_next_goes_on() {
    let bed = Bed::new().await;
    let nobodys = (0..1000).map(|_| {
        let mut accept = owed(b"{}", None, at(0));
        accept.fan_out.clear();
        accept
    });
    bed.queue.accept(nobodys.collect(), at(0)).await.unwrap();
    let retention = Retention {
        delivered_days: 1,
        ..FOREVER
    };
    let later = at(0).after(days(2));
    let first = bed.queue.retire(later, &retention).await.unwrap();
    assert!(first.more && (1..=256).contains(&first.events), "{first:?}");
    // A call that is given up in the middle takes nothing away.
    tokio::select! {
        biased;
        _ = bed.queue.retire(later, &retention) => {}
        () = std::future::ready(()) => {}
    }
    let rest = bed.retire_all(later, &retention).await;
    assert!(bed.records() == 0 && rest.events <= 1000 - first.events, "{rest:?}");
}

#[tokio::test]
async fn bodies_and_attempts_over_the_bound_go_oldest_first_and_only_of_what_is_done() {
    let bed = Bed::new().await;
    let mut traces = Vec::new();
    for ms in 0..6 {
        let how = if ms == 0 { Outcome::Dead } else { Outcome::Delivered };
        traces.push(bed.ended(how, &[7; 100], at(ms)).await);
    }
    let bodies = |bed: &Bed| traces.iter().map(|trace| bed.kept(trace)[1]).collect::<Vec<_>>();
    let bound = |bytes| Retention {
        bodies_bytes: bytes,
        ..FOREVER
    };
    let hour = |hours| at(9).after(Duration::from_hours(hours));
    bed.retire_all(hour(0), &bound(600)).await;
    assert_eq!(bodies(&bed), [true; 6]);
    // Weighed once an hour, also by those that call more often.
    bed.retire_all(Timestamp::from_millis(hour(1).as_millis() - 1), &bound(300))
        .await;
    assert_eq!(bodies(&bed), [true; 6]);
    bed.retire_all(hour(1), &bound(300)).await;
    assert_eq!(
        bodies(&bed),
        [true, false, false, true, true, true],
        "the dead letter keeps its own"
    );
    let attempts = |bed: &Bed| traces.iter().filter(|trace| bed.kept(trace)[2]).count();
    let heavy = Retention {
        attempts_bytes: 1,
        ..FOREVER
    };
    assert_eq!(attempts(&bed), 6);
    bed.retire_all(hour(2), &heavy).await;
    assert_eq!(attempts(&bed), 1, "the dead letter's");
}

#[tokio::test]
async fn a_dead_letter_that_is_replayed_while_it_is_retired_stays_whole() {
    let bed = Bed::new().await;
    let trace = bed.ended(Outcome::Dead, b"{}", at(0)).await;
    let later = at(0).after(days(100));
    let held = bed.hold_commits();
    let workspace = home();
    let replay = bed.queue.replay(&workspace, trace.delivery, later, "anna");
    let retention = Retention::default();
    let retire = bed.queue.retire(later, &retention);
    let (replayed, retired, ()) = tokio::join!(biased; replay, retire, async { drop(held) });
    replayed.unwrap();
    assert_eq!(retired.unwrap().events, 0);
    assert_eq!(bed.depth(), [1, 0, 0, 0]);
    assert_eq!(bed.lease(later).await.unwrap().delivery.id, trace.delivery);
}

#[tokio::test]
async fn a_start_counts_what_was_delivered_by_its_tally_and_what_came_after() {
    const MANY: u64 = 1100;
    let mut bed = Bed::new().await;
    let requests = (0..MANY).map(|ms| owed(b"{}", None, at(ms)));
    bed.queue.accept(requests.collect(), at(0)).await.unwrap();
    let deliver = async |bed: &Bed, now: Timestamp| {
        let leased = bed.queue.lease_many(&home(), &sink(), terms(now, 64)).await.unwrap();
        for leased in leased {
            bed.queue
                .settle(leased, outcome(Outcome::Delivered, None, now))
                .await
                .unwrap();
        }
    };
    while bed.depth()[0] > 0 {
        deliver(&bed, at(5)).await;
    }
    let hour = at(0).after(Duration::from_hours(1));
    bed.queue.sweep(hour).await.unwrap();
    let tally = bed.queue.tallies().unwrap().remove(&(home(), sink())).unwrap();
    assert_eq!(tally.delivered, MANY);
    // One after it, and one with a clock that stands before it.
    for now in [hour, at(6)] {
        bed.accept(owed(b"{}", None, now), now).await;
        deliver(&bed, now).await;
        bed = bed.reopened(hour).await;
    }
    assert_eq!(bed.depth(), [0, 0, 0, MANY + 2]);
    let retired = bed.retire_all(hour.after(days(31)), &Retention::default()).await;
    assert_eq!(retired.events, MANY + 2);
    assert_eq!(bed.depth(), [0; 4]);
    assert_eq!(bed.reopened(hour).await.depth(), [0; 4]);
}

#[tokio::test]
async fn whoever_calls_until_nothing_is_left_comes_to_an_end() {
    let bed = Bed::new().await;
    // More bodies than fit into one look, and none of them old enough; of attempts there are none.
    let nobodys = (0..700).map(|_| {
        let mut accept = owed(b"{}", None, at(0));
        accept.fan_out.clear();
        accept
    });
    bed.queue.accept(nobodys.collect(), at(0)).await.unwrap();
    let mut calls = 0;
    let weighing = Retention {
        bodies_bytes: 1 << 20,
        ..Retention::default()
    };
    for _ in 0..2 {
        loop {
            calls += 1;
            assert!(calls < 20);
            if !bed.queue.retire(at(0), &weighing).await.unwrap().more {
                break;
            }
        }
    }
    assert_eq!(bed.records(), 3 * 700);
}
