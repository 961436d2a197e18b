//! The commands for a data folder, on one that a server has used.

use cofferdam_tests::server::run_to_end;
use cofferdam_tests::{Answer, Setup, Upstream, artifacts};
use serde_json::json;
use tokio::process::Command;

use crate::connections::{probe, probe_server};

/// Runs `cofferdam store` on the data folder and hands back its exit code and standard error.
async fn store(setup: &Setup, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(artifacts::command());
    command.arg("store").args(words).arg("--data").arg(setup.data());
    run_to_end(command).await
}

#[tokio::test]
async fn a_data_folder_goes_from_one_engine_to_another_with_all_that_it_owes() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    server.api.post("/v1/connections/p/disable").await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let setup = server.kill().await;

    assert_eq!(store(&setup, &["check"]).await, (Some(0), String::new()));
    assert_eq!(
        store(&setup, &["compact", "--engine", "redb"]).await,
        (Some(0), String::new())
    );
    let (code, refused) = run_to_end(setup.command()).await;
    assert_eq!(code, Some(1));
    assert!(
        refused.contains("was made with redb, and sled is configured"),
        "{refused}"
    );

    let server = setup.config("\n[store]\nengine = \"redb\"\n").start().await;
    let (code, in_use) = store(server.setup(), &["check"]).await;
    assert_eq!(code, Some(1));
    assert!(in_use.contains("is in use by another process"), "{in_use}");
    server.api.post("/v1/connections/p/enable").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!((delivered.attempts.len(), target.asked().len()), (1, 1));

    // A kill under redb loses as little as one under sled.
    let setup = server.kill().await;
    assert_eq!(store(&setup, &["check"]).await, (Some(0), String::new()));
    let server = setup.start().await;
    server.api.wait_delivered(&correlation).await;
}
