//! What comes in: verified, normalised, deduplicated, and answered clearly when it is bad.

use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_domain::{DeliveryState, FailureClass};
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_server::problem::Problem;
use cofferdam_tests::artifacts::plugin;
use cofferdam_tests::{Answer, Setup, Upstream, api, sign};

use crate::connections::{GITHUB_SECRET, SLACK_OK, github_to_slack, issue_opened, probe, probe_server};

#[tokio::test]
async fn a_signed_webhook_becomes_one_message_with_a_receipt() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let answer = server
        .api
        .send_github(GITHUB_SECRET, "issues", "d-1", &issue_opened(42))
        .await;
    assert_eq!(answer.status(), 202);
    let accepted: EventsAccepted = api::read(answer).await;
    let correlation_id = accepted.accepted[0].correlation_id.to_string();

    let delivered = server.api.wait_delivered(&correlation_id).await;
    let asked = slack.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].uri, "/api/chat.postMessage");
    assert_eq!(asked[0].header("authorization"), "Bearer xoxb-the-bot-token");
    let text = asked[0].json()["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("Pumps fail at high tide") && text.contains("42"),
        "{text}"
    );
    let DeliveryState::Delivered { receipt, .. } = &delivered.delivery.state else {
        unreachable!()
    };
    assert!(receipt.external_id.as_deref().unwrap().contains("1700000000.000100"));

    let trace = server.api.trace(&correlation_id).await;
    let event = &trace.events[0].event;
    assert_eq!(event.kind, "com.github.issues.opened");
    assert_eq!(event.source, "https://github.com/acme/dam");
    assert_eq!(
        event.body_hash,
        cofferdam_domain::Digest::of(issue_opened(42).as_bytes())
    );
    let sent = &delivered.attempts[0].ended.as_ref().unwrap().trail[0];
    assert_eq!(sent.request_hash, cofferdam_domain::Digest::of(&asked[0].body));
    assert_eq!(asked[0].header("traceparent"), sent.trace.to_string());
    assert_eq!(sent.trace.trace_id(), event.trace.trace_id());
}

#[tokio::test]
async fn a_webhook_that_is_not_signed_by_the_secret_is_answered_401_and_leaves_nothing() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let body = issue_opened(1);
    let unsigned = server
        .api
        .public("/hooks/github")
        .header("x-github-event", "issues")
        .body(body.clone());
    let mut texts = Vec::new();
    for answer in [
        unsigned.send().await.unwrap(),
        server.api.send_github("another secret", "issues", "d", &body).await,
        server.api.send_github("", "issues", "d", &body).await,
    ] {
        assert_eq!(answer.status(), 401);
        texts.push(answer.text().await.unwrap());
    }
    assert!(
        texts.iter().all(|text| *text == texts[0]),
        "the answers tell the causes apart: {texts:?}"
    );
    let events: Vec<cofferdam_domain::Event> = server.api.get("/v1/events").await;
    assert!(events.is_empty());
    assert!(slack.asked().is_empty());
}

#[tokio::test]
async fn the_same_webhook_twice_is_one_event_and_one_message() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let body = issue_opened(7);
    let first: EventsAccepted = api::read(server.api.send_github(GITHUB_SECRET, "issues", "same", &body).await).await;
    let second: EventsAccepted = api::read(server.api.send_github(GITHUB_SECRET, "issues", "same", &body).await).await;
    assert!(!first.accepted[0].duplicate && second.accepted[0].duplicate);
    assert_eq!(first.accepted[0].id, second.accepted[0].id);
    assert_eq!(first.accepted[0].correlation_id, second.accepted[0].correlation_id);
    server
        .api
        .wait_delivered(first.accepted[0].correlation_id.as_str())
        .await;
    let third: EventsAccepted = api::read(server.api.send_github(GITHUB_SECRET, "issues", "other", &body).await).await;
    server
        .api
        .wait_delivered(third.accepted[0].correlation_id.as_str())
        .await;
    assert_eq!(slack.asked().len(), 2);
}

