//! What holds a lane back and lets it go again: its breaker, its rate, a back-off, a delivery that ends the process, a stop.
//!
//! Times are taken where requests arrive, and only ever held against the least that they must be: a slow machine makes
//! everything later, and nothing wrong. That something does not happen is shown by a neighbour that is served meanwhile.

use std::time::{Duration, Instant, SystemTime};

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::{Attempt, Delivery, DeliveryState, FailureClass, Outcome, Timestamp};
use cofferdam_server::admin::views::Health;
use cofferdam_store::{Key, Keyspace, OpenOptions, Scan, Store};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, wait};
use serde_json::{Value, json};

use crate::connections::{probe, probe_server};

/// The server cuts times to whole milliseconds, and a wall clock may be slewed a little against ours.
const CLOCK_GRAIN: Duration = Duration::from_millis(5);

/// Enough retries, close together, for whatever a test does to a delivery.
const PATIENT: &str = "[policy.retry]\nschedule_ms = [0, 20, 20, 20, 20, 20, 20, 20]\nmax_age_ms = 600000\n";

async fn send(server: &Running, id: &str, connection: &str, data: Value) -> String {
    let accepted = server.api.send_event(id, &format!("test.{connection}"), data).await;
    accepted.accepted[0].correlation_id.to_string()
}

async fn send_many(server: &Running, count: usize, connection: &str) {
    for id in 0..count {
        send(server, &format!("{connection}-{id}"), connection, json!({"do": "call"})).await;
    }
}

async fn wait_all_delivered(server: &Running, count: u64, connection: &str) {
    wait::until("everything delivered", || async {
        (server.api.connection(connection).await.depth.delivered == count).then_some(())
    })
    .await;
}

/// A connection of the same server that is served at once: what a held lane had not begun by then, it does not begin.
struct Neighbour {
    upstream: Upstream,
}

impl Neighbour {
    async fn of(server: &Running) -> Self {
        let upstream = Upstream::start([], Answer::status(200)).await;
        server.api.apply(&probe("neighbour", &upstream, "")).await;
        Self { upstream }
    }

    async fn is_served(&self, server: &Running) {
        let served = self.upstream.asked().len();
        let correlation = send(server, &format!("n{served}"), "neighbour", json!({"do": "call"})).await;
        let delivered = server.api.wait_delivered(&correlation).await;
        assert_eq!((delivered.attempts.len(), self.upstream.asked().len()), (1, served + 1));
    }
}

fn end(attempt: &Attempt) -> &AttemptEnd {
    attempt.ended.as_ref().expect("the attempt has an end")
}

#[tokio::test]
async fn a_breaker_opens_after_failures_in_a_row_probes_once_and_lets_the_rest_go_by_the_ramp() {
    let fails = [Answer::status(503), Answer::status(503), Answer::status(503)];
    let target = Upstream::start(fails, Answer::held()).await;
    let server = probe_server().await;
    let policy = "[policy]\nconcurrency = 4\n[policy.breaker]\nfailures = 3\nopen_ms = 1000\nopen_max_ms = 2000\n";
    server
        .api
        .apply(&probe("p", &target, &format!("{policy}{PATIENT}")))
        .await;
    let neighbour = Neighbour::of(&server).await;

    let first = send(&server, "1", "p", json!({"do": "call"})).await;
    let view = wait::until("the open breaker", || async {
        let view = server.api.connection("p").await;
        (view.health == Health::BreakerOpen).then_some(view)
    })
    .await;
    let tripped = view.lane.tripped.unwrap();
    assert_eq!(tripped.trips, 1);
    let reason = view.reason.unwrap();
    for part in [
        format!("open since {}", tripped.since),
        "probes it".to_owned(),
        tripped.reason,
    ] {
        assert!(reason.contains(&part), "{part} in {reason}");
    }

    // Everything that comes now waits for the probe, before and while it is made.
    send_many(&server, 11, "p").await;
    let asked = target.wait_for(4).await;
    assert!(asked[3].at.duration_since(asked[2].at) + CLOCK_GRAIN >= Duration::from_secs(1));
    neighbour.is_served(&server).await;
    assert_eq!(target.asked().len(), 4, "one probe");
    let view = server.api.connection("p").await;
    assert_eq!(view.health, Health::BreakerOpen, "{:?}", view.reason);
    assert_eq!((view.depth.in_flight, view.depth.pending), (1, 11));

    // Each success lets twice as many go as before, up to the policy's four: in flight, and asked in all.
    for (in_flight, asked) in [(1, 5), (2, 7), (4, 10)] {
        target.release_one();
        target.wait_for(asked).await;
        neighbour.is_served(&server).await;
        assert_eq!(target.asked().len(), asked, "{in_flight} at once");
        assert_eq!(server.api.connection("p").await.depth.in_flight, in_flight);
    }
    let view = server.api.connection("p").await;
    assert_eq!((view.health, view.reason, view.lane.tripped), (Health::Ok, None, None));

    target.release();
    wait_all_delivered(&server, 12, "p").await;
    let trace = server.api.trace(&first).await;
    let first = &trace.events[0].deliveries[0];
    assert_eq!((first.attempts.len(), target.asked().len()), (4, 15));
    assert_eq!(
        end(&first.attempts[2]).failure.as_ref().unwrap().class,
        FailureClass::Dependency
    );
}

