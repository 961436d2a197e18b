//! When a connection is polled: what a schedule misses, what a person asks for, and what ends or begins it.

use super::*;

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
            "[poll]\ncron = \"0 3 L * *\"\n",
            "poll.cron has L as its day of month; L is not taken",
        ),
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
            "this server allows 1048576 (host.maximum.state_bytes of its configuration)",
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
