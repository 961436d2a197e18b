//! What goes out: retried, slowed down, parked, given up and replayed as the table of outcomes says.

use std::time::Duration;

use cofferdam_domain::{DeliveryState, FailureClass, Outcome};
use cofferdam_server::admin::views::Health;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Setup, Upstream, api, sign, wait};
use serde_json::json;

use crate::connections::{GITHUB_SECRET, QUICK, SLACK_OK, github_to_slack, issue_opened, probe, probe_server};

async fn send(server: &cofferdam_tests::Running, id: &str, connection: &str, data: serde_json::Value) -> String {
    let accepted = server.api.send_event(id, &format!("test.{connection}"), data).await;
    accepted.accepted[0].correlation_id.to_string()
}

#[tokio::test]
async fn failures_are_retried_under_one_idempotency_key_until_one_succeeds() {
    let target = Upstream::start(
        [Answer::status(503), Answer::status(500)],
        Answer::ok(r#"{"id":"made"}"#),
    )
    .await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    let correlation = send(&server, "1", "p", json!({"do": "call", "method": "POST", "body": "x"})).await;
    let trace = server.api.wait_delivered(&correlation).await;
    let ends: Vec<_> = trace
        .attempts
        .iter()
        .map(|attempt| attempt.ended.as_ref().unwrap())
        .collect();
    assert_eq!(ends.len(), 3);
    assert_eq!(ends[0].failure.as_ref().unwrap().class, FailureClass::Dependency);
    assert!(matches!(ends[0].outcome, Outcome::Retry { charged: true, .. }));
    assert_eq!(ends[2].outcome, Outcome::Delivered);
    let asked = target.asked();
    let keys: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys, vec![trace.delivery.idempotency_key.clone(); 3]);
}

