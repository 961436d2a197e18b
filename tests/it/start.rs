//! A start that cannot be: one clear answer, and a non-zero exit.

use std::fs;

use cofferdam_domain::{DeliveryState, Digest};
use cofferdam_server::admin::views::Health;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::server::run_to_end;
use cofferdam_tests::{Answer, Running, Setup, Upstream, api, wait};
use serde_json::json;

use crate::connections::{GITHUB_SECRET, issue_opened, probe};

/// The start fails with exactly one line of its own that says this.
async fn refused(setup: &Setup, says: &[&str]) {
    let (code, stderr) = run_to_end(setup.command()).await;
    let lines: Vec<_> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].starts_with("error: "), "{stderr}");
    for part in says {
        assert!(lines[0].contains(part), "{part:?} is not said: {stderr}");
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let first: Running = Setup::new().start().await;
    refused(first.setup(), &["in use by another process"]).await;
    let (code, log, _) = first.stop().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("cofferdam.toml");
    fs::write(
        &config,
        format!("[listen]\npublic = \"{address}\"\nadmin = \"127.0.0.1:0\"\n[log]\nlevel = \"error\"\n"),
    )
    .unwrap();
    let setup = Setup::new();
    let mut command = tokio::process::Command::new(cofferdam_tests::artifacts::command());
    command
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .arg("--data")
        .arg(setup.data())
        .arg("--plugins")
        .arg(setup.plugins());
    let (code, stderr) = run_to_end(command).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&address.to_string()) && stderr.contains("listen.public"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_and_a_plugins_folder_that_is_not_there_are_named() {
    let setup = Setup::new();
    fs::write(setup.data(), "not a folder").unwrap();
    refused(&setup, &["data", "not writable"]).await;
    let setup = Setup::new();
    fs::remove_dir(setup.plugins()).unwrap();
    refused(&setup, &["plugins", "--plugins"]).await;
}

#[tokio::test]
async fn every_mistake_of_a_configuration_is_reported_with_its_line() {
    let setup = Setup::new().config("colour = 1\n[limits]\npending = 0\nbody_bytes = \"big\"\n[vault]\nkey = 1\n");
    let (code, stderr) = run_to_end(setup.command()).await;
    assert_eq!(code, Some(1));
    for part in [
        "4 mistakes",
        "line 7: ",
        "line 9: ",
        "line 10: ",
        "line 12: ",
        "limits.pending is 0",
        "unknown key vault.key",
    ] {
        assert!(stderr.contains(part), "{part:?} is not said: {stderr}");
    }
}

#[tokio::test]
async fn a_vault_key_that_is_gone_open_to_others_or_another_is_a_clear_error_and_changes_nothing() {
    let server = Setup::new().start().await;
    let (_, _, setup) = server.stop().await;
    let key = setup.data().join("vault.key");
    let right = fs::read(&key).unwrap();

    fs::remove_file(&key).unwrap();
    refused(&setup, &["vault.key"]).await;
    assert!(!key.exists(), "a lost key is not silently replaced");

    use std::os::unix::fs::PermissionsExt;
    fs::write(&key, &right).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&setup, &["chmod 600"]).await;

    fs::write(&key, data_encoding_of([7; 32])).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&setup, &["another key"]).await;

    fs::write(&key, &right).unwrap();
    setup.start().await;
}

fn data_encoding_of(bytes: [u8; 32]) -> String {
    data_encoding::BASE64.encode(&bytes)
}

