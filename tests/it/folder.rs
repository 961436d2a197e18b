//! The plugins folder is alive: what is dropped, replaced and removed there is noticed by a server that runs.

mod commands;
mod grants;
mod load;
mod quarantine;
mod signatures;
mod versions;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cofferdam_domain::{DeliveryState, Digest};
use cofferdam_server::admin::views::{ConnectionView, ConnectorsView, Health};
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream, wait};
use serde_json::json;

use crate::connections::probe;

/// The same code under another digest: a custom section says nothing to anybody.
pub(crate) fn variant(guest: &Path, tag: &str) -> Vec<u8> {
    let mut bytes = fs::read(guest).unwrap();
    let length = u8::try_from(tag.len()).unwrap();
    bytes.extend([0, length + 1, length]);
    bytes.extend(tag.as_bytes());
    bytes
}

/// The component with some of its bytes changed for others of the same length, wherever they are.
pub(crate) fn patched(bytes: &[u8], before: &str, after: &str) -> Vec<u8> {
    assert_eq!(before.len(), after.len());
    let mut patched = bytes.to_vec();
    let places: Vec<_> = (0..bytes.len() - before.len())
        .filter(|at| bytes[*at..].starts_with(before.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{before:?} is not in the component");
    for at in places {
        patched[at..at + after.len()].copy_from_slice(after.as_bytes());
    }
    patched
}

/// A version of the probe that asks for one method more.
pub(crate) fn asking_more() -> Vec<u8> {
    patched(&fs::read(test_guest("probe")).unwrap(), "PATCH", "PURGE")
}

/// Waits until the connection runs this version.
pub(crate) async fn runs(server: &Running, connection: &str, bytes: &[u8]) -> ConnectionView {
    let digest = Some(Digest::of(bytes));
    wait::until("the connection to run the version", || async {
        let view = server.api.connection(connection).await;
        (view.runs.digest == digest).then_some(view)
    })
    .await
}

/// Puts a file into the folder as careful people do: written beside it, and renamed into place.
pub(crate) fn put(server: &Running, name: &str, bytes: &[u8]) {
    let plugins = server.setup().plugins();
    let beside = plugins.join(format!(".{name}.new"));
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, plugins.join(name)).unwrap();
}

/// Waits until the folder looks so.
pub(crate) async fn folder_is(
    server: &Running,
    what: &str,
    wanted: impl Fn(&ConnectorsView) -> bool,
) -> ConnectorsView {
    wait::until(what, || async {
        let view = server.api.connectors().await;
        wanted(&view).then_some(view)
    })
    .await
}

/// Why a file is not in use.
pub(crate) fn reason(view: &ConnectorsView, file: &str) -> Option<String> {
    let problem = view.problems.iter().find(|problem| problem.path.ends_with(file));
    problem.map(|problem| problem.reason.clone())
}

pub(crate) async fn send(server: &Running, id: &str, connection: &str) -> String {
    let kind = format!("test.{connection}");
    let sent = server.api.send_event(id, &kind, json!({"do": "call"})).await;
    sent.accepted[0].correlation_id.to_string()
}

#[tokio::test]
async fn a_connector_that_is_dropped_runs_and_one_that_is_removed_makes_its_deliveries_wait_until_it_is_back() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().start().await;
    assert!(server.api.connectors().await.connectors.is_empty());
    let bytes = fs::read(test_guest("probe")).unwrap();
    put(&server, "probe.wasm", &bytes);
    folder_is(&server, "the dropped connector", |view| view.connectors.len() == 1).await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = send(&server, "1", "p").await;
    server.api.wait_delivered(&first).await;

    fs::remove_file(server.setup().plugins().join("probe.wasm")).unwrap();
    folder_is(&server, "the removed connector to go", |view| {
        view.connectors.is_empty()
    })
    .await;
    assert_eq!(server.api.connection("p").await.health, Health::NoConnector);
    let second = send(&server, "2", "p").await;
    let trace = server.api.trace(&second).await;
    let state = &trace.events[0].deliveries[0].delivery.state;
    assert!(matches!(state, DeliveryState::Pending { .. }), "{state:?}");

    put(&server, "another-name.wasm", &bytes);
    let delivered = server.api.wait_delivered(&second).await;
    assert_eq!(delivered.attempts.len(), 1, "what waited was not charged");
}

#[tokio::test]
async fn a_file_that_grows_is_not_loaded_before_it_stands_still() {
    use std::io::Write;
    let setup = Setup::new().config("\n[plugins]\nsettle_ms = 400\nscan_every_ms = 100\n");
    let server = setup.start().await;
    let bytes = fs::read(test_guest("probe")).unwrap();
    let path = server.setup().plugins().join("probe.wasm");
    let mut file = fs::File::create(&path).unwrap();
    // Slower than the folder is looked at, and quicker than a file has to stand still.
    let mut every = tokio::time::interval(std::time::Duration::from_millis(150));
    for piece in bytes.chunks(bytes.len() / 7) {
        every.tick().await;
        let view = server.api.connectors().await;
        assert!(view.connectors.is_empty() && view.problems.is_empty(), "{view:?}");
        file.write_all(piece).unwrap();
    }
    drop(file);
    folder_is(&server, "the whole file", |view| view.connectors.len() == 1).await;
    assert!(!server.log().contains("is not in use"), "{}", server.log());
}