#[tokio::test]
async fn a_verified_request_that_the_connector_cannot_read_is_kept_and_can_be_replayed() {
    let slack = Upstream::start([], Answer::ok(SLACK_OK)).await;
    let server = github_to_slack(&slack, "").await;
    let answer = server
        .api
        .send_github(GITHUB_SECRET, "issues", "d-9", "this is not JSON")
        .await;
    assert_eq!(answer.status(), 202);
    let kept: EventsAccepted = api::read(answer).await;
    let dead = server.api.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].delivery.connection.as_str(), "github");
    assert_eq!(dead[0].delivery.correlation_id, kept.accepted[0].correlation_id);
    assert_eq!(
        dead[0].delivery.last_failure.as_ref().unwrap().class,
        FailureClass::Schema
    );

    // It still cannot be read: the replay ends as a dead letter again, under the same correlation id, now with an attempt.
    let id = dead[0].delivery.id;
    server.api.post(&format!("/v1/dead-letters/{id}/replay")).await;
    let again = cofferdam_tests::wait::until("the replay's end", || async {
        let trace = server.api.delivery(id).await;
        let ended = matches!(trace.delivery.state, DeliveryState::Dead { .. }) && trace.delivery.replays == 1;
        (ended && trace.attempts.iter().any(|attempt| attempt.ended.is_some())).then_some(trace)
    })
    .await;
    assert_eq!(again.delivery.correlation_id, kept.accepted[0].correlation_id);
}

