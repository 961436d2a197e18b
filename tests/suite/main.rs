//! `cargo xtask suite NAME`: the long proofs. Each runs the real code against something that goes wrong at random, in
//! many small rounds, prints a table and closes with `NAME: N passed, M failed`.
//!
//! What is random comes from a seed that is printed, so that a round that failed can be asked for again.

mod plan;
mod tally;

use std::process::ExitCode;

use clap::Parser;

use plan::Plan;
use tally::Tally;

/// Run one of the long proofs.
#[derive(Parser)]
#[command(name = "cofferdam-suite")]
struct Arguments {
    /// Which: `crash`, `power-loss`, `faults` or `simulation`.
    name: String,
    #[command(flatten)]
    plan: Plan,
}

fn main() -> ExitCode {
    let Arguments { name, plan } = Arguments::parse();
    match run(&name, &plan) {
        Ok(tally) => {
            println!("{name}: {} passed, {} failed", tally.passed, tally.failed);
            ExitCode::from(u8::from(tally.failed > 0))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each suite makes an executor of its own, if it needs one. A further suite is a line here.
fn run(name: &str, plan: &Plan) -> anyhow::Result<Tally> {
    let _ = plan;
    Ok(match name {
        _ => anyhow::bail!("there is no suite {name}; `cargo xtask suite --help` lists them"),
    })
}
