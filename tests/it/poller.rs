//! Polls: on a schedule, page by page, each page and its cursor at once or not at all.

use std::collections::BTreeMap;

use cofferdam_domain::{DeliveryState, Event, FailureClass, Outcome, Timestamp};
use cofferdam_server::admin::kept::{PollAsked, Polling};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_store::{Batch, Engine, Key, Keyspace, OpenOptions, Scan, Store};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Feed, Running, Setup, wait};
use reqwest::Method;
use serde_json::{Value, json};

/// Polled once, and then not again while a test lasts.
const ONCE: &str = "[poll]\nevery = \"1d\"\n";

/// Retries that a test can wait for, and more of them than it makes fail.
const PATIENT: &str = "[policy.retry]\nschedule_ms = [0, 20, 20, 20, 20, 20, 20, 20]\nmax_age_ms = 600000\nfaults_max = 2\n\
                       interruptions_max = 100\n[policy.breaker]\nfailures = 0\n";

async fn feed_server() -> Running {
    Setup::new().plugin(&test_guest("feed")).start().await
}

fn file(name: &str, feed: &Feed, more: &str) -> String {
    format!(
        "name = \"{name}\"\nconnector = \"feed\"\n{}\n[upstreams.feed]\nbase_url = \"{}\"\nattach = \"none\"\nnetworks = \
         [\"127.0.0.0/8\"]\n{}\n",
        more.split("---").nth(1).unwrap_or_default(),
        feed.url(),
        more.split("---").next().unwrap_or_default(),
    )
}

/// A connection that is polled.
async fn polled(server: &Running, feed: &Feed, more: &str) {
    server.api.apply(&file("source", feed, more)).await;
}

/// A connection that brings every item to the feed again.
async fn delivered_back(server: &Running, feed: &Feed) {
    server
        .api
        .apply(&file(
            "sink",
            feed,
            &format!("{PATIENT}---subscribe = [\"test.item\"]\n"),
        ))
        .await;
}

async fn polling(server: &Running) -> Polling {
    server.api.connection("source").await.polling.unwrap()
}

/// Every event of this type that was taken in, oldest first.
async fn events(server: &Running, kind: &str) -> Vec<Event> {
    let mut events: Vec<Event> = server.api.get("/v1/events").await;
    events.retain(|event| event.kind == kind);
    events.reverse();
    events
}

/// Every item that was made an event of, by reading what is stored while no server runs.
fn items_stored(setup: &Setup, engine: Engine) -> Vec<Event> {
    let store = Store::open(&OpenOptions::new(setup.data()).engine(engine)).unwrap();
    let records = store.scan(&Scan::prefix(Key::of(Keyspace::Event), 4096)).unwrap();
    let events = records
        .iter()
        .map(|(_, raw)| serde_json::from_slice::<Event>(&raw[1..]).unwrap());
    events.filter(|event| event.kind == "test.item").collect()
}

/// What each item says of the state that its poll has found.
fn found(items: &[Event]) -> BTreeMap<String, u64> {
    let said = |event: &Event, name: &str| event.extensions[name].clone();
    let pairs = items
        .iter()
        .map(|event| (said(event, "item"), said(event, "polls").parse().unwrap()));
    pairs.collect()
}

/// The latest poll, once it stands so.
async fn wait_poll(server: &Running, wanted: impl Fn(&DeliveryTrace) -> bool) -> DeliveryTrace {
    wait::until("the poll's state", || async {
        let latest = polling(server).await.latest?;
        let trace = server.api.delivery(latest.delivery).await;
        wanted(&trace).then_some(trace)
    })
    .await
}

fn is_delivered(trace: &DeliveryTrace) -> bool {
    matches!(trace.delivery.state, DeliveryState::Delivered { .. })
}

