//! Dead letters in bulk: found, counted, replayed and discarded by filter, by a job that survives the process.

use cofferdam_domain::{DeliveryState, FailureClass};
use cofferdam_server::admin::views::{DeadLetterDetail, DeadLetterPage};
use cofferdam_server::admin::{BulkAnswer, Redrive, RedriveState};
use cofferdam_tests::{Answer, Running, Upstream, api, wait};
use reqwest::{Method, Response};
use serde_json::json;

use crate::connections::{QUICK, probe, probe_server};

/// A request to the bulk API, and its answer as it is.
async fn ask(server: &Running, what: &str, body: serde_json::Value) -> Response {
    let request = server.api.request(Method::POST, &format!("/v1/dead-letters/{what}"));
    request
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

async fn begin(server: &Running, what: &str, body: serde_json::Value) -> Redrive {
    match api::read(ask(server, what, body).await).await {
        BulkAnswer::Redrive(redrive) => *redrive,
        BulkAnswer::Preview(preview) => panic!("{preview:?}"),
    }
}

async fn redrive(server: &Running, redrive: &Redrive) -> Redrive {
    server.api.get(&format!("/v1/redrives/{}", redrive.id)).await
}

async fn ended(server: &Running, begun: &Redrive) -> Redrive {
    wait::until("the redrive's end", || async {
        let redrive = redrive(server, begun).await;
        (redrive.state != RedriveState::Running).then_some(redrive)
    })
    .await
}

/// This many dead letters of a connection whose upstream says 422.
async fn dead(server: &Running, connection: &str, count: usize) -> Vec<String> {
    let mut correlations = Vec::new();
    for number in 0..count {
        let accepted = server
            .api
            .send_event(
                &format!("{connection}-{number}"),
                &format!("test.{connection}"),
                json!({"do": "call"}),
            )
            .await;
        correlations.push(accepted.accepted[0].correlation_id.to_string());
    }
    for correlation in &correlations {
        server.api.wait_dead(correlation).await;
    }
    correlations
}

#[tokio::test]
async fn dead_letters_are_found_page_by_page_and_one_shows_what_its_last_attempt_met() {
    let target = Upstream::start([], Answer::status(422)).await;
    let server = probe_server().await;
    for name in ["a", "b"] {
        server.api.apply(&probe(name, &target, QUICK)).await;
    }
    dead(&server, "a", 3).await;
    dead(&server, "b", 1).await;
    let (mut seen, mut query) = (Vec::new(), "limit=2&type=test.*&class=schema".to_owned());
    loop {
        let page: DeadLetterPage = server.api.get(&format!("/v1/dead-letters?{query}")).await;
        seen.extend(page.letters.into_iter().map(|letter| letter.delivery));
        let Some(next) = page.next else { break };
        query = format!("limit=2&type=test.*&class=schema&cursor={next}");
    }
    assert_eq!(seen.len(), 4);
    for (query, count) in [
        ("type=test.a", 3),
        ("type=test.none", 0),
        ("connection=b", 1),
        ("since=2020-01-01T00:00:00Z", 4),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        let page: DeadLetterPage = server.api.get(&format!("/v1/dead-letters?{query}")).await;
        assert_eq!(page.letters.len(), count, "{query}");
    }
    for bad in ["limit=0", "limit=201", "cursor=x", "since=soon", "type=", "conection=a"] {
        let path = format!("/v1/dead-letters?{bad}");
        let answer = server.api.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{bad}");
    }
    let detail: DeadLetterDetail = server.api.get(&format!("/v1/dead-letters/{}", seen[0].id)).await;
    let end = detail.last_attempt.unwrap().ended.unwrap();
    assert_eq!(end.failure.unwrap().class, FailureClass::Schema);
    assert_eq!(end.trail.len(), 1);
    assert!(detail.connection_exists);
}

#[tokio::test]
async fn a_bulk_replay_is_counted_first_and_then_delivers_what_matches_and_nothing_else() {
    let target = Upstream::start([], Answer::status(422)).await;
    let server = probe_server().await;
    for name in ["a", "b"] {
        server.api.apply(&probe(name, &target, QUICK)).await;
    }
    let (wanted, others) = (dead(&server, "a", 3).await, dead(&server, "b", 2).await);
    target.answer_with(Answer::status(200));
    let filter = json!({"connection": "a", "type": "test.*"});
    let preview = api::read(ask(&server, "replay", json!({"filter": filter, "dry_run": true})).await).await;
    let BulkAnswer::Preview(preview) = preview else {
        panic!("a dry run makes no job")
    };
    assert_eq!((preview.count, preview.at_least, preview.sample.len()), (3, false, 3));
    assert_eq!(target.asked().len(), 5, "a dry run changes nothing");

    let begun = begin(&server, "replay", json!({"filter": filter})).await;
    let over = ended(&server, &begun).await;
    assert_eq!((over.state, over.changed), (RedriveState::Done, 3));
    for correlation in &wanted {
        let delivered = server.api.wait_delivered(correlation).await;
        assert_eq!(delivered.delivery.replays, 1);
        assert_eq!(delivered.delivery.interventions[0].by, over.by);
    }
    for correlation in &others {
        server.api.wait_dead(correlation).await;
    }
    let asked = target.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("idempotency-key")).collect();
    assert!(
        keys[5..].iter().all(|key| keys[..5].contains(key)),
        "the idempotency key is kept"
    );

    let begun = begin(&server, "discard", json!({"filter": {}})).await;
    assert_eq!(ended(&server, &begun).await.changed, 2);
    assert!(server.api.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_redrive_goes_on_after_kill_9_replays_each_letter_once_and_keeps_to_its_rate() {
    let target = Upstream::start([], Answer::status(422)).await;
    let server = probe_server().await;
    server.api.apply(&probe("a", &target, QUICK)).await;
    let letters = dead(&server, "a", 12).await;
    let begun = begin(&server, "replay", json!({"filter": {}, "rate_per_s": 4})).await;
    wait::until("some progress", || async {
        (redrive(&server, &begun).await.changed >= 2).then_some(())
    })
    .await;
    let half = redrive(&server, &begun).await;
    assert!(half.state == RedriveState::Running && half.changed < 12, "{half:?}");
    // What was replayed dies again, so only the job's own memory keeps it from replaying it once more.
    let server = server.kill().await.start().await;
    let over = ended(&server, &begun).await;
    assert_eq!((over.state, over.changed), (RedriveState::Done, 12));
    for correlation in &letters {
        assert_eq!(server.api.wait_dead(correlation).await.delivery.replays, 1);
    }
}

#[tokio::test]
async fn a_redrive_waits_at_the_high_water_mark_says_so_and_can_be_cancelled() {
    let target = Upstream::start([], Answer::status(422)).await;
    let server = probe_server().await;
    server.api.apply(&probe("a", &target, QUICK)).await;
    dead(&server, "a", 4).await;
    server
        .api
        .apply(&probe("a", &target, &format!("[policy]\npending_max = 2\n{QUICK}")))
        .await;
    server.api.post("/v1/connections/a/disable").await;
    let begun = begin(&server, "replay", json!({"filter": {}})).await;
    let waiting = wait::until("the redrive to wait", || async {
        let redrive = redrive(&server, &begun).await;
        redrive.waiting.is_some().then_some(redrive)
    })
    .await;
    assert!(waiting.waiting.unwrap().contains("connection a"));
    assert!((1..=2).contains(&waiting.changed), "{}", waiting.changed);
    server.api.post(&format!("/v1/redrives/{}/cancel", begun.id)).await;
    let cancelled = redrive(&server, &begun).await;
    assert_eq!(
        (cancelled.state, cancelled.changed),
        (RedriveState::Cancelled, waiting.changed)
    );
    let again = server
        .api
        .request(Method::POST, &format!("/v1/redrives/{}/cancel", begun.id))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 409);
}

#[tokio::test]
async fn a_bulk_request_that_forgets_what_it_means_is_refused_and_changes_nothing() {
    let target = Upstream::start([], Answer::status(422)).await;
    let server = probe_server().await;
    server.api.apply(&probe("a", &target, QUICK)).await;
    let correlation = &dead(&server, "a", 1).await[0];
    for (body, status) in [
        (json!({}), 400),
        (json!({"filter": {}, "ids": []}), 400),
        (json!({"ids": []}), 400),
        (json!({"filter": {}, "rate_per_s": 0}), 400),
        (json!({"filter": {}, "rate_per_s": 10_001}), 400),
        (json!({"filter": {"conection": "a"}}), 422),
        (json!({"filter": {"class": "slow"}}), 422),
        (json!({"filter": {}, "dryrun": true}), 422),
        (json!({"filter": {"connection": "nobody"}}), 409),
    ] {
        assert_eq!(ask(&server, "replay", body.clone()).await.status(), status, "{body}");
    }
    let trace = server.api.wait_dead(correlation).await;
    assert!(matches!(trace.delivery.state, DeliveryState::Dead { .. }) && trace.delivery.replays == 0);
}