#[tokio::test]
async fn a_probe_that_fails_keeps_the_breaker_open_for_twice_as_long() {
    let target = Upstream::start([], Answer::status(503)).await;
    let server = probe_server().await;
    let breaker = "[policy.breaker]\nfailures = 1\nopen_ms = 500\nopen_max_ms = 60000\n";
    let file = probe("p", &target, &format!("{breaker}{PATIENT}"));
    server.api.apply(&file).await;
    let correlation = send(&server, "1", "p", json!({"do": "call"})).await;
    let view = wait::until("the third opening", || async {
        let view = server.api.connection("p").await;
        let trips = view.lane.tripped.as_ref().map_or(0, |tripped| tripped.trips);
        (trips >= 3).then_some(view)
    })
    .await;
    let reason = view.reason.unwrap();
    assert!(reason.contains("times in a row"), "{reason}");
    target.answer_with(Answer::status(200));
    server.api.wait_delivered(&correlation).await;
    let asked = target.asked();
    for (at, least_ms) in [(1, 500), (2, 1_000), (3, 2_000)] {
        let waited = asked[at].at.duration_since(asked[at - 1].at);
        let least = Duration::from_millis(least_ms);
        assert!(waited + CLOCK_GRAIN >= least, "{at}: {waited:?}");
    }
    assert_eq!(server.api.connection("p").await.health, Health::Ok);
}

#[tokio::test]
async fn an_open_breaker_outlasts_a_restart_closes_by_a_release_and_says_nothing_once_it_is_turned_off() {
    let target = Upstream::start([], Answer::status(503)).await;
    let server = probe_server().await;
    // Longer than any test waits.
    let breaker = |failures| {
        format!("[policy.breaker]\nfailures = {failures}\nopen_ms = 3600000\nopen_max_ms = 3600000\n{PATIENT}")
    };
    server.api.apply(&probe("p", &target, &breaker(1))).await;
    let neighbour = Neighbour::of(&server).await;
    let correlation = send(&server, "1", "p", json!({"do": "call"})).await;
    let opened = async |server: &Running, after: Timestamp| {
        wait::until("the open breaker", || async {
            let view = server.api.connection("p").await;
            let since = view.lane.tripped.as_ref()?.since;
            (view.health == Health::BreakerOpen && since > after).then_some(since)
        })
        .await
    };
    let first = opened(&server, Timestamp::ZERO).await;
    let server = server.kill().await.start().await;
    neighbour.is_served(&server).await;
    assert_eq!(opened(&server, Timestamp::ZERO).await, first);
    assert_eq!(target.asked().len(), 1);

    server.api.post("/v1/connections/p/release").await;
    opened(&server, first).await;
    let trace = server.api.trace(&correlation).await;
    let released_at = server.api.connection("p").await.lane.released_at.unwrap();
    let started: Vec<_> = trace.events[0].deliveries[0]
        .attempts
        .iter()
        .map(|attempt| attempt.started_at)
        .collect();
    // What begins in the very millisecond of the release counts as begun before it, and says nothing of the lane.
    let counted = started.iter().filter(|started| **started > released_at).count();
    assert_eq!(counted, 1, "{started:?} {released_at:?}");

    target.answer_with(Answer::status(200));
    let view = server.api.apply(&probe("p", &target, &breaker(0))).await;
    assert_eq!((view.health, view.reason), (Health::Ok, None));
    server.api.wait_delivered(&correlation).await;
}

