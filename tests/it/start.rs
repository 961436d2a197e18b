//! A start that cannot be: one clear answer, and a non-zero exit.

use std::fs;

use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::server::run_to_end;
use cofferdam_tests::{Running, Setup};

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
    assert!(reason("slack2.wasm").contains("slack.wasm already provides"));
    assert!(reason("cut.wasm").contains("does not compile"));
    assert_eq!(view.problems.len(), 6);
}
