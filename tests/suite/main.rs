//! `cargo xtask suite NAME`: the long proofs. Each runs the real code against something that goes wrong at random, in
//! many rounds, prints a table and closes with `NAME: N passed, M failed`.
//!
//! What is random comes from a seed that is printed with what failed, so that the round can be asked for again.

mod canary;
mod crash;
mod engine;
mod faults;
mod hostile_egress;
mod hostile_guests;
mod logs;
mod needles;
mod plan;
mod power_loss;
mod shim;
mod simulation;
mod table;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use plan::Plan;
use tally::Tally;

/// Run one of the long proofs.
#[derive(Parser)]
#[command(name = "cofferdam-suite", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Which: `crash`, `power-loss`, `faults`, `simulation`, `hostile-egress`, `hostile-guests` or `canary`.
    #[arg(required = true)]
    name: Option<String>,
    #[command(flatten)]
    plan: Plan,
    /// power-loss: take this journal instead of recording one.
    #[arg(long)]
    journal: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Processes that a suite starts.
#[derive(Subcommand)]
enum Part {
    /// Works on a store while it is recorded.
    #[command(hide = true)]
    PowerLossWriter(power_loss::writer::Writer),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.part {
        Some(Part::PowerLossWriter(writer)) => power_loss::writer::run(writer).map(|()| ExitCode::SUCCESS),
        None => close(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn close(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let name = arguments.name.as_deref().unwrap_or_default();
    let tally = run(name, arguments)?;
    println!("{name}: {} passed, {} failed", tally.passed, tally.failed);
    Ok(ExitCode::from(u8::from(tally.failed > 0)))
}

/// Each suite makes an executor of its own, if it needs one. A further suite is a line here.
fn run(name: &str, arguments: &Arguments) -> anyhow::Result<Tally> {
    let plan = &arguments.plan;
    match name {
        "crash" => crash::run(plan.cycles(100)?),
        "power-loss" => power_loss::run(plan.cycles(200)?, arguments.journal.as_deref()),
        "faults" => faults::run(plan),
        "canary" => canary::run(plan),
        "hostile-egress" => hostile_egress::run(plan),
        "hostile-guests" => hostile_guests::run(plan),
        "simulation" => simulation::run(plan.seeds(500)?),
        _ => anyhow::bail!("there is no suite {name:?}; `cargo xtask suite --help` lists them"),
    }
}
