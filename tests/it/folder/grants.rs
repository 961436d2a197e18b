//! Grants: what a version may do is what a person has granted, and an update that wants more waits.

use std::fs;

use cofferdam_domain::Digest;
use cofferdam_server::admin::views::{ConnectionView, Health};
use cofferdam_server::admin::{DecisionKind, DecisionsView, Why};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, wait};
use reqwest::Method;
use serde_json::json;

use super::{asking_more, put, runs, send, variant};
use crate::connections::probe;

/// Waits until the folder's version is known and does not run for the connection, for this reason.
async fn waits(server: &Running, bytes: &[u8], why: Why) -> ConnectionView {
    let digest = Digest::of(bytes);
    wait::until("the version to wait", || async {
        let view = server.api.connection("p").await;
        let waiting = view.runs.waiting.as_ref()?;
        (waiting.digest == digest && waiting.why == why).then_some(view)
    })
    .await
}

async fn decide(server: &Running, action: &str, bytes: &[u8], reason: Option<&str>) -> ConnectionView {
    let body = json!({ "digest": Digest::of(bytes), "reason": reason });
    server
        .api
        .post_json(&format!("/v1/connections/p/{action}"), &body)
        .await
}

#[tokio::test]
async fn an_update_that_asks_for_more_waits_for_a_grant_and_the_old_one_goes_on() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let more = asking_more();
    put(&server, "probe.wasm", &more);
    let view = waits(&server, &more, Why::AsksForMore).await;
    assert_eq!(view.runs.digest, Some(Digest::of(&first)));
    assert_eq!(
        view.runs.waiting.unwrap().difference,
        ["upstream target: the method PURGE"]
    );
    assert_eq!(view.health, Health::Attention);
    assert!(view.reason.unwrap().contains("PURGE"));
    let sent = send(&server, "1", "p").await;
    server.api.wait_delivered(&sent).await;

    // The same over a restart, and for who waits with it.
    let server = server.kill().await.start().await;
    waits(&server, &more, Why::AsksForMore).await;
    let sent = send(&server, "2", "p").await;
    server.api.wait_delivered(&sent).await;

    let view = decide(&server, "grant", &more, None).await;
    assert_eq!((view.runs.digest, view.runs.waiting), (Some(Digest::of(&more)), None));
    let sent = send(&server, "3", "p").await;
    let delivered = server.api.wait_delivered(&sent).await;
    let ran = delivered.attempts[0].ended.as_ref().unwrap().connector.clone().unwrap();
    assert_eq!(ran.digest, Digest::of(&more));

    // What was granted first stays granted, so a rollback needs nobody.
    let _: serde_json::Value = server.api.post_json("/v1/connectors/probe/rollback", &json!({})).await;
    runs(&server, "p", &first).await;

    let told: DecisionsView = server.api.get("/v1/grants?connection=p").await;
    let [granted, applied] = told.decisions.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        (granted.kind, granted.digest),
        (DecisionKind::Granted, Some(Digest::of(&more)))
    );
    assert_eq!(granted.difference, ["upstream target: the method PURGE"]);
    assert_eq!(granted.by, "first-admin");
    assert_eq!(
        (applied.kind, applied.digest),
        (DecisionKind::Granted, Some(Digest::of(&first)))
    );
    assert!(
        applied.difference.iter().any(|line| line.contains("target")),
        "{applied:?}"
    );
}

#[tokio::test]
async fn a_version_that_was_refused_does_not_run_however_little_it_asks_for_until_it_is_granted() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    let view = decide(&server, "refuse", &second, Some("not reviewed")).await;
    assert_eq!(view.runs.digest, Some(Digest::of(&first)));
    assert_eq!(
        view.health,
        Health::Ok,
        "somebody has decided: there is nothing to look at"
    );
    let server = server.kill().await.start().await;
    waits(&server, &second, Why::Refused).await;
    let sent = send(&server, "1", "p").await;
    server.api.wait_delivered(&sent).await;
    let told: DecisionsView = server.api.get("/v1/grants?connection=p&limit=1").await;
    assert_eq!(told.decisions[0].kind, DecisionKind::Refused);
    assert_eq!(told.decisions[0].reason.as_deref(), Some("not reviewed"));
    decide(&server, "grant", &second, None).await;
    runs(&server, "p", &second).await;
    let body = json!({ "digest": Digest::of(b"never seen") }).to_string();
    for action in ["grant", "refuse"] {
        let asked = server.api.request(Method::POST, &format!("/v1/connections/p/{action}"));
        let answer = asked
            .header("content-type", "application/json")
            .body(body.clone())
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn applying_a_connection_again_grants_what_its_connector_asks_for_now() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let more = asking_more();
    put(&server, "probe.wasm", &more);
    waits(&server, &more, Why::AsksForMore).await;
    server.api.apply(&probe("p", &target, "")).await;
    runs(&server, "p", &more).await;
}
