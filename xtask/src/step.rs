//! Steps that say what they do, and commands that say what failed.

use std::cell::Cell;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Numbered steps on standard error, so that standard output stays the task's own.
pub(crate) struct Steps {
    of: u32,
    done: Cell<u32>,
    began: Instant,
}

impl Steps {
    pub(crate) fn new(of: u32) -> Self {
        Self {
            of,
            done: Cell::new(0),
            began: Instant::now(),
        }
    }

    pub(crate) fn next(&self, what: &str) {
        self.done.set(self.done.get() + 1);
        eprintln!(
            "\n[{}/{}] {} · {what}",
            self.done.get(),
            self.of,
            elapsed(self.began.elapsed())
        );
    }

    pub(crate) fn finish(&self, what: &str) {
        eprintln!("\n{what} in {}", elapsed(self.began.elapsed()));
    }
}

fn elapsed(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// Runs a command with its output passed through.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{} cannot be started", program(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// Runs a command for its output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{} cannot be started", program(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            words(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command can be run and succeeds; its output is of no interest.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn words(command: &Command) -> String {
    let mut text = program(command);
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
