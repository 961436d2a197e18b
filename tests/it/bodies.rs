//! Bodies at rest, on the real binary: what is on the disk, and what happens when the setting changes.

use std::fs;
use std::path::Path;

use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream, api};
use serde_json::json;

use crate::connections::{GITHUB_SECRET, issue_opened, probe};

const MARKER: &str = "nobody-may-find-this-on-the-disk";

/// The marker as it stands in an event's body.
fn plain() -> Vec<String> {
    vec![MARKER.to_owned()]
}

/// The marker as it stands in a request that is kept: in base64, wherever in a group of three bytes it begins.
fn kept() -> Vec<String> {
    let at = |before: usize| {
        let text = data_encoding::BASE64_NOPAD.encode(format!("{}{MARKER}", "x".repeat(before)).as_bytes());
        // What also depends on the bytes around it is left out.
        text[(before * 8).div_ceil(6)..text.len() - 1].to_owned()
    };
    (0..3).map(at).collect()
}

/// The first file below the folder that holds one of these.
fn shown_by(dir: &Path, wanted: &[String]) -> Option<String> {
    fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return shown_by(&path, wanted);
        }
        // A running server may have removed it meanwhile.
        let bytes = fs::read(&path).unwrap_or_default();
        let found = wanted.iter().any(|text| {
            let mut windows = bytes.windows(text.len());
            windows.any(|window| window == text.as_bytes())
        });
        found.then(|| path.display().to_string())
    })
}

async fn send(server: &Running, id: &str) -> String {
    let data = json!({"do": "call", "filler": MARKER});
    let accepted = server.api.send_event(id, "test.p", data).await;
    accepted.accepted[0].correlation_id.to_string()
}

/// The same course with sealing on and off, so that a search which finds nothing in the first is known to look well.
#[tokio::test]
async fn no_body_is_on_the_disk_in_any_state_of_its_delivery_unless_sealing_is_off() {
    for (engine, sealed) in [("sled", true), ("redb", true), ("sled", false), ("redb", false)] {
        let target = Upstream::start([Answer::status(200), Answer::status(400)], Answer::status(200)).await;
        let setup = Setup::new().plugin(&plugin("github")).plugin(&test_guest("probe"));
        let config = format!("\n[store]\nengine = \"{engine}\"\nseal_bodies = {sealed}\n");
        let server = setup.config(&config).start().await;
        let shows = |form: fn() -> Vec<String>, data: &Path, when: &str| {
            let found = shown_by(data, &form());
            assert_eq!(found.is_none(), sealed, "{engine}, {when}: {found:?}");
        };
        let data = server.setup().data();
        let github =
            "name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\n";
        server.api.apply(github).await;
        server.api.set_secret("github", "signing", GITHUB_SECRET).await;
        server.api.apply(&probe("p", &target, "")).await;
        let correlation = send(&server, "1").await;
        shows(plain, &data, "accepted");
        server.api.wait_delivered(&correlation).await;
        shows(plain, &data, "delivered");
        let correlation = send(&server, "2").await;
        let dead = server.api.wait_dead(&correlation).await;
        shows(plain, &data, "dead");
        let replay = format!("/v1/dead-letters/{}/replay", dead.delivery.id);
        server.api.post(&replay).await;
        server.api.wait_delivered(&correlation).await;
        shows(plain, &data, "replayed");

        // A request that is kept because its connector is gone.
        let setup = server.kill().await;
        fs::remove_file(setup.plugins().join("github.wasm")).unwrap();
        shows(plain, &data, "killed");
        let server = setup.start().await;
        let body = issue_opened(9).replace("Pumps fail", MARKER);
        let answer = server.api.send_github(GITHUB_SECRET, "issues", "d-1", &body).await;
        let answer: EventsAccepted = api::read(answer).await;
        let correlation = answer.accepted[0].correlation_id.to_string();
        shows(kept, &data, "kept");
        let (code, log, setup) = server.stop().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains(MARKER), "{log}");
        shows(kept, &data, "stopped");

        // It is read back, from the disk alone, when its connector is there again.
        let server = setup.plugin(&plugin("github")).start().await;
        server.api.wait_delivered(&correlation).await;
        shows(plain, &data, "read back");
        shows(kept, &data, "read back");
    }
}

#[tokio::test]
async fn sealing_that_is_turned_on_or_off_between_starts_loses_nothing() {
    let target = Upstream::start([], Answer::status(200)).await;
    let off = "\n[store]\nseal_bodies = false\n";
    let setup = Setup::new().plugin(&test_guest("probe")).config(off);
    let server = setup.start().await;
    server.api.apply(&probe("p", &target, "")).await;
    server.api.post("/v1/connections/p/disable").await;
    let plain = send(&server, "1").await;
    let setup = server.kill().await;

    let server = setup.instead_of(off, "").start().await;
    let sealed = send(&server, "2").await;
    let setup = server.kill().await;

    let server = setup.config(off).start().await;
    let plain_again = send(&server, "3").await;
    server.api.post("/v1/connections/p/enable").await;
    for correlation in [plain, sealed, plain_again] {
        let delivered = server.api.wait_delivered(&correlation).await;
        assert_eq!(delivered.attempts.len(), 1);
    }
    assert_eq!(target.asked().len(), 3);
}