#[tokio::test]
async fn what_is_no_connector_is_named_holds_nothing_up_and_is_tried_again_when_it_changes() {
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    let plugins = server.setup().plugins();
    symlink(test_guest("probe"), plugins.join("link.wasm")).unwrap();
    fs::create_dir(plugins.join("folder.wasm")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(plugins.join("pipe.wasm"))
        .status();
    assert!(pipe.unwrap().success());
    fs::File::create(plugins.join("large.wasm"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    put(&server, "slack.wasm", b"not a component");
    put(&server, "twin.wasm", &fs::read(test_guest("probe")).unwrap());
    put(&server, "other.wasm", &variant(&test_guest("probe"), "other"));
    let view = folder_is(&server, "every problem", |view| view.problems.len() == 7).await;
    for (file, says) in [
        ("link.wasm", "a symbolic link"),
        ("folder.wasm", "a folder"),
        ("pipe.wasm", "a pipe"),
        ("large.wasm", "larger than"),
        ("slack.wasm", "not WebAssembly"),
        ("twin.wasm", "the same as probe.wasm"),
        ("other.wasm", "probe.wasm already provides the connector probe"),
    ] {
        let said = reason(&view, file).unwrap_or_default();
        assert!(said.contains(says), "{file}: {said:?}");
    }
    assert_eq!(view.connectors.len(), 1);
    put(&server, "slack.wasm", &fs::read(plugin("slack")).unwrap());
    folder_is(&server, "the mended file", |view| {
        view.connectors.len() == 2 && reason(view, "slack.wasm").is_none()
    })
    .await;
    // The name is free once its file has gone, for one of those that wait for it.
    fs::remove_file(plugins.join("probe.wasm")).unwrap();
    folder_is(&server, "the next file with the name", |view| {
        let probe = view
            .connectors
            .iter()
            .find(|connector| connector.descriptor.name.as_str() == "probe");
        probe.is_some_and(|probe| probe.file != "probe.wasm")
    })
    .await;
}

#[tokio::test]
async fn a_file_that_says_a_connectors_name_later_takes_none_of_its_connections_not_even_with_the_next_start() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    put(&server, "aaa.wasm", &variant(&test_guest("probe"), "taker"));
    folder_is(&server, "the second file", |view| reason(view, "aaa.wasm").is_some()).await;
    let first = send(&server, "1", "p").await;
    server.api.wait_delivered(&first).await;
    let (_, _, setup) = server.stop().await;
    let server = setup.start().await;
    let view = server.api.connectors().await;
    assert!(reason(&view, "aaa.wasm").is_some(), "{view:?}");
    assert_eq!(view.connectors[0].file, "probe.wasm");
}

#[tokio::test]
async fn more_files_than_are_looked_at_are_told_and_take_nothing_away() {
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    let plugins = server.setup().plugins();
    for number in 0..1_100 {
        symlink("/nowhere", plugins.join(format!("a{number:04}.wasm"))).unwrap();
    }
    let view = folder_is(&server, "the full folder", |view| view.problems.len() > 900).await;
    assert_eq!(view.connectors.len(), 1);
    let told = view.problems.iter().find(|problem| problem.path == plugins);
    assert!(
        told.is_some_and(|told| told.reason.contains("more than 1000")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_no_notice_tells_of_is_found_by_a_look_that_comes_by_itself() {
    let setup = Setup::new().config("\n[plugins]\nsettle_ms = 20\nscan_every_ms = 300\n");
    let plugins = setup.plugins();
    let [first, second] = ["first", "second"].map(|name| plugins.with_file_name(name));
    fs::rename(&plugins, &first).unwrap();
    fs::create_dir(&second).unwrap();
    symlink(&first, &plugins).unwrap();
    let server = setup.start().await;
    put(&server, "probe.wasm", &fs::read(test_guest("probe")).unwrap());
    folder_is(&server, "the connector", |view| view.connectors.len() == 1).await;

    // Another folder takes its place. The system watches the first one, in which nothing happens.
    fs::copy(first.join("probe.wasm"), second.join("probe.wasm")).unwrap();
    fs::copy(plugin("slack"), second.join("slack.wasm")).unwrap();
    let beside = plugins.with_file_name("beside");
    symlink(&second, &beside).unwrap();
    fs::rename(&beside, &plugins).unwrap();
    folder_is(&server, "the other folder", |view| view.connectors.len() == 2).await;

    // And from then on the other one is the one that is watched.
    fs::remove_file(second.join("slack.wasm")).unwrap();
    folder_is(&server, "the removal", |view| view.connectors.len() == 1).await;
}