/// The latest poll once it is delivered, and counted: it is seen a moment before.
async fn wait_settled(server: &Running) -> DeliveryTrace {
    let poll = wait_poll(server, is_delivered).await;
    wait::until("the settle's count", || async {
        (server.api.connection("source").await.depth.in_flight == 0).then_some(())
    })
    .await;
    poll
}

/// POST or DELETE that is refused; its code and sentence.
async fn refused(server: &Running, method: Method, path: &str) -> (u16, String, String) {
    let answer = server.api.request(method, path).send().await.unwrap();
    let status = answer.status().as_u16();
    let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("detail"))
}

async fn refused_file(server: &Running, file: String) -> String {
    let sent = server.api.request(Method::POST, "/v1/connections").body(file).send();
    let answer = sent.await.unwrap();
    assert_eq!(answer.status(), 400);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_feed_is_paged_through_to_its_end_at_once_and_each_item_is_an_event() {
    let feed = Feed::start(7, 3).await;
    let server = feed_server().await;
    delivered_back(&server, &feed).await;
    polled(&server, &feed, ONCE).await;
    wait::until("everything delivered", || async {
        (feed.delivered().len() == 7).then_some(())
    })
    .await;
    let last = wait_settled(&server).await;
    assert_eq!(feed.asked(), ["", "3", "6"]);
    let mut delivered = feed.delivered();
    delivered.sort();
    assert_eq!(delivered, (0..7).map(|item| format!("item-{item}")).collect::<Vec<_>>());

    // Every event is a trace of its own that names the poll; the pages of one run are one trace.
    let items = events(&server, "test.item").await;
    let polls = events(&server, "dev.cofferdam.poll").await;
    assert_eq!((items.len(), polls.len()), (7, 3));
    let run = &polls[0].correlation_id;
    assert!(polls.iter().all(|poll| poll.correlation_id == *run));
    for item in &items {
        assert_eq!(item.extensions.get("polledby").map(String::as_str), Some(run.as_str()));
        assert_eq!(server.api.trace(item.correlation_id.as_str()).await.events.len(), 1);
    }
    assert_eq!(server.api.trace(run.as_str()).await.events.len(), 3);

    // The attempt has what the connector noted, and what left.
    let end = last.attempts[0].ended.as_ref().unwrap();
    assert_eq!(end.outcome, Outcome::Delivered);
    assert_eq!(end.logs[0].message, "asks the feed");
    assert_eq!(end.trail.len(), 1);
    let summary = end.receipt.as_ref().unwrap().summary.as_deref();
    assert_eq!(summary, Some("1 event made"));

    // The cursor is shown by its size and hash, never itself.
    let view = polling(&server).await;
    let cursor = view.cursor.unwrap();
    assert_eq!((cursor.bytes, cursor.hash), (1, cofferdam_domain::Digest::of(b"7")));
    assert_eq!(view.schedule, "every 1d");
    assert!(view.next_due_at.unwrap() > view.latest.unwrap().made_at);
}

#[tokio::test]
async fn nobody_but_the_connection_is_owed_its_turn_whatever_they_subscribe_to() {
    let feed = Feed::start(1, 1).await;
    let server = feed_server().await;
    let everything = format!("{PATIENT}---subscribe = [\"*\"]\n");
    server.api.apply(&file("sink", &feed, &everything)).await;
    polled(&server, &feed, ONCE).await;
    wait::until("the item delivered", || async {
        (feed.delivered() == ["item-0"]).then_some(())
    })
    .await;
    wait_settled(&server).await;
    let depth = wait::until("its settle", || async {
        let depth = server.api.connection("sink").await.depth;
        (depth.delivered > 0).then_some(depth)
    })
    .await;
    assert_eq!((depth.delivered, depth.pending, depth.in_flight), (1, 0, 0));
    let polls = events(&server, "dev.cofferdam.poll").await;
    let trace = server.api.trace(polls[0].correlation_id.as_str()).await;
    assert_eq!(trace.events[0].deliveries.len(), 1);
}

/// Killed again and again while it pages, on either engine: not an item is lost, and none is made an event of twice, although
/// nothing about an item would tell the host that it has it.
async fn killed_at_many_points(engine: Engine, name: &str) {
    const ITEMS: usize = 120;
    let feed = Feed::start(ITEMS, 2).await;
    let setup = Setup::new()
        .plugin(&test_guest("feed"))
        .instead_of("[log]", &format!("[store]\nengine = \"{name}\"\n\n[log]"));
    let mut server = setup.start().await;
    delivered_back(&server, &feed).await;
    polled(&server, &feed, &format!("{ONCE}[state]\n{PATIENT}")).await;
    let last = (ITEMS - 2).to_string();
    for kill in 0..12 {
        // Anywhere between the request and the settle, or behind it.
        let more = feed.asked().len() + 1 + kill % 3;
        let at_end = wait::until("a page", || async {
            let asked = feed.asked();
            (asked.len() >= more || asked.contains(&last)).then(|| asked.contains(&last))
        })
        .await;
        server = server.kill().await.start().await;
        if at_end {
            break;
        }
    }
    wait::until("the end of the feed", || async {
        let view = polling(&server).await;
        let hash = cofferdam_domain::Digest::of(ITEMS.to_string().as_bytes());
        let at_end = view.cursor.is_some_and(|cursor| cursor.hash == hash);
        (at_end && view.next_due_at.is_some()).then_some(())
    })
    .await;
    wait::until("everything delivered", || async {
        (server.api.connection("sink").await.depth.delivered == ITEMS as u64).then_some(())
    })
    .await;
    // A page that was asked for twice was asked for by the same cursor; none was passed over.
    let mut cursors: Vec<usize> = feed.asked().iter().map(|it| it.parse().unwrap_or(0)).collect();
    assert!(cursors.is_sorted(), "{cursors:?}");
    cursors.dedup();
    assert_eq!(cursors, (0..ITEMS).step_by(2).collect::<Vec<_>>());
    let (_, _, setup) = server.stop().await;
    let items = items_stored(&setup, engine);
    assert_eq!(items.len(), ITEMS);
    // Its state counted the pages that were taken, and no others.
    let pages = (0..ITEMS).map(|item| (format!("item-{item}"), (item / 2) as u64));
    assert_eq!(found(&items), pages.collect());
}

#[tokio::test]
async fn killed_at_many_points_no_item_is_lost_or_taken_twice() {
    killed_at_many_points(Engine::Sled, "sled").await;
}

#[tokio::test]
async fn killed_at_many_points_no_item_is_lost_or_taken_twice_on_redb() {
    killed_at_many_points(Engine::Redb, "redb").await;
}

#[tokio::test]
async fn a_feed_that_fails_is_asked_again_behind_the_same_cursor_and_nothing_of_the_failure_is_kept() {
    let feed = Feed::start(4, 2).await;
    feed.instead("2", 503, &json!({}));
    // A 200 in words over a 500 on the wire, with an event and a cursor of its own.
    feed.instead("2", 500, &json!({"lie": true}));
    feed.instead("2", 200, &json!({"ids": ["half"], "next": "99", "do": "panic"}));
    let server = feed_server().await;
    polled(&server, &feed, &format!("{ONCE}[state]\n{PATIENT}")).await;
    let poll = wait_poll(&server, |poll| is_delivered(poll) && poll.attempts.len() == 4).await;
    assert_eq!(feed.asked(), ["", "2", "2", "2", "2"]);
    let classes: Vec<_> = poll
        .attempts
        .iter()
        .map(|attempt| {
            attempt
                .ended
                .as_ref()
                .unwrap()
                .failure
                .as_ref()
                .map(|failure| failure.class)
        })
        .collect();
    let (dependency, fault) = (Some(FailureClass::Dependency), Some(FailureClass::ConnectorFault));
    assert_eq!(classes, [dependency, dependency, fault, None]);
    assert_eq!(events(&server, "test.item").await.len(), 4);
    assert_eq!(
        found(&events(&server, "test.item").await)["item-3"],
        1,
        "three polls that failed counted nothing"
    );
}

#[tokio::test]
async fn nothing_new_is_an_answer_and_keeps_the_cursor() {
    let feed = Feed::start(1, 1).await;
    feed.instead("1", 304, &json!({}));
    let server = feed_server().await;
    polled(&server, &feed, ONCE).await;
    wait_settled(&server).await;
    let asked: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    let poll = wait_poll(&server, |poll| poll.delivery.id == asked.delivery && is_delivered(poll)).await;
    let summary = &poll.attempts[0]
        .ended
        .as_ref()
        .unwrap()
        .receipt
        .as_ref()
        .unwrap()
        .summary;
    assert_eq!(summary.as_deref(), Some("nothing new"));
    assert_eq!(
        polling(&server).await.cursor.unwrap().hash,
        cofferdam_domain::Digest::of(b"1")
    );
}

#[tokio::test]
async fn a_page_out_of_bounds_is_refused_whole_with_the_bound_that_it_breaks() {
    let server = feed_server().await;
    for (at, (answer, expected)) in [
        (
            json!({"do": "many", "count": 1001}),
            "1001 events on one page; 1000 are allowed",
        ),
        (
            json!({"do": "big-cursor", "count": 4097}),
            "the cursor has 4097 bytes; 4096 are allowed",
        ),
        (
            json!({"ids": ["good"], "do": "malformed"}),
            "event draft 2 of the page is malformed: type: must not be empty",
        ),
        (
            json!({"do": "host-type"}),
            "types that start with `dev.cofferdam.` are the host's own",
        ),
        (
            json!({"do": "big-data", "count": 1_048_577}),
            "data: larger than 1048576 bytes",
        ),
        (
            json!({"ids": ["a"], "more": true}),
            "says that there is more, with the cursor that it was handed",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let feed = Feed::start(0, 1).await;
        for _ in 0..9 {
            feed.instead("", 200, &answer);
        }
        polled(&server, &feed, &format!("{ONCE}{PATIENT}")).await;
        if at > 0 {
            server.api.post("/v1/connections/source/poll").await;
        }
        let poll = wait_poll(&server, |poll| {
            matches!(poll.delivery.state, DeliveryState::Dead { .. })
                && poll
                    .delivery
                    .last_failure
                    .as_ref()
                    .is_some_and(|failure| failure.message.contains(expected))
        })
        .await;
        let failure = poll.delivery.last_failure.unwrap();
        assert_eq!(
            (failure.class, failure.code.as_deref()),
            (FailureClass::ConnectorFault, Some("bad-return")),
            "{answer}"
        );
        assert_eq!(poll.attempts.len(), 2, "faults_max");
    }
    assert_eq!(events(&server, "test.item").await.len(), 0);
    // Each took the place of the one before: one dead letter is left, and none of the failures has left a cursor.
    assert_eq!(server.api.dead_letters().await.len(), 1);
    let view = polling(&server).await;
    assert_eq!(view.cursor, None);
    assert_eq!(view.latest.unwrap().failure_class, Some(FailureClass::ConnectorFault));

    // At the bounds a page is taken, and what only the host may say is the host's.
    let feed = Feed::start(0, 1).await;
    feed.instead("", 200, &json!({"do": "many", "count": 1000}));
    polled(&server, &feed, &format!("{ONCE}{PATIENT}")).await;
    server.api.post("/v1/connections/source/poll").await;
    let poll = wait_settled(&server).await;
    let receipt = poll.attempts[0].ended.as_ref().unwrap().receipt.clone().unwrap();
    assert_eq!(receipt.summary.as_deref(), Some("1000 events made"));
    feed.instead("", 200, &json!({"do": "forged"}));
    let asked: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    wait_poll(&server, |poll| poll.delivery.id == asked.delivery && is_delivered(poll)).await;
    let forged = events(&server, "test.item").await.pop().unwrap();
    assert_eq!(forged.extensions["polledby"], asked.correlation_id.as_str());
}

#[tokio::test]
async fn a_page_that_makes_more_than_one_batch_is_refused_with_what_to_do() {
    let feed = Feed::start(0, 1).await;
    feed.instead("", 200, &json!({"do": "many", "count": 1000}));
    feed.instead("", 200, &json!({"do": "many", "count": 1000}));
    let server = feed_server().await;
    // A thousand events owed to each of so many: some fifty megabytes of deliveries.
    for sink in 0..100 {
        let file = file(&format!("sink-{sink}"), &feed, "---subscribe = [\"test.item\"]\n");
        server.api.apply(&file).await;
        server.api.post(&format!("/v1/connections/sink-{sink}/disable")).await;
    }
    polled(&server, &feed, &format!("{ONCE}{PATIENT}")).await;
    let poll = wait_poll(&server, |poll| {
        matches!(poll.delivery.state, DeliveryState::Dead { .. })
    })
    .await;
    let failure = poll.delivery.last_failure.unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::ConnectorFault, Some("bad-return"))
    );
    assert!(failure.message.ends_with("return fewer at once"), "{}", failure.message);
    assert_eq!((poll.attempts.len(), poll.delivery.interruptions), (2, 0));
    assert_eq!(polling(&server).await.cursor, None);
    assert_eq!(server.api.connection("sink-0").await.depth.pending, 0);
    // The next page, which fits, is taken.
    feed.instead("", 200, &json!({"ids": ["one"], "next": "1"}));
    server.api.post("/v1/connections/source/poll").await;
    wait_settled(&server).await;
    assert_eq!(server.api.connection("sink-99").await.depth.pending, 1);
}