#[tokio::test]
async fn a_lane_waits_at_least_as_long_as_retry_after_asks_and_is_not_charged() {
    let slow = Answer::status(429).header("retry-after", "1");
    let target = Upstream::start([slow], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    let first = send(&server, "1", "p", json!({"do": "call"})).await;
    wait::until("the lane's back-off", || async {
        server
            .api
            .connection("p")
            .await
            .lane
            .back_off_until
            .is_some()
            .then_some(())
    })
    .await;
    // A neighbour in the same lane waits too.
    let second = send(&server, "2", "p", json!({"do": "call"})).await;
    let trace = server.api.wait_delivered(&first).await;
    server.api.wait_delivered(&second).await;
    let asked = target.asked();
    assert!(
        asked[1].at.duration_since(asked[0].at) >= Duration::from_secs(1),
        "{:?}",
        asked[1].at - asked[0].at
    );
    let limited = trace.attempts[0].ended.as_ref().unwrap();
    assert_eq!(limited.failure.as_ref().unwrap().class, FailureClass::RateLimited);
    assert!(matches!(limited.outcome, Outcome::Retry { charged: false, .. }));
    assert_eq!(trace.delivery.charged, 1);
}

#[tokio::test]
async fn slacks_200_that_says_no_is_an_auth_failure_that_parks_the_lane_until_the_token_changes() {
    let slack = Upstream::start(
        [Answer::ok(r#"{"ok":false,"error":"invalid_auth"}"#)],
        Answer::ok(SLACK_OK),
    )
    .await;
    let server = github_to_slack(&slack, QUICK).await;
    let accepted: EventsAccepted = api::read(
        server
            .api
            .send_github(GITHUB_SECRET, "issues", "d", &issue_opened(5))
            .await,
    )
    .await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let parked = wait::until("the parked lane", || async {
        let view = server.api.connection("slack-alerts").await;
        // A read may show the lane a moment before the commit that parked it is counted.
        (view.health == Health::Parked && view.depth.pending == 1).then_some(view)
    })
    .await;
    assert_eq!(parked.lane.parked.as_ref().unwrap().class, FailureClass::Auth);
    assert_eq!(slack.asked().len(), 1);

    server.api.set_secret("slack-alerts", "bot", "xoxb-a-new-token").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(delivered.delivery.charged, 1, "a parked attempt is not charged");
    assert_eq!(slack.asked()[1].header("authorization"), "Bearer xoxb-a-new-token");
}

#[tokio::test]
async fn what_the_upstream_calls_malformed_is_a_dead_letter_at_once_and_a_replay_delivers_it() {
    let target = Upstream::start([Answer::status(422)], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    let correlation = send(&server, "1", "p", json!({"do": "call", "method": "POST", "body": "x"})).await;
    let dead = server.api.wait_dead(&correlation).await;
    assert_eq!(dead.attempts.len(), 1);
    assert_eq!(dead.delivery.last_failure.as_ref().unwrap().class, FailureClass::Schema);
    let id = dead.delivery.id;
    server.api.post(&format!("/v1/dead-letters/{id}/replay")).await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!((delivered.delivery.id, delivered.delivery.replays), (id, 1));
    assert_eq!(delivered.delivery.idempotency_key, dead.delivery.idempotency_key);
    let twice = server
        .api
        .request(reqwest::Method::POST, &format!("/v1/dead-letters/{id}/replay"))
        .send()
        .await
        .unwrap();
    assert_eq!(twice.status(), 409);
    let unknown = "/v1/dead-letters/01890a5d-ac96-774b-bcce-b302099a8057/replay";
    assert_eq!(
        server
            .api
            .request(reqwest::Method::POST, unknown)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn each_answer_has_the_outcome_of_the_table() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let twice = "[policy.retry]\nschedule_ms = [0, 20]\nmax_age_ms = 60000\n";
    server.api.apply(&probe("p", &target, twice)).await;
    for (status, class, attempts) in [
        (301, FailureClass::Configuration, 1),
        (400, FailureClass::Schema, 1),
        (404, FailureClass::Schema, 1),
        (410, FailureClass::Gone, 1),
        (500, FailureClass::Dependency, 2),
        (504, FailureClass::Dependency, 2),
    ] {
        target.answer_with(Answer::status(status));
        // The connector claims success; what the host saw wins.
        let correlation = send(&server, &format!("s{status}"), "p", json!({"do": "lie"})).await;
        let dead = server.api.wait_dead(&correlation).await;
        assert_eq!(dead.delivery.last_failure.as_ref().unwrap().class, class, "{status}");
        assert_eq!(dead.attempts.len(), attempts, "{status}");
    }
    assert_eq!(server.api.connection("p").await.health, Health::Attention);
}

#[tokio::test]
async fn a_hanging_neighbour_holds_up_nobody_however_much_it_may_do_at_once() {
    let (hangs, works) = (
        Upstream::start([], Answer::held()).await,
        Upstream::start([], Answer::status(200)).await,
    );
    let setup = Setup::new()
        .plugin(&test_guest("probe"))
        .config("\n[host]\ncalls = 8\n");
    let server = setup.start().await;
    server
        .api
        .apply(&probe("hangs", &hangs, "[policy]\nconcurrency = 64\n"))
        .await;
    server.api.apply(&probe("works", &works, "")).await;
    for id in 0..32 {
        send(&server, &format!("h{id}"), "hangs", json!({"do": "call"})).await;
    }
    // Its own slot and a quarter of the shared ones.
    hangs.wait_for(3).await;
    for id in 0..8 {
        let correlation = send(&server, &format!("w{id}"), "works", json!({"do": "call"})).await;
        let delivered = server.api.wait_delivered(&correlation).await;
        assert_eq!(delivered.attempts.len(), 1);
    }
    let depth = server.api.connection("hangs").await.depth;
    assert_eq!(
        (depth.in_flight, depth.pending),
        (3, 29),
        "what cannot run holds no lease"
    );
}

#[tokio::test]
async fn a_disabled_connection_keeps_its_deliveries_until_it_is_turned_on() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    server.api.post("/v1/connections/p/disable").await;
    let correlation = send(&server, "1", "p", json!({"do": "call"})).await;
    let trace = server.api.trace(&correlation).await;
    assert!(matches!(
        trace.events[0].deliveries[0].delivery.state,
        DeliveryState::Pending { .. }
    ));
    assert_eq!(server.api.connection("p").await.health, Health::Off);
    server.api.post("/v1/connections/p/enable").await;
    server.api.wait_delivered(&correlation).await;
    assert_eq!(target.asked().len(), 1);
}

#[tokio::test]
async fn the_webhook_sink_is_signed_by_the_host_and_carries_the_event_as_it_was() {
    let target = Upstream::start([], Answer::ok(r#"{"id":"r-1"}"#)).await;
    let server = Setup::new().plugin(&plugin("webhook")).start().await;
    let file = format!(
        "name = \"hook\"\nconnector = \"webhook\"\nsubscribe = [\"*\"]\n[settings]\npath = \"/in\"\n[upstreams.endpoint]\n\
         base_url = \"{}\"\ncredential = \"signing\"\nnetworks = [\"127.0.0.0/8\"]\n",
        target.url()
    );
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    server.api.apply(&file).await;
    server.api.set_secret("hook", "signing", secret).await;
    let accepted = server.api.send_event("1", "com.example.made", json!({"n": 1})).await;
    let delivered = server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
    let asked = &target.asked()[0];
    let expected = sign::standard_webhooks(
        secret,
        asked.header("webhook-id"),
        asked.header("webhook-timestamp"),
        &asked.body,
    );
    assert_eq!(asked.header("webhook-signature"), expected);
    assert_eq!(asked.header("webhook-id"), delivered.delivery.idempotency_key);
    let body = asked.json();
    assert_eq!(
        (&body["type"], &body["data"]),
        (&json!("com.example.made"), &json!({"n": 1}))
    );
    let DeliveryState::Delivered { receipt, .. } = delivered.delivery.state else {
        unreachable!()
    };
    assert_eq!(receipt.external_id.as_deref(), Some("r-1"));
}
