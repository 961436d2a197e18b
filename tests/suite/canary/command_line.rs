//! What the `cofferdam` command prints, for people and for programs.

use std::process::Stdio;

use cofferdam_tests::{Running, artifacts};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::places::{Place, Places};
use super::planted::Canary;

/// Runs every command that asks a server, and the one that takes a secret.
pub(crate) async fn run(server: &Running, canary: &Canary, places: &mut Places) -> anyhow::Result<()> {
    let letters = server.api.dead_letters().await;
    let died = letters.first().ok_or_else(|| anyhow::anyhow!("nothing died"))?;
    let (letter, correlation) = (died.delivery.id.to_string(), died.delivery.correlation_id.to_string());
    let connection = canary.kind.connection;
    for words in [
        &["plugin", "list"][..],
        &["connection", "list"],
        &["connection", "match", "--subscribe", "test.*"],
        &["secret", "list"],
        &["trace", correlation.as_str()],
        &["dead-letters", "list"],
        &["dead-letters", "show", letter.as_str()],
        &["token", "list"],
        &["connection", "disable", connection],
        &["connection", "enable", connection],
    ] {
        for json in [false, true] {
            let (code, told) = ask(server, words, json, None).await?;
            anyhow::ensure!(
                code == Some(0),
                "{words:?} ended with {code:?}: {}",
                String::from_utf8_lossy(&told)
            );
            places.add(Place::CommandLine, words.join(" "), told);
        }
    }
    for (words, done) in [
        (["secret", "set", connection, "key"], true),
        (["secret", "set", "nobody", "key"], false),
    ] {
        let (code, told) = ask(server, &words, true, Some(&canary.value)).await?;
        anyhow::ensure!((code == Some(0)) == done, "{words:?} ended with {code:?}");
        places.add(Place::CommandLine, words.join(" "), told);
    }
    Ok(())
}

/// The commands that work on a folder without a server.
pub(crate) async fn run_offline(data: &std::path::Path, places: &mut Places) -> anyhow::Result<()> {
    let mut command = Command::new(artifacts::command());
    command.args(["store", "check", "--data"]).arg(data).arg("--json");
    let output = command.output().await?;
    anyhow::ensure!(
        output.status.success(),
        "the store is not sound: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    places.add(
        Place::CommandLine,
        "store check",
        [output.stdout, output.stderr].concat(),
    );
    Ok(())
}

async fn ask(
    server: &Running,
    words: &[&str],
    json: bool,
    typed: Option<&[u8]>,
) -> anyhow::Result<(Option<i32>, Vec<u8>)> {
    let mut command = Command::new(artifacts::command());
    command
        .args(words)
        .args(json.then_some("--json"))
        .env("COFFERDAM_URL", &server.api.admin)
        .env("COFFERDAM_TOKEN", &server.api.token)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(typed.unwrap_or_default()).await?;
    }
    let output = child.wait_with_output().await?;
    Ok((output.status.code(), [output.stdout, output.stderr].concat()))
}