#[tokio::test]
async fn a_page_over_a_high_water_mark_waits_with_its_cursor_and_is_taken_when_there_is_room() {
    let feed = Feed::start(4, 2).await;
    let server = feed_server().await;
    let full = format!("[policy]\npending_max = 3\n{PATIENT}---subscribe = [\"test.item\"]\n");
    server.api.apply(&file("sink", &feed, &full)).await;
    server.api.post("/v1/connections/sink/disable").await;
    polled(&server, &feed, &format!("{ONCE}{PATIENT}")).await;
    // The first page finds room, the second not.
    let poll = wait_poll(&server, |poll| {
        poll.delivery.last_failure.is_some() && matches!(poll.delivery.state, DeliveryState::Pending { .. })
    })
    .await;
    let failure = poll.delivery.last_failure.unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::RateLimited, Some("lane-full-count"))
    );
    assert!(failure.message.contains("connection sink"), "{}", failure.message);
    let view = polling(&server).await;
    assert_eq!(view.cursor.unwrap().hash, cofferdam_domain::Digest::of(b"2"));
    assert_eq!(view.latest.unwrap().failure_class, Some(FailureClass::RateLimited));
    assert_eq!(poll.delivery.charged, 0, "a mark of the host's costs no attempt");
    // The source's own lane does not back off for it.
    let lane = server.api.connection("source").await.lane;
    assert_eq!(lane.back_off_until, None);

    server.api.post("/v1/connections/sink/enable").await;
    wait::until("room", || async { (feed.delivered().len() == 2).then_some(()) }).await;
    // Sooner than the wait that it was told.
    server.api.post("/v1/connections/source/poll").await;
    wait::until("everything delivered", || async {
        (feed.delivered().len() == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_poll_of_a_connection_is_made_at_a_time_and_calls_with_a_state_too() {
    let feed = Feed::start(40, 1).await;
    let server = feed_server().await;
    // It is owed what it makes, so polls and deliveries share a lane, and a state.
    let both = format!("{ONCE}[state]\n[policy]\nconcurrency = 8\n---subscribe = [\"test.item\"]\n");
    polled(&server, &feed, &both).await;
    wait::until("everything delivered", || async {
        (feed.delivered().len() == 40).then_some(())
    })
    .await;
    wait_settled(&server).await;
    assert_eq!(feed.most_at_once(), 1);
    // Polls and deliveries all saw what the one before had left: 40 pages and 40 deliveries.
    let size = server.api.connection("source").await.state_kept.unwrap().size.unwrap();
    assert_eq!(size.keys, 1);
    feed.grow(41);
    let asked: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    wait_poll(&server, |poll| poll.delivery.id == asked.delivery && is_delivered(poll)).await;
    assert_eq!(found(&events(&server, "test.item").await)["item-40"], 80);
}

/// Puts the last time of the schedule so long back, while no server runs.
async fn set_back(setup: &Setup, by_ms: u64) -> Timestamp {
    let store = Store::open(&OpenOptions::new(setup.data())).unwrap();
    let key = Key::of(Keyspace::ConnectorState)
        .text("default")
        .text("source")
        .bytes(b"p");
    let raw = store.get(key.clone()).unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&raw[1..]).unwrap();
    let last = record["last"].as_u64().unwrap() - by_ms;
    record["last"] = last.into();
    let mut batch = Batch::new();
    batch.put(key, [&[1][..], record.to_string().as_bytes()].concat());
    store.commit(batch).await.unwrap();
    Timestamp::from_millis(last)
}

#[tokio::test]
async fn times_that_passed_while_the_server_was_down_are_one_poll_or_none_as_the_file_says() {
    const HOUR: u64 = 3_600_000;
    for (missed, polls_after) in [("once", 2), ("skip", 1)] {
        let feed = Feed::start(1, 1).await;
        let server = feed_server().await;
        let hourly = format!("[poll]\nevery = \"1h\"\njitter = \"0s\"\nmissed = \"{missed}\"\n");
        polled(&server, &feed, &hourly).await;
        wait_settled(&server).await;
        let (_, _, setup) = server.stop().await;
        // As if it had been down for five hours and a half.
        let last = set_back(&setup, 5 * HOUR + HOUR / 2).await;
        let server = setup.start().await;
        let view = wait::until("the next time", || async {
            let view = polling(&server).await;
            view.next_due_at.is_some().then_some(view)
        })
        .await;
        if missed == "once" {
            feed.wait_asked(2).await;
        }
        let next = wait::until("the schedule's next time", || async {
            polling(&server).await.next_due_at
        })
        .await;
        assert_eq!(
            next,
            last.after(std::time::Duration::from_millis(6 * HOUR)),
            "{missed}: the rhythm is kept"
        );
        assert_eq!(feed.asked().len(), polls_after, "{missed}");
        assert_eq!(view.schedule, "every 1h");
        assert_eq!(
            events(&server, "dev.cofferdam.poll").await.len(),
            polls_after,
            "{missed}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_is_off_is_not_polled_and_nothing_piles_up() {
    let feed = Feed::start(1, 1).await;
    let server = feed_server().await;
    polled(&server, &feed, "[poll]\nevery = \"1s\"\n").await;
    wait_settled(&server).await;
    server.api.post("/v1/connections/source/disable").await;
    let wait = refused(&server, Method::POST, "/v1/connections/source/poll").await;
    assert_eq!((wait.0, wait.1.as_str()), (409, "disabled"));
    // A neighbour with the same schedule, made later, is polled three times meanwhile.
    let neighbour = Feed::start(1, 1).await;
    server
        .api
        .apply(&file("neighbour", &neighbour, "[poll]\nevery = \"1s\"\n"))
        .await;
    let before = feed.asked().len();
    neighbour.wait_asked(3).await;
    let view = server.api.connection("source").await;
    assert!(feed.asked().len() <= before + 1, "one may have been under way");
    assert_eq!((view.depth.pending, view.polling.unwrap().next_due_at), (0, None));
    // On again, what was missed is one poll.
    server.api.post("/v1/connections/source/enable").await;
    feed.wait_asked(before + 1).await;
}

#[tokio::test]
async fn a_poll_can_be_asked_for_hastened_and_begun_from_the_start() {
    let feed = Feed::start(2, 1).await;
    let server = feed_server().await;
    polled(&server, &feed, ONCE).await;
    wait::until("the end of the feed", || async {
        (feed.asked() == ["", "1"]).then_some(())
    })
    .await;
    wait_settled(&server).await;

    // One that waits for its time after a failure is due at once instead.
    let slow = format!("{ONCE}[policy.retry]\nschedule_ms = [0, 3600000]\n");
    polled(&server, &feed, &slow).await;
    feed.instead("2", 503, &json!({}));
    let first: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    assert!(!first.hastened);
    wait_poll(&server, |poll| {
        matches!(poll.delivery.state, DeliveryState::Pending { .. }) && poll.attempts.len() == 1
    })
    .await;
    let again: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    assert_eq!((again.delivery, again.hastened), (first.delivery, true));
    wait_poll(&server, |poll| poll.delivery.id == first.delivery && is_delivered(poll)).await;
    assert_eq!(feed.asked(), ["", "1", "2", "2"]);

    let reset = server
        .api
        .request(Method::DELETE, "/v1/connections/source/cursor")
        .send()
        .await
        .unwrap();
    assert!(reset.status().is_success());
    assert_eq!(polling(&server).await.cursor, None);
    server.api.post("/v1/connections/source/poll").await;
    wait::until("the feed from the start", || async {
        (feed.asked() == ["", "1", "2", "2", "", "1"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_grant_that_was_taken_away_holds_for_a_poll_that_waits_already() {
    let feed = Feed::start(0, 1).await;
    feed.instead("", 503, &json!({}));
    let server = feed_server().await;
    let slow = format!("{ONCE}[policy.retry]\nschedule_ms = [0, 3600000]\n");
    polled(&server, &feed, &slow).await;
    let poll = wait_poll(&server, |poll| {
        matches!(poll.delivery.state, DeliveryState::Pending { .. }) && poll.attempts.len() == 1
    })
    .await;
    server.api.post("/v1/connections/source/poll").await;
    feed.wait_asked(2).await;
    wait_settled(&server).await;

    // Dead, and replayed once there is no grant any more.
    feed.instead("0", 404, &json!({}));
    let asked: PollAsked = serde_json::from_value(server.api.post("/v1/connections/source/poll").await).unwrap();
    let id = asked.delivery;
    wait_poll(&server, |poll| {
        matches!(poll.delivery.state, DeliveryState::Dead { .. })
    })
    .await;
    polled(&server, &feed, "").await;
    let before = feed.asked().len();
    server.api.post(&format!("/v1/dead-letters/{id}/replay")).await;
    let refused = wait::until("the refusal", || async {
        let poll = server.api.delivery(id).await;
        let refused = |it: &cofferdam_domain::classify::Failure| it.code.as_deref() == Some("poll-not-granted");
        poll.delivery.last_failure.as_ref().is_some_and(refused).then_some(poll)
    })
    .await;
    assert!(matches!(refused.delivery.state, DeliveryState::Dead { .. }));
    assert_eq!(feed.asked().len(), before);
    assert_ne!(poll.delivery.id, id);
}

#[tokio::test]
async fn a_connector_that_says_more_and_nothing_else_is_asked_no_quicker_than_the_quickest_schedule() {
    let feed = Feed::start(0, 1).await;
    feed.instead("", 200, &json!({"next": "a", "more": true}));
    feed.instead("a", 200, &json!({"next": "b", "more": true}));
    let server = feed_server().await;
    polled(&server, &feed, ONCE).await;
    let last = wait_poll(&server, |poll| is_delivered(poll) && poll.delivery.runs == 1).await;
    let began = last.delivery.accepted_at;
    let at_end = wait::until("the third page", || async {
        let polls = events(&server, "dev.cofferdam.poll").await;
        (polls.len() == 3 && feed.asked().len() == 3).then_some(polls)
    })
    .await;
    let run = server.api.trace(at_end[0].correlation_id.as_str()).await;
    let started: Vec<_> = run
        .events
        .iter()
        .map(|it| it.deliveries[0].attempts[0].started_at)
        .collect();
    for (page, pair) in started.windows(2).enumerate() {
        assert!(pair[1].since(pair[0]).as_millis() >= 995, "page {page}: {started:?}");
    }
    assert!(began >= started[0]);
}

#[tokio::test]
async fn a_connection_that_is_deleted_and_made_again_begins_from_the_start() {
    let feed = Feed::start(1, 1).await;
    let server = feed_server().await;
    polled(&server, &feed, &format!("{ONCE}[state]\n")).await;
    wait_settled(&server).await;
    let deleted = server
        .api
        .request(Method::DELETE, "/v1/connections/source")
        .send()
        .await
        .unwrap();
    assert!(deleted.status().is_success());
    polled(&server, &feed, &format!("{ONCE}[state]\n")).await;
    assert_eq!(feed.wait_asked(2).await, ["", ""]);
    wait_settled(&server).await;
    let found: Vec<_> = events(&server, "test.item").await;
    assert_eq!(
        found
            .iter()
            .map(|event| event.extensions["polls"].as_str())
            .collect::<Vec<_>>(),
        ["0", "0"]
    );
}

#[tokio::test]
async fn a_schedule_that_cannot_be_used_is_refused_with_what_to_write() {
    let feed = Feed::start(0, 1).await;
    let server = Setup::new()
        .plugin(&test_guest("feed"))
        .plugin(&test_guest("probe"))
        .start()
        .await;
    for (poll, expected) in [
        (
            "[poll]\n",
            "poll.every is missing, and the connector names no interval of its own: write every",
        ),
        (
            "[poll]\nevery = \"500ms\"\n",
            "poll.every is 500ms; it must be 1s to 366d",
        ),
        ("[poll]\nevery = \"five minutes\"\n", "is no span of time"),
        (
            "[poll]\nevery = \"5m\"\ncron = \"* * * * *\"\n",
            "poll.cron stands beside poll.every",
        ),
        ("[poll]\ncron = \"* * *\"\n", "poll.cron has 3 fields; it must have 5"),
        (
            "[poll]\ncron = \"0 3 * * *\"\ntimezone = \"Mars/Olympus\"\n",
            "which this machine does not know",
        ),
        (
            "[poll]\nevery = \"1m\"\nmissed = \"twice\"\n",
            "unknown variant `twice`",
        ),
        ("[poll]\nevry = \"1m\"\n", "unknown field `evry`"),
        (
            "[state]\nbytes_max = 2097152\n",
            "this server allows 1048576 (host.state_bytes of its configuration)",
        ),
        (
            "[state]\nbytes_max = 10\n",
            "state.bytes_max is 10; it must be 1024 to 4194304",
        ),
    ] {
        let answer = refused_file(&server, file("source", &feed, poll)).await;
        assert!(answer.contains(expected), "{poll}: {answer}");
    }
    let probe = "name = \"p\"\nconnector = \"probe\"\n[poll]\nevery = \"1m\"\n".to_owned();
    let answer = refused_file(&server, probe).await;
    assert!(answer.contains("connector probe cannot be polled"), "{answer}");

    polled(&server, &feed, "").await;
    let answer = refused(&server, Method::POST, "/v1/connections/source/poll").await;
    assert_eq!((answer.0, answer.1.as_str()), (409, "no-schedule"));
}
