//! The command, as somebody types it in another terminal.

use std::process::Output;

use tokio::process::Command;

use crate::{Running, artifacts};

impl Running {
    /// Runs the command against this server.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let command = Command::new(artifacts::command())
            .args(arguments)
            .env("COFFERDAM_URL", &self.api.admin)
            .env("COFFERDAM_TOKEN", &self.api.token)
            .env("NO_COLOR", "1")
            .kill_on_drop(true)
            .output();
        command.await.expect("the command can be started")
    }

    /// What the command says if it succeeds, as it must.
    pub async fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(output.stdout).expect("the command writes text")
    }
}
