//! A crash of the server leaves no core: a dump of its memory would hold every secret in use.
//!
//! The server is started where core dumps are on, and ended by a signal that makes one. A process that does not turn them off
//! is ended so too: where even that leaves none, the machine itself has them off, and what the server has set is all that can
//! be looked at.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use cofferdam_tests::Setup;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Runs the words behind it where core dumps are on as far as this process may turn them on.
const WITH_CORES: &str = "ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"";

/// What was seen, in a few words.
pub(crate) async fn check() -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let control = Command::new("sh")
        .args(["-c", WITH_CORES, "sh", "sh", "-c", "kill -ABRT $$"])
        .current_dir(folder.path())
        .status()
        .await?;
    let setup = Setup::new();
    let server = setup.command();
    let mut command = Command::new("sh");
    command
        .args(["-c", WITH_CORES, "sh"])
        .arg(server.as_std().get_program());
    command.args(server.as_std().get_args()).current_dir(folder.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| anyhow::anyhow!("standard output is a pipe"))?;
    // The first line says that it answers.
    anyhow::ensure!(
        BufReader::new(stdout).lines().next_line().await?.is_some(),
        "the server ended at its start"
    );
    let pid = child.id().ok_or_else(|| anyhow::anyhow!("the server ended"))?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap_or_default();
    let set: Vec<_> = line.split_whitespace().skip(4).take(2).collect();
    anyhow::ensure!(set == ["0", "0"], "the server may write cores: {line}");

    let killed = std::process::Command::new("kill")
        .args(["-ABRT", &pid.to_string()])
        .status()?;
    anyhow::ensure!(killed.success(), "SIGABRT could not be sent");
    let status = child.wait().await?;
    anyhow::ensure!(status.signal().is_some(), "SIGABRT did not end the server: {status}");
    anyhow::ensure!(!dumped(status), "the server's crash left a core");
    Ok(if dumped(control) {
        "another process leaves one, the server none".to_owned()
    } else {
        "this machine keeps none of any process; the server's own limit is 0".to_owned()
    })
}

fn dumped(status: ExitStatus) -> bool {
    status.core_dumped()
}
