//! Versions: one takes the place of another, one that is no good does not, and an earlier one comes back.

use std::fs;

use cofferdam_domain::Digest;
use cofferdam_server::admin::views::Health;
use cofferdam_server::admin::{ConnectorVersions, DecisionKind, DecisionsView, VersionState};
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use reqwest::Method;
use serde_json::json;

use super::{folder_is, put, reason, runs, send, variant};
use crate::connections::probe;

async fn versions(server: &Running) -> ConnectorVersions {
    server.api.get("/v1/connectors/probe").await
}

async fn roll_back(server: &Running, digest: Option<Digest>) -> ConnectorVersions {
    server
        .api
        .post_json("/v1/connectors/probe/rollback", &json!({ "digest": digest }))
        .await
}

#[tokio::test]
async fn a_file_that_is_replaced_runs_and_one_that_is_no_good_stays_out_while_the_old_one_goes_on() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    let view = runs(&server, "p", &second).await;
    assert_eq!((view.health, view.runs.waiting), (Health::Ok, None));
    let sent = send(&server, "1", "p").await;
    let delivered = server.api.wait_delivered(&sent).await;
    let ran = delivered.attempts[0].ended.as_ref().unwrap().connector.clone().unwrap();
    assert_eq!(ran.digest, Digest::of(&second));

    // Cut, another thing altogether, and one that does not come to life.
    let broken = fs::read(test_guest("broken")).unwrap();
    for bytes in [&second[..second.len() / 2], b"nothing of the kind", &broken] {
        put(&server, "probe.wasm", bytes);
        folder_is(&server, "the bad file", |view| reason(view, "probe.wasm").is_some()).await;
        let sent = send(&server, &format!("bad-{}", bytes.len()), "p").await;
        let delivered = server.api.wait_delivered(&sent).await;
        let ran = delivered.attempts[0].ended.as_ref().unwrap().connector.clone().unwrap();
        assert_eq!(ran.digest, Digest::of(&second));
        assert!(!versions(&server).await.problems.is_empty());
        put(&server, "probe.wasm", &second);
        folder_is(&server, "the good file again", |view| view.problems.is_empty()).await;
    }

    // Also over a restart: what is in the folder is no good, and what ran before runs.
    put(&server, "probe.wasm", b"nothing of the kind");
    folder_is(&server, "the bad file", |view| reason(view, "probe.wasm").is_some()).await;
    let server = server.kill().await.start().await;
    runs(&server, "p", &second).await;
    let sent = send(&server, "after", "p").await;
    server.api.wait_delivered(&sent).await;
    assert!(reason(&server.api.connectors().await, "probe.wasm").is_some());
}

#[tokio::test]
async fn a_rollback_is_one_call_holds_over_a_restart_and_ends_with_another_file_or_a_release() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let [second, third] = ["second", "third"].map(|tag| variant(&test_guest("probe"), tag));
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;

    let view = roll_back(&server, None).await;
    assert_eq!(
        (view.current, view.offered),
        (Some(Digest::of(&first)), Some(Digest::of(&second)))
    );
    let states: Vec<_> = view.versions.iter().map(|version| version.state).collect();
    assert_eq!(states, [VersionState::HeldBack, VersionState::Current]);
    runs(&server, "p", &first).await;
    let none = server
        .api
        .request(Method::POST, "/v1/connectors/probe/rollback")
        .send()
        .await
        .unwrap();
    assert_eq!(none.status(), 409, "there is none before that");

    let server = server.kill().await.start().await;
    runs(&server, "p", &first).await;
    let sent = send(&server, "1", "p").await;
    server.api.wait_delivered(&sent).await;
    let _: ConnectorVersions = server.api.post_json("/v1/connectors/probe/release", &json!(null)).await;
    runs(&server, "p", &second).await;

    roll_back(&server, Some(Digest::of(&first))).await;
    runs(&server, "p", &first).await;
    put(&server, "probe.wasm", &third);
    runs(&server, "p", &third).await;
    assert_eq!(versions(&server).await.held, None);

    let told: DecisionsView = server.api.get("/v1/grants?connector=probe").await;
    let kinds: Vec<_> = told.decisions.iter().map(|decision| decision.kind).collect();
    assert_eq!(
        kinds,
        [
            DecisionKind::RolledBack,
            DecisionKind::Released,
            DecisionKind::RolledBack,
            DecisionKind::Granted
        ]
    );
    assert!(told.decisions.iter().all(|decision| decision.by == "first-admin"));
    let body = json!({ "digest": Digest::of(b"never seen") }).to_string();
    let unknown = server
        .api
        .request(Method::POST, "/v1/connectors/probe/rollback")
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(unknown.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_a_file_held_that_has_gone_can_be_rolled_back_to() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    fs::remove_file(server.setup().plugins().join("probe.wasm")).unwrap();
    let view = folder_is(&server, "the removal", |view| view.connectors.is_empty()).await;
    assert_eq!(view.absent.len(), 1);
    let sent = send(&server, "1", "p").await;
    roll_back(&server, None).await;
    runs(&server, "p", &first).await;
    server.api.wait_delivered(&sent).await;
    let server = server.kill().await.start().await;
    runs(&server, "p", &first).await;
}

#[tokio::test]
async fn so_many_versions_are_kept_and_what_was_granted_is_one_of_them() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup
        .config("\n[plugins]\nsettle_ms = 20\nversions_kept = 2\n")
        .start()
        .await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let mut last = first.clone();
    for tag in ["a", "b", "c", "d"] {
        last = variant(&test_guest("probe"), tag);
        put(&server, "probe.wasm", &last);
        runs(&server, "p", &last).await;
    }
    let kept: Vec<_> = versions(&server)
        .await
        .versions
        .iter()
        .map(|version| version.digest)
        .collect();
    assert_eq!(kept, [Digest::of(&last), Digest::of(&first)]);
    let folder = server.setup().data().join("versions");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);

    // Damaged, it is not run: it is said so, and what its file holds goes on.
    let path = folder.join(format!("{}.wasm", Digest::of(&first)));
    fs::write(path, b"other code").unwrap();
    let server = server.kill().await.start().await;
    runs(&server, "p", &last).await;
    let body = json!({ "digest": Digest::of(&first) }).to_string();
    let refused = server.api.request(Method::POST, "/v1/connectors/probe/rollback");
    let refused = refused
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 409);
    assert!(refused.text().await.unwrap().contains("damaged"));
    let sent = send(&server, "1", "p").await;
    server.api.wait_delivered(&sent).await;
}

#[tokio::test]
async fn the_same_file_under_another_name_goes_on_without_a_gap_that_costs_anything() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new()
        .plugin(&test_guest("probe"))
        .plugin(&plugin("slack"))
        .start()
        .await;
    server.api.apply(&probe("p", &target, "")).await;
    let plugins = server.setup().plugins();
    fs::rename(plugins.join("probe.wasm"), plugins.join("renamed.wasm")).unwrap();
    let sent = send(&server, "1", "p").await;
    let delivered = server.api.wait_delivered(&sent).await;
    assert_eq!(delivered.attempts.len(), 1);
    folder_is(&server, "the new name", |view| {
        view.connectors.iter().any(|connector| connector.file == "renamed.wasm") && view.problems.is_empty()
    })
    .await;
    assert_eq!(versions(&server).await.versions.len(), 1, "it is the same version");
}
