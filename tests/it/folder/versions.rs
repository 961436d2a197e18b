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
    let decided = told.decisions.iter();
    let decided: Vec<_> = decided.map(|decision| (decision.kind, decision.by.as_str())).collect();
    assert_eq!(
        decided,
        [
            (DecisionKind::Began, "the host"),
            (DecisionKind::Released, "the host"),
            (DecisionKind::RolledBack, "first-admin"),
            (DecisionKind::Released, "first-admin"),
            (DecisionKind::RolledBack, "first-admin"),
            (DecisionKind::Began, "the host"),
            (DecisionKind::Granted, "first-admin"),
        ]
    );
    let began = &told.decisions[0];
    assert_eq!(began.digest, Some(Digest::of(&third)));
    assert_eq!(began.reason, Some(format!("instead of {}", Digest::of(&first))));
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

#[tokio::test]
async fn a_rollback_outlasts_its_own_file_and_nothing_runs_while_that_is_gone() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let [second, third] = ["second", "third"].map(|tag| variant(&test_guest("probe"), tag));
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    roll_back(&server, None).await;
    runs(&server, "p", &first).await;

    // Whoever removes the file stops it, rolled back or not.
    fs::remove_file(server.setup().plugins().join("probe.wasm")).unwrap();
    folder_is(&server, "the removal", |view| view.connectors.is_empty()).await;
    let view = server.api.connection("p").await;
    assert_eq!((view.health, view.runs.digest), (Health::NoConnector, None));
    let waiting = send(&server, "1", "p").await;
    let server = server.kill().await.start().await;

    put(&server, "probe.wasm", &second);
    runs(&server, "p", &first).await;
    let delivered = server.api.wait_delivered(&waiting).await;
    let ran = delivered.attempts[0].ended.as_ref().unwrap().connector.clone().unwrap();
    assert_eq!(ran.digest, Digest::of(&first), "what was rolled back from never ran");
    assert!(versions(&server).await.held.is_some());

    put(&server, "probe.wasm", &third);
    runs(&server, "p", &third).await;
    assert_eq!(versions(&server).await.held, None);
}

#[tokio::test]
async fn a_version_that_nobody_runs_any_more_can_be_called_at_once_when_it_is_rolled_back_to() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let versions = ["second", "third", "fourth"].map(|tag| variant(&test_guest("probe"), tag));
    for version in &versions {
        put(&server, "probe.wasm", version);
        runs(&server, "p", version).await;
    }
    // Neither granted itself, nor one that has delivered.
    for version in [&versions[0], &versions[1], &versions[0]] {
        roll_back(&server, Some(Digest::of(version))).await;
        let view = server.api.connection("p").await;
        assert_eq!(
            (view.health, view.runs.digest),
            (Health::Ok, Some(Digest::of(version))),
            "{:?}",
            view.reason
        );
    }
}

#[tokio::test]
async fn a_file_that_holds_another_connector_takes_the_first_one_away_and_says_so() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    put(&server, "probe.wasm", &fs::read(plugin("slack")).unwrap());
    let view = folder_is(&server, "the other connector alone", |view| {
        view.absent.len() == 1 && view.connectors.len() == 1
    })
    .await;
    assert_eq!(view.connectors[0].descriptor.name.as_str(), "slack");
    assert_eq!(server.api.connection("p").await.health, Health::NoConnector);
    assert!(server.log().contains("holds another connector now"), "{}", server.log());
    let waiting = send(&server, "1", "p").await;
    put(&server, "renamed.wasm", &fs::read(test_guest("probe")).unwrap());
    let delivered = server.api.wait_delivered(&waiting).await;
    assert_eq!(delivered.attempts.len(), 1, "what waited was not charged");
}

/// The same code in so many more bytes.
fn larger(tag: u8, bytes: u32) -> Vec<u8> {
    let mut component = fs::read(test_guest("probe")).unwrap();
    // A custom section: its length in LEB128 of five bytes, its name of one byte, and then what it says to nobody.
    let length = bytes + 2;
    component.push(0);
    component.extend((0..4).map(|group| u8::try_from((length >> (7 * group)) & 0x7f).unwrap() | 0x80));
    component.push(u8::try_from(length >> 28).unwrap());
    component.extend([1, tag]);
    component.resize(component.len() + usize::try_from(bytes).unwrap(), 0);
    component
}

#[tokio::test]
async fn what_would_take_more_bytes_than_may_be_kept_is_named_and_what_nobody_needs_goes_first() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup
        .config("\n[plugins]\nsettle_ms = 20\nversions_kept = 10\nversions_bytes = 1048576\n")
        .start()
        .await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let room = u32::try_from(1_048_576 - first.len()).unwrap();
    put(&server, "probe.wasm", &larger(b'x', room));
    let view = folder_is(&server, "the large file", |view| reason(view, "probe.wasm").is_some()).await;
    assert!(reason(&view, "probe.wasm").unwrap().contains("plugins.versions_bytes"));
    let sent = send(&server, "1", "p").await;
    server.api.wait_delivered(&sent).await;

    // Each of them fits beside the first alone.
    for tag in *b"abc" {
        let next = larger(tag, room - u32::try_from(first.len()).unwrap() - 100);
        put(&server, "probe.wasm", &next);
        runs(&server, "p", &next).await;
        let kept: u64 = versions(&server)
            .await
            .versions
            .iter()
            .map(|version| version.bytes)
            .sum();
        assert!(kept <= 1_048_576, "{kept}");
    }
    let kept = versions(&server).await.versions;
    assert_eq!(
        kept.last().unwrap().digest,
        Digest::of(&first),
        "what was granted stays"
    );
}

#[tokio::test]
async fn nothing_more_is_kept_while_the_disk_is_almost_full_and_that_is_named() {
    let server = Setup::new()
        .config("\n[store]\nfree_bytes_min = 1125899906842624\n")
        .start()
        .await;
    put(&server, "probe.wasm", &fs::read(test_guest("probe")).unwrap());
    let view = folder_is(&server, "the file", |view| reason(view, "probe.wasm").is_some()).await;
    let said = reason(&view, "probe.wasm").unwrap();
    assert!(said.contains("the disk is almost full"), "{said}");
    assert_eq!(fs::read_dir(server.setup().data().join("versions")).unwrap().count(), 0);
}