#[tokio::test]
async fn a_lane_never_begins_more_than_its_rate_allows() {
    const COUNT: usize = 14;
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let rate = "[policy.rate]\ncount = 10\nper_ms = 1000\nburst = 2\n";
    server
        .api
        .apply(&probe("p", &target, &format!("{rate}{PATIENT}")))
        .await;
    let neighbour = Neighbour::of(&server).await;
    server.api.post("/v1/connections/p/disable").await;
    send_many(&server, COUNT, "p").await;
    let began = Instant::now();
    server.api.post("/v1/connections/p/enable").await;
    target.wait_for(3).await;
    neighbour.is_served(&server).await;
    wait_all_delivered(&server, COUNT as u64, "p").await;
    // Two at once, and from then on one every 100 ms.
    let asked = target.asked();
    assert_eq!(asked.len(), COUNT);
    for (at, asked) in asked.iter().enumerate().skip(2) {
        let (waited, least) = (asked.at - began, Duration::from_millis(100 * (at as u64 - 1)));
        assert!(waited + CLOCK_GRAIN >= least, "request {at} after {waited:?}");
    }
    // Waiting for its turn cost no delivery anything.
    let deliveries: Vec<Delivery> = server.api.get("/v1/deliveries?connection=p").await;
    assert!(
        deliveries
            .iter()
            .all(|delivery| (delivery.runs, delivery.charged) == (1, 1))
    );
}

/// IMF-fixdate (RFC 9110 section 5.6.7), cut to whole seconds.
fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = at.to_string();
    let (year, month, day, time) = (&text[..4], &text[5..7], &text[8..10], &text[11..19]);
    let weekday = DAYS[(at.as_millis() / 86_400_000 % 7) as usize];
    let month = MONTHS[month.parse::<usize>().unwrap() - 1];
    format!("{weekday}, {day} {month} {year} {time} GMT")
}

#[tokio::test]
async fn a_429_backs_the_whole_lane_off_until_the_time_that_either_form_of_retry_after_names() {
    for form in ["seconds", "date"] {
        let target = Upstream::start([], Answer::status(200)).await;
        let server = probe_server().await;
        server.api.apply(&probe("p", &target, PATIENT)).await;
        let neighbour = Neighbour::of(&server).await;
        let (began, date) = (
            Instant::now(),
            Timestamp::from_system(SystemTime::now() + Duration::from_secs(3)),
        );
        let (retry_after, whole_date) = match form {
            "seconds" => ("2".to_owned(), None),
            _ => (http_date(date), Some(date.as_millis() / 1_000 * 1_000)),
        };
        target.script([Answer::status(429).header("retry-after", retry_after)]);
        send(&server, "first", "p", json!({"do": "call"})).await;
        let view = wait::until("the lane's back-off", || async {
            let view = server.api.connection("p").await;
            view.lane.back_off_until.is_some().then_some(view)
        })
        .await;
        // The rest of the lane waits, and nobody else.
        send_many(&server, 3, "p").await;
        neighbour.is_served(&server).await;
        wait_all_delivered(&server, 4, "p").await;
        let asked = target.asked();
        assert_eq!(asked.len(), 5, "{form}");
        let not_before = match whole_date {
            None => asked[0].at + Duration::from_secs(2),
            Some(whole_ms) => began + Duration::from_secs(3) - Duration::from_millis(date.as_millis() - whole_ms),
        };
        for later in &asked[1..] {
            assert!(
                later.at + CLOCK_GRAIN >= not_before,
                "{form}: {:?} early",
                not_before - later.at
            );
        }
        if let Some(whole_ms) = whole_date {
            let until = view.lane.back_off_until.unwrap().as_millis();
            assert!(until >= whole_ms, "{until} is before the date, {whole_ms}");
        }
        let view = server.api.connection("p").await;
        assert_eq!(
            (view.health, view.reason),
            (Health::Ok, None),
            "a back-off that is over says nothing"
        );
    }
}

