//! What becomes of deliveries that wait when their connection is edited, turned off or deleted.

use cofferdam_domain::FailureClass;
use cofferdam_server::admin::views::ConnectionView;
use cofferdam_server::admin::{BulkAnswer, ConnectionDeleted, RedriveState};
use cofferdam_tests::{Answer, Running, Upstream, api, wait};
use reqwest::{Method, Response};
use serde_json::json;

use crate::connections::{QUICK, probe, probe_server};

async fn send(server: &Running, id: &str, connection: &str) -> String {
    let kind = format!("test.{connection}");
    let accepted = server.api.send_event(id, &kind, json!({"do": "call"})).await;
    accepted.accepted[0].correlation_id.to_string()
}

async fn delete(server: &Running, query: &str) -> Response {
    let request = server.api.request(Method::DELETE, &format!("/v1/connections/p{query}"));
    request.send().await.unwrap()
}

#[tokio::test]
async fn an_edit_applies_to_what_waits_already_at_its_next_attempt() {
    let (old, new) = (
        Upstream::start([], Answer::status(503)).await,
        Upstream::start([], Answer::status(200)).await,
    );
    let server = probe_server().await;
    let slow = "[policy.retry]\nschedule_ms = [0, 300]\nmax_age_ms = 60000\n";
    let many = "[policy.retry]\nschedule_ms = [0, 300, 300, 300, 300, 300, 300, 300]\nmax_age_ms = 60000\n";
    server.api.apply(&probe("p", &old, many)).await;
    let correlation = send(&server, "1", "p").await;
    old.wait_for(1).await;
    server.api.apply(&probe("p", &new, slow)).await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(new.asked().len(), 1);
    assert!(delivered.attempts.len() >= 2);
}

#[tokio::test]
async fn disabling_pauses_retries_and_burns_nothing() {
    let target = Upstream::start([Answer::status(503)], Answer::status(200)).await;
    let server = probe_server().await;
    let again = "[policy.retry]\nschedule_ms = [0, 3000]\nmax_age_ms = 600000\n";
    server.api.apply(&probe("p", &target, again)).await;
    let correlation = send(&server, "1", "p").await;
    let first = wait::until("the first attempt's end", || async {
        let trace = server.api.trace(&correlation).await;
        let delivery = trace.events[0].deliveries[0].clone();
        delivery.attempts.first()?.ended.as_ref()?;
        Some(delivery)
    })
    .await;
    server.api.post("/v1/connections/p/disable").await;
    let paused = server.api.connection("p").await;
    assert_eq!(
        (paused.depth.pending + paused.depth.in_flight, first.delivery.charged),
        (1, 1)
    );
    server.api.post("/v1/connections/p/enable").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!((delivered.delivery.charged, target.asked().len()), (2, 2));
}

#[tokio::test]
async fn a_connection_for_which_deliveries_wait_is_deleted_only_when_somebody_says_what_becomes_of_them() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"\n")).await;
    server.api.set_secret("p", "key", "a-secret-of-the-old-one").await;
    server.api.post("/v1/connections/p/disable").await;
    let mut waiting = Vec::new();
    for id in 0..3 {
        waiting.push(send(&server, &id.to_string(), "p").await);
    }
    let refused = delete(&server, "").await;
    assert_eq!(refused.status(), 409);
    let problem: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "deliveries-waiting");
    assert!(
        problem["detail"].as_str().unwrap().starts_with("3 deliveries"),
        "{problem}"
    );
    assert_eq!(server.api.connection("p").await.depth.pending, 3);

    let deleted: ConnectionDeleted = api::read(delete(&server, "?dead_letter=true").await).await;
    assert_eq!((deleted.waiting, deleted.credentials), (3, 1));
    for correlation in &waiting {
        let dead = server.api.wait_dead(correlation).await.delivery;
        let failure = dead.last_failure.unwrap();
        assert_eq!(failure.class, FailureClass::Configuration);
        assert_eq!(failure.code.as_deref(), Some("connection-deleted"));
        // A replay would only wait for nobody.
        let path = format!("/v1/dead-letters/{}/replay", dead.id);
        let refused = server.api.request(Method::POST, &path).send().await.unwrap();
        assert_eq!(refused.status(), 409);
        assert!(refused.text().await.unwrap().contains("connection-gone"));
    }
    assert_eq!(delete(&server, "").await.status(), 404);
    let secrets: Vec<serde_json::Value> = server.api.get("/v1/secrets").await;
    assert!(secrets.is_empty());
    let nobody = server.api.send_event("later", "test.p", json!({"do": "call"})).await;
    let trace = server.api.trace(nobody.accepted[0].correlation_id.as_str()).await;
    assert!(trace.events[0].deliveries.is_empty(), "nothing is owed to it any more");

    // One of the same name starts afresh, and the old dead letters can be replayed to it.
    let made = server.api.apply(&probe("p", &target, "")).await;
    assert_eq!((made.connection.revision, made.depth.dead), (1, 3));
    assert!(made.lane.parked.is_none() && made.connection.enabled);
    let body = json!({"filter": {"connection": "p", "class": "configuration"}});
    let sent = server.api.request(Method::POST, "/v1/dead-letters/replay");
    let sent = sent.header("content-type", "application/json").body(body.to_string());
    let BulkAnswer::Redrive(begun) = api::read(sent.send().await.unwrap()).await else {
        panic!("no job")
    };
    for correlation in &waiting {
        server.api.wait_delivered(correlation).await;
    }
    assert_eq!(begun.state, RedriveState::Running);
}

#[tokio::test]
async fn what_waits_for_a_deleted_connection_becomes_dead_letters_also_after_kill_9() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    server.api.post("/v1/connections/p/disable").await;
    let mut waiting = Vec::new();
    for id in 0..5 {
        waiting.push(send(&server, &id.to_string(), "p").await);
    }
    let _: ConnectionDeleted = api::read(delete(&server, "?dead_letter=true").await).await;
    let server = server.kill().await.start().await;
    for correlation in &waiting {
        server.api.wait_dead(correlation).await;
    }
    assert!(
        server
            .api
            .get::<Vec<ConnectionView>>("/v1/connections")
            .await
            .is_empty()
    );
    assert!(target.asked().is_empty());
}

#[tokio::test]
async fn an_attempt_under_way_settles_although_its_connection_is_deleted_and_its_name_is_free_only_then() {
    let target = Upstream::start([], Answer::held()).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    let correlation = send(&server, "1", "p").await;
    target.wait_for(1).await;
    assert_eq!(delete(&server, "").await.status(), 409);
    let _: ConnectionDeleted = api::read(delete(&server, "?dead_letter=true").await).await;
    let again = server
        .api
        .request(Method::POST, "/v1/connections")
        .body(probe("p", &target, QUICK))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 409);
    assert!(again.text().await.unwrap().contains("connection-winding-up"));
    target.release();
    server.api.wait_delivered(&correlation).await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    let next = send(&server, "2", "p").await;
    server.api.wait_delivered(&next).await;
}
