//! The folder from the command line: what runs, what waits, and who decided.

use std::fs;

use cofferdam_domain::Digest;
use cofferdam_server::admin::{ConnectorVersions, DecisionsView, VersionState};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Setup, Upstream, wait};

use super::{asking_more, put, runs};
use crate::connections::probe;

#[tokio::test]
async fn versions_are_shown_granted_refused_and_rolled_back_from_by_the_command() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let (first, more) = (fs::read(test_guest("probe")).unwrap(), asking_more());
    let (first_digest, more_digest) = (Digest::of(&first).to_string(), Digest::of(&more).to_string());
    put(&server, "probe.wasm", &more);
    wait::until("the version to wait", || async {
        server.api.connection("p").await.runs.waiting
    })
    .await;
    let shown = server.says(&["connection", "show", "p"]).await;
    for part in ["the method PURGE", &first_digest, &more_digest] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    server.says(&["connection", "grant", "p", &more_digest]).await;
    runs(&server, "p", &more).await;
    let listed = server.says(&["plugin", "versions", "probe"]).await;
    assert!(
        listed.contains(&first_digest) && listed.contains(&more_digest),
        "{listed}"
    );
    assert!(listed.contains("asks for: ") && listed.contains("PURGE"), "{listed}");

    server.says(&["plugin", "rollback", "probe"]).await;
    runs(&server, "p", &first).await;
    let json = server.says(&["--json", "plugin", "versions", "probe"]).await;
    let versions: ConnectorVersions = serde_json::from_str(&json).unwrap();
    let states: Vec<_> = versions.versions.iter().map(|version| version.state).collect();
    assert_eq!(states, [VersionState::HeldBack, VersionState::Current]);
    server.says(&["plugin", "release", "probe"]).await;
    runs(&server, "p", &more).await;

    let refuse = ["connection", "refuse", "p", &more_digest, "--reason", "not reviewed"];
    server.says(&refuse).await;
    runs(&server, "p", &first).await;
    let told = server.says(&["connection", "grants"]).await;
    for part in [
        more_digest.as_str(),
        "granted",
        "refused",
        "rolled back",
        "released",
        "not reviewed",
        "first-admin",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let json = server
        .says(&["--json", "connection", "grants", "p", "--limit", "1"])
        .await;
    let told: DecisionsView = serde_json::from_str(&json).unwrap();
    assert_eq!(told.decisions[0].reason.as_deref(), Some("not reviewed"));

    for (arguments, said) in [
        (vec!["plugin", "versions", "nobody"], "connector nobody"),
        (vec!["plugin", "rollback", "probe", "--to", "abc"], "abc"),
        (vec!["connection", "grant", "p", &"0".repeat(64)], "version"),
    ] {
        let output = server.command(&arguments).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && complaint.contains(said),
            "{arguments:?}: {complaint}"
        );
    }
}
