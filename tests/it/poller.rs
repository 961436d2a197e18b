//! Polls: on a schedule, page by page, each page and its cursor at once or not at all.

mod bounds;
mod times;

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