#[tokio::test]
async fn standard_webhooks_are_verified_and_every_bad_door_has_its_answer() {
    let setup = Setup::new().plugin(&plugin("github"));
    let server = setup.config("\n[limits]\nbody_bytes = 4096\n").start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = "name = \"standard\"\nconnector = \"github\"\n[inbound]\nscheme = \"standard-webhooks\"\ncredential = \"signing\"\n";
    server.api.apply(file).await;
    server.api.set_secret("standard", "signing", secret).await;
    let body = issue_opened(3);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let send = |timestamp: u64, body: String| {
        let timestamp = timestamp.to_string();
        let request = server.api.public("/hooks/standard").header("x-github-event", "issues");
        let signature = sign::standard_webhooks(secret, "msg_1", &timestamp, body.as_bytes());
        let signed = request
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", timestamp);
        signed.header("webhook-signature", signature).body(body).send()
    };
    assert_eq!(send(now, body.clone()).await.unwrap().status(), 202);
    assert_eq!(send(now - 301, body.clone()).await.unwrap().status(), 401);
    assert_eq!(send(now + 400, body.clone()).await.unwrap().status(), 401);
    let too_large = send(now, "x".repeat(4097)).await.unwrap();
    assert_eq!(too_large.status(), 413);
    let problem: Problem = serde_json::from_str(&too_large.text().await.unwrap()).unwrap();
    assert!(problem.detail.contains("4096"), "{problem:?}");
    for path in [
        "/hooks/nobody",
        "/hooks/Not%20a%20name",
        "/workspaces/other/hooks/standard",
        "/nothing/here",
    ] {
        assert_eq!(
            server.api.public(path).body("{}").send().await.unwrap().status(),
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn malformed_cloudevents_name_their_field_and_tokens_are_needed() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    let post = |kind: &'static str, body: &'static str| {
        server
            .api
            .public("/v1/events")
            .bearer_auth(&server.api.token)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    for (field, kind, body) in [
        (
            "specversion",
            "application/cloudevents+json",
            r#"{"id":"1","source":"/s","type":"t"}"#,
        ),
        (
            "source",
            "application/cloudevents+json",
            r#"{"specversion":"1.0","id":"1","type":"t"}"#,
        ),
        (
            "type",
            "application/cloudevents+json",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"dev.cofferdam.x"}"#,
        ),
        (
            "[1].id",
            "application/cloudevents-batch+json",
            r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"},{"specversion":"1.0"}]"#,
        ),
        ("specversion", "application/json", r#"{}"#),
        ("body", "application/cloudevents+json", "{"),
    ] {
        let answer = post(kind, body).await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let problem: Problem = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem.field.as_deref(), Some(field), "{body}");
    }
    let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let request = || {
        server
            .api
            .public("/v1/events")
            .header("content-type", "application/cloudevents+json")
            .body(good)
    };
    assert_eq!(request().send().await.unwrap().status(), 401);
    assert_eq!(
        request().bearer_auth("cofferdam_wrong").send().await.unwrap().status(),
        401
    );
    assert_eq!(
        request().bearer_auth(&server.api.token).send().await.unwrap().status(),
        202
    );
}

#[tokio::test]
async fn a_role_does_what_it_may_and_no_more() {
    let server = probe_server().await;
    let token = |role: &'static str| {
        let api = server.api.clone();
        async move {
            let body = serde_json::json!({"name": role, "role": role}).to_string();
            let request = api
                .request(reqwest::Method::POST, "/v1/tokens")
                .header("content-type", "application/json");
            let made: serde_json::Value = api::read(request.body(body).send().await.unwrap()).await;
            made["token"].as_str().unwrap().to_owned()
        }
    };
    let (ingest, viewer) = (token("ingest").await, token("viewer").await);
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let send = |token: &str| {
        let request = server
            .api
            .public("/v1/events")
            .header("content-type", "application/cloudevents+json");
        request.bearer_auth(token).body(event).send()
    };
    let read = |token: &str| {
        let request = api::client().get(format!("{}/v1/connections", server.api.admin));
        request.bearer_auth(token).send()
    };
    let change = |token: &str| {
        let request = api::client().post(format!("{}/v1/connections", server.api.admin));
        request.bearer_auth(token).body("").send()
    };
    assert_eq!(send(&ingest).await.unwrap().status(), 202);
    assert_eq!(send(&viewer).await.unwrap().status(), 403);
    assert_eq!(read(&ingest).await.unwrap().status(), 403);
    assert_eq!(read(&viewer).await.unwrap().status(), 200);
    assert_eq!(change(&ingest).await.unwrap().status(), 403);
    assert_eq!(change(&viewer).await.unwrap().status(), 403);
    assert_eq!(change("").await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_token_that_is_revoked_opens_nothing_any_more() {
    let server = probe_server().await;
    let body = serde_json::json!({"name": "leaked", "role": "viewer"}).to_string();
    let request = server
        .api
        .request(reqwest::Method::POST, "/v1/tokens")
        .header("content-type", "application/json");
    let made: serde_json::Value = api::read(request.body(body).send().await.unwrap()).await;
    let token = made["token"].as_str().unwrap().to_owned();
    let read = || {
        let request = api::client().get(format!("{}/v1/connections", server.api.admin));
        request.bearer_auth(&token).send()
    };
    assert_eq!(read().await.unwrap().status(), 200);
    let listed: Vec<serde_json::Value> = server.api.get("/v1/tokens").await;
    let entry = listed.iter().find(|entry| entry["name"] == "leaked").unwrap();
    assert!(
        !listed.iter().any(|entry| entry.to_string().contains(&token)),
        "a token is shown once"
    );
    let path = format!("/v1/tokens/{}", entry["id"].as_str().unwrap());
    let revoked = server.api.request(reqwest::Method::DELETE, &path).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
    assert_eq!(read().await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_admin_listener_answers_to_no_name_but_its_own() {
    let server = probe_server().await;
    let ask = |host: &'static str| {
        let request = api::client().get(format!("{}/metrics", server.api.admin));
        request.header("host", host).send()
    };
    assert_eq!(ask("evil.example").await.unwrap().status(), 421);
    assert_eq!(ask("localhost").await.unwrap().status(), 200);
}
