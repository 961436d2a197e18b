//! Grants: what a version may do is what a person has granted, and an update that wants more waits.

use std::fs;

use cofferdam_domain::Digest;
use cofferdam_server::admin::views::{ConnectionView, Health};
use cofferdam_server::admin::{DecisionKind, DecisionsView, Why};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, wait};
use reqwest::Method;
use serde_json::json;

use super::{asking_more, folder_is, patched, put, runs, send, variant};
use crate::connections::{QUICK, probe};

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

/// What is on record for the connection, the latest first.
async fn told(server: &Running) -> Vec<(DecisionKind, Option<Digest>)> {
    let told: DecisionsView = server.api.get("/v1/grants?connection=p").await;
    let told = told.decisions.into_iter();
    told.map(|decision| (decision.kind, decision.digest)).collect()
}

#[tokio::test]
async fn a_file_that_is_applied_again_ends_no_refusal_and_grants_nothing_that_waits() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    decide(&server, "refuse", &second, None).await;
    let on_record = [
        (DecisionKind::Refused, Some(Digest::of(&second))),
        (DecisionKind::Began, Some(Digest::of(&second))),
        (DecisionKind::Granted, Some(Digest::of(&first))),
    ];
    assert_eq!(told(&server).await, on_record);

    // The same file, and one that has changed, by whatever program.
    for more in ["", QUICK] {
        let view = server.api.apply(&probe("p", &target, more)).await;
        assert_eq!(view.connection.granted, Some(Digest::of(&first)));
        assert_eq!(view.runs.digest, Some(Digest::of(&first)));
        assert_eq!(view.runs.waiting.unwrap().why, Why::Refused);
    }
    assert_eq!(told(&server).await, on_record, "nothing was decided");

    let more = asking_more();
    put(&server, "probe.wasm", &more);
    waits(&server, &more, Why::AsksForMore).await;
    let view = server.api.apply(&probe("p", &target, "")).await;
    assert_eq!(view.connection.granted, Some(Digest::of(&first)));
    let waiting = view.runs.waiting.unwrap();
    assert_eq!((waiting.digest, waiting.why), (Digest::of(&more), Why::AsksForMore));
    assert_eq!(told(&server).await, on_record);

    // The command says what was left, and what lets it.
    let file = server.setup().plugins().with_file_name("p.toml");
    fs::write(&file, probe("p", &target, QUICK)).unwrap();
    let said = server.says(&["connection", "apply", file.to_str().unwrap()]).await;
    for part in [
        Digest::of(&first).to_string(),
        format!("cofferdam connection grant p {}", Digest::of(&more)),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    let view = decide(&server, "grant", &more, None).await;
    assert_eq!(view.runs.digest, Some(Digest::of(&more)));
}

#[tokio::test]
async fn a_file_that_has_changed_is_granted_with_what_runs_already_and_that_is_on_record() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    let view = server.api.apply(&probe("p", &target, "")).await;
    assert_eq!(
        view.connection.granted,
        Some(Digest::of(&first)),
        "the same file changes nothing"
    );
    let view = server.api.apply(&probe("p", &target, QUICK)).await;
    assert_eq!(view.connection.granted, Some(Digest::of(&second)));
    assert_eq!(
        told(&server).await,
        [
            (DecisionKind::Granted, Some(Digest::of(&second))),
            (DecisionKind::Began, Some(Digest::of(&second))),
            (DecisionKind::Granted, Some(Digest::of(&first))),
        ]
    );
}

#[tokio::test]
async fn what_was_granted_by_an_older_file_is_compared_anew_once_the_file_allows_something_else() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().start().await;
    let more = asking_more();
    put(&server, "probe.wasm", &more);
    folder_is(&server, "the connector", |view| view.connectors.len() == 1).await;
    server.api.apply(&probe("p", &target, "")).await;
    // It asks for something else, so it is granted by a person, and then the file allows something else.
    let other = fs::read(test_guest("probe")).unwrap();
    let other = patched(&other, "PATCH", "MERGE");
    put(&server, "probe.wasm", &other);
    waits(&server, &other, Why::AsksForMore).await;
    decide(&server, "grant", &other, None).await;
    let changed = probe("p", &target, "").replace(", \"PUT\"]", "]");
    let view = server.api.apply(&changed).await;
    assert_eq!(view.connection.granted, Some(Digest::of(&other)));
    put(&server, "probe.wasm", &more);
    waits(&server, &more, Why::AsksForMore).await;
}
