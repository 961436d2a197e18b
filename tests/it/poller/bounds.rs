//! Pages that are too large, wrong, or come when too much waits already: none of them is taken by half.

use super::*;

#[tokio::test]
async fn a_page_out_of_bounds_is_refused_whole_with_the_bound_that_it_breaks() {
    let server = feed_server().await;
    for (at, (answer, expected)) in [
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