#[tokio::test]
async fn a_delivery_that_ends_with_the_process_again_and_again_is_poison_and_holds_up_nobody() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    let policy = "[policy.retry]\nschedule_ms = [0, 20, 20]\nmax_age_ms = 600000\ninterruptions_max = 2\n";
    server.api.apply(&probe("p", &target, policy)).await;
    let act = |path: &str| json!({"do": "call", "method": "POST", "path": path, "body": "x"});

    let poison = send(&server, "poison", "p", act("/poison")).await;
    target.wait_for(1).await;
    target.script([Answer::held()]);
    let server = server.kill().await.start().await;
    target.wait_for(2).await;
    let between = send(&server, "between", "p", act("/well")).await;
    server.api.wait_delivered(&between).await;
    let server = server.kill().await.start().await;
    let after = send(&server, "after", "p", act("/well")).await;
    server.api.wait_delivered(&after).await;

    let dead = server.api.wait_dead(&poison).await;
    let failure = dead.delivery.last_failure.as_ref().unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::ConnectorFault, Some("poison"))
    );
    assert!(failure.ambiguous, "something has left");
    assert_eq!(dead.delivery.interruptions, 2);
    let ends: Vec<_> = dead.attempts.iter().map(|attempt| attempt.ended.is_some()).collect();
    assert_eq!(ends, [false, false, true]);
    let tried = || {
        let asked = target.asked();
        asked
            .into_iter()
            .filter(|asked| asked.uri.path() == "/poison")
            .collect::<Vec<_>>()
    };
    assert_eq!(tried().len(), 2, "the third time nothing is sent");
    let letters = server.api.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].delivery.id, dead.delivery.id);

    // A person may try it again: a series of its own, under the same key.
    server
        .api
        .post(&format!("/v1/dead-letters/{}/replay", dead.delivery.id))
        .await;
    let delivered = server.api.wait_delivered(&poison).await;
    assert_eq!(delivered.delivery.interruptions, 0);
    let tried = tried();
    assert_eq!(tried.len(), 3);
    assert!(
        tried
            .iter()
            .all(|asked| asked.header("idempotency-key") == delivered.delivery.idempotency_key)
    );
}

#[tokio::test]
async fn a_stop_with_a_hanging_upstream_gives_every_lease_back_within_its_bound() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup.config("\n[server]\ndrain_ms = 300\n").start().await;
    // Left to themselves both attempts would take longer than a test waits for anything.
    let slow = format!("[policy]\ndeadline_ms = 300000\nrequest_timeout_ms = 300000\ncpu_ms = 60000\n{PATIENT}");
    server.api.apply(&probe("hangs", &target, &slow)).await;
    server.api.apply(&probe("loops", &target, &slow)).await;
    let hangs = send(
        &server,
        "1",
        "hangs",
        json!({"do": "call", "method": "POST", "body": "x"}),
    )
    .await;
    let loops = send(&server, "2", "loops", json!({"do": "loop"})).await;
    target.wait_for(1).await;
    wait::until("the attempt that loops", || async {
        (server.api.connection("loops").await.depth.in_flight == 1).then_some(())
    })
    .await;
    // So that it is not begun again after the restart.
    server.api.post("/v1/connections/loops/disable").await;

    let (code, log, setup) = server.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("given back"), "{log}");
    assert_eq!(leases(&setup), 0);

    let server = setup.start().await;
    let delivered = server.api.wait_delivered(&hangs).await;
    let [drained, done] = delivered.attempts.as_slice() else {
        panic!("{:?}", delivered.attempts)
    };
    let failure = end(drained).failure.as_ref().unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::Timeout, Some("drained"))
    );
    assert!(failure.ambiguous, "something has left");
    assert!(matches!(end(drained).outcome, Outcome::Retry { charged: false, .. }));
    assert_eq!(end(done).outcome, Outcome::Delivered);
    assert_eq!((delivered.delivery.charged, delivered.delivery.interruptions), (1, 0));
    let asked = target.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("idempotency-key")).collect();
    assert_eq!(keys, [delivered.delivery.idempotency_key.as_str(); 2]);
    assert_eq!(
        server.api.connection("hangs").await.health,
        Health::Ok,
        "no word on its destination"
    );

    // Of this one nothing had left: it is as if it had not been begun.
    let trace = server.api.trace(&loops).await;
    let released = &trace.events[0].deliveries[0];
    assert!(matches!(released.delivery.state, DeliveryState::Pending { .. }));
    assert_eq!(
        (
            released.attempts.len(),
            released.delivery.charged,
            released.delivery.interruptions
        ),
        (0, 0, 0)
    );
}

/// Leases that a server which has stopped has left behind.
fn leases(setup: &Setup) -> usize {
    let store = Store::open(&OpenOptions::new(setup.data())).unwrap();
    store.scan(&Scan::prefix(Key::of(Keyspace::Lease), 10)).unwrap().len()
}