#[tokio::test]
async fn a_connector_that_does_not_load_is_named_with_its_reason_and_the_rest_run() {
    let setup = Setup::new().plugin(&plugin("slack")).plugin(&test_guest("broken"));
    fs::write(setup.plugins().join("empty.wasm"), "").unwrap();
    fs::write(setup.plugins().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(setup.plugins().join("native.wasm"), b"\x7fELF and more").unwrap();
    // Another package, another interface, another version, another function: of WASI only what is listed is there.
    let foreign = [
        "wasi:nn/graph@0.2.0",
        "wasi:http/incoming-handler@0.2.4",
        "wasi:random/random@0.3.0",
        "wasi:filesystem/preopens@0.2.0",
    ];
    for (at, name) in foreign.iter().enumerate() {
        let file = setup.plugins().join(format!("foreign{at}.wasm"));
        fs::write(file, component_that_imports(name)).unwrap();
    }
    fs::write(setup.plugins().join("notes.txt"), "not a plugin").unwrap();
    fs::copy(plugin("slack"), setup.plugins().join("slack2.wasm")).unwrap();
    let slack = fs::read(plugin("slack")).unwrap();
    fs::write(setup.plugins().join("cut.wasm"), &slack[..slack.len() / 2]).unwrap();
    let server = setup.start().await;
    let view = server.api.connectors().await;
    assert_eq!(view.connectors.len(), 1);
    assert_eq!(view.connectors[0].descriptor.name.as_str(), "slack");
    let reason = |file: &str| {
        let problem = view.problems.iter().find(|problem| problem.path.ends_with(file));
        problem
            .unwrap_or_else(|| panic!("{file} is not named: {:?}", view.problems))
            .reason
            .clone()
    };
    assert!(reason("broken.wasm").contains("describe"), "{}", reason("broken.wasm"));
    assert!(reason("empty.wasm").contains("not WebAssembly"));
    assert!(reason("module.wasm").contains("core WebAssembly module"));
    assert!(reason("native.wasm").contains("native code"));
    assert!(reason("slack2.wasm").contains("the same as slack.wasm"));
    assert!(reason("cut.wasm").contains("does not compile"));
    for (at, name) in foreign.iter().enumerate() {
        let reason = reason(&format!("foreign{at}.wasm"));
        assert!(
            reason.contains("imports something that connectors are not given") && reason.contains(name),
            "{name}: {reason}"
        );
    }
    assert_eq!(view.problems.len(), 6 + foreign.len());
}

/// The smallest component that needs an instance of this name with one function in it: magic, version and layer; a type
/// section with that instance type; an import section with that instance
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
fn component_that_imports(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let function_type = [0x01, 0x40, 0x00, 0x01, 0x00];
    let exported = [0x04, 0x00, 0x01, b'f', 0x01, 0x00];
    let mut bytes = vec![0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    bytes.extend([7, 14, 1, 0x42, 2]);
    bytes.extend(function_type);
    bytes.extend(exported);
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([5, 0]);
    bytes
}

#[tokio::test]
async fn a_connector_whose_file_has_changed_gets_nothing_until_it_is_granted_however_often_its_connection_is_applied() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup
        .config("\n[plugins]\nsettle_ms = 20\nupdates = \"ask\"\n")
        .start()
        .await;
    let file = probe("p", &target, "");
    server.api.apply(&file).await;
    let (_, _, setup) = server.stop().await;
    // Another file that says the same name; a custom section changes the digest and nothing else.
    let mut other = fs::read(test_guest("probe")).unwrap();
    other.extend([0, 2, 1, b'x']);
    fs::write(setup.plugins().join("probe.wasm"), &other).unwrap();
    let server = setup.start().await;
    assert_eq!(server.api.connection("p").await.health, Health::Attention);
    let mut ran = Vec::new();
    for id in ["1", "2", "3"] {
        let accepted = server.api.send_event(id, "test.p", json!({"do": "call"})).await;
        let correlation = accepted.accepted[0].correlation_id.to_string();
        let delivered = server.api.wait_delivered(&correlation).await;
        let end = delivered.attempts[0].ended.clone().unwrap();
        ran.push(end.connector.unwrap().digest);
        if id == "1" {
            server.api.apply(&file).await;
        } else {
            let body = json!({ "digest": Digest::of(&other) });
            let _: serde_json::Value = server.api.post_json("/v1/connections/p/grant", &body).await;
        }
    }
    let granted = Digest::of(&fs::read(test_guest("probe")).unwrap());
    assert_eq!(
        ran,
        [granted, granted, Digest::of(&other)],
        "what was granted goes on until then"
    );
}

#[tokio::test]
async fn a_webhook_that_arrives_while_its_connector_is_gone_is_kept_and_becomes_the_event_when_it_is_back() {
    let server = Setup::new().plugin(&plugin("github")).start().await;
    server
        .api
        .apply("name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\n")
        .await;
    server.api.set_secret("github", "signing", GITHUB_SECRET).await;
    let (_, _, setup) = server.stop().await;
    fs::remove_file(setup.plugins().join("github.wasm")).unwrap();
    let server = setup.start().await;
    let answer = server
        .api
        .send_github(GITHUB_SECRET, "issues", "d-1", &issue_opened(9))
        .await;
    assert_eq!(answer.status(), 202);
    let again = server
        .api
        .send_github(GITHUB_SECRET, "issues", "d-1", &issue_opened(9))
        .await;
    let again: EventsAccepted = api::read(again).await;
    let again = &again.accepted[0];
    assert!(again.duplicate, "kept once, however often it is sent");
    assert!(server.api.dead_letters().await.is_empty());
    let (_, _, setup) = server.stop().await;
    let server = setup.plugin(&plugin("github")).start().await;
    let correlation = again.correlation_id.to_string();
    let events = wait::until("the event", || async {
        let events = server.api.trace(&correlation).await.events;
        (events.len() == 2).then_some(events)
    })
    .await;
    let made = events
        .iter()
        .find(|trace| trace.event.kind == "com.github.issues.opened")
        .unwrap();
    assert_eq!(made.event.subject.as_deref(), Some("issues/9"));
    assert_eq!(made.event.dedupe_key.as_deref(), Some("d-1"));
}

#[tokio::test]
async fn a_client_that_hangs_takes_none_of_the_time_that_attempts_have_to_settle() {
    use tokio::io::AsyncWriteExt;
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup.config("\n[server]\ndrain_ms = 3000\n").start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    target.wait_for(1).await;

    // A caller that is known, and whose body never ends: its request is under way all through the stop.
    let address = server.api.public.trim_start_matches("http://").to_owned();
    let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\nhalf",
        server.api.token
    );
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(
        server
            .api
            .public("/hooks/nobody")
            .body("{}")
            .send()
            .await
            .unwrap()
            .status(),
        404,
        "others are answered beside it"
    );

    server.terminate();
    wait::until("the server to say that it stops", || async {
        server.log().contains("stopping").then_some(())
    })
    .await;
    target.release();
    let (code, log, setup) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(
        !log.contains("attempts under way;"),
        "the attempts had the whole bound: {log}"
    );
    let server = setup.start().await;
    let trace = server.api.trace(&correlation).await;
    let delivery = &trace.events[0].deliveries[0];
    assert!(matches!(delivery.delivery.state, DeliveryState::Delivered { .. }));
    assert_eq!(delivery.attempts.len(), 1);
}
