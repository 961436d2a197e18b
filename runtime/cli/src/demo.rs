//! `cofferdam demo`: the main job, done for real on this machine alone, and every claim about it checked.
//!
//! The server is the one that `serve` runs, started in this process on free loopback ports with a data folder of its own.
//! Only the outside world is made up: a stand-in for Slack, a stand-in for a webhook receiver, and requests shaped and
//! signed as GitHub's are. What the demo says is checked against the stand-ins' own books and the server's API.

mod canary;
mod checks;
mod connections;
mod github;
mod narrator;
mod receiver;
mod scenes;
mod secrets;
mod slack;
mod stage;
mod stand_in;
mod story;
mod wait;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;

use crate::output::Output;
use crate::render::{self, plural};
use narrator::Narrator;
use stage::Stage;
use story::{Story, Summary};

/// See it work: GitHub webhooks in, Slack messages and signed webhooks out, with failures on the way
///
/// Runs a server and stand-ins for GitHub, Slack and a webhook receiver on this machine alone. The stand-ins fail, slow down
/// and refuse; the demo shows what the server makes of it and checks every claim against what the stand-ins saw. It takes
/// a few seconds, uses nothing outside a temporary folder, and sends nothing to any other machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam plugin build plugins/github plugins/slack plugins/webhook \\
      --out ./connectors
  cofferdam demo --plugins ./connectors

Exit status: 0 if every check held, 1 if not; then the folder with the server's log is kept.")]
pub(crate) struct Demo {
    /// Folder with the connectors github, slack and webhook (.wasm)
    #[arg(long, env = "COFFERDAM_PLUGINS", value_name = "DIR")]
    plugins: PathBuf,

    /// Keep the folder with the server's data and log
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut narrator = Narrator::new(*output);
        narrator.say(
            "Cofferdam's main job, on this machine alone. GitHub, Slack and the webhook receiver are local stand-ins.",
        )?;
        let stage = Box::pin(Stage::set(&self.plugins)).await?;
        let mut story = Story::default();
        let played = Box::pin(scenes::play(&stage, &mut narrator, &mut story)).await;
        story.timings.total_ms = wait::millis(began.elapsed());
        let all_held = played.is_ok() && narrator.checks().all_held();
        let kept = stage.strike(self.keep || !all_held).await;

        show_traces(&story, &mut narrator)?;
        if let Some(folder) = &kept {
            narrator.say(&format!("\nKept: {} (server.log, data)", folder.display()))?;
        }
        if output.is_json() {
            output.show(
                &Summary::new(&story, narrator.checks(), kept.as_deref(), played.as_ref().err()),
                |_| String::new(),
            )?;
        }
        verdict(&mut narrator, played, &story)
    }
}

/// The two stories that are worth reading from top to bottom.
fn show_traces(story: &Story, narrator: &mut Narrator) -> anyhow::Result<()> {
    let paint = narrator.paint();
    for (title, trace) in [
        (
            "The issue: failures, the wait that Slack asked for, and the receipt",
            &story.issue_trace,
        ),
        ("The push: a dead letter, replayed by a person", &story.push_trace),
    ] {
        if let Some(trace) = trace {
            narrator.say(&format!(
                "\n{}\n\n{}",
                paint.bold(title),
                render::timeline(trace, paint)
            ))?;
        }
    }
    Ok(())
}

fn verdict(narrator: &mut Narrator, played: anyhow::Result<()>, story: &Story) -> anyhow::Result<()> {
    let checks = narrator.checks();
    let (all, failed) = (checks.count(), checks.failed());
    if let Err(error) = played {
        return Err(error.context(format!("the demo broke off after {}", plural(all, "check"))));
    }
    if !failed.is_empty() {
        bail!("{} of {all} checks failed: {}", failed.len(), failed.join(", "));
    }
    let seconds = story.timings.total_ms / 1_000;
    narrator.say(&format!("\nAll {all} checks held, in {seconds} s."))
}
