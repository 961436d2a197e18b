//! `cargo xtask bench`: what a call costs, what hosting costs, what the gate costs, what the whole path carries, what it takes
//! in memory, what the queue does under load and depth, and what it costs to seal bodies.
//!
//! Every comparison is a ratio of two things measured in turns in the same run, since machines are noisy.

mod call;
mod gate;
mod host;
mod memory;
mod pipeline;
mod queue;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use cofferdam_store::Engine;

use report::Report;

/// Measure, and print a table.
#[derive(Parser)]
#[command(name = "cofferdam-bench")]
struct Arguments {
    /// Only these: `call`, `host`, `gate`, `pipeline`, `memory`, `queue`, `bodies`; none means all. Of `host`, `calls` and
    /// `neighbour` are parts that can be asked for alone.
    #[arg(value_enum)]
    names: Vec<Name>,
    /// Print one JSON object whose keys are the row names.
    #[arg(long)]
    json: bool,
    /// The store's engine for `host`, `pipeline`, `memory`, `queue` and `bodies`: `sled` or `redb`.
    #[arg(long, default_value = "sled", value_parser = engine_of)]
    engine: Engine,
    /// The process of its own that `queue` starts on a folder.
    #[arg(long, hide = true)]
    queue_cost: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Call,
    Host,
    Calls,
    Neighbour,
    Gate,
    Pipeline,
    Memory,
    Queue,
    Bodies,
}

fn engine_of(text: &str) -> Result<Engine, String> {
    let known = Engine::ALL.into_iter().find(|engine| engine.name() == text);
    known.ok_or_else(|| format!("there is no engine {text:?}; there are sled and redb"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |name| arguments.names.is_empty() || arguments.names.contains(&name);
    let engine = arguments.engine;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the benchmark cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(data) = arguments.queue_cost {
        runtime.block_on(queue::child(data, engine));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    runtime.block_on(async {
        if wanted(Name::Call) {
            eprintln!("measuring calls (about 10 s)");
            call::measure(&mut report).await;
        }
        if wanted(Name::Host) {
            eprintln!("measuring the host (about 7 minutes)");
            host::measure(&mut report, engine).await;
        } else {
            if arguments.names.contains(&Name::Calls) {
                host::calls::measure(&mut report).await;
            }
            if arguments.names.contains(&Name::Neighbour) {
                host::neighbour::measure(&mut report, engine).await;
            }
        }
        if wanted(Name::Gate) {
            eprintln!("measuring the gate (about 15 s)");
            gate::measure(&mut report).await;
        }
        if wanted(Name::Pipeline) {
            eprintln!("measuring the whole path (about 30 s)");
            pipeline::measure(&mut report, engine).await;
        }
        if wanted(Name::Memory) {
            eprintln!("measuring memory (about 30 s)");
            memory::measure(&mut report, engine).await;
        }
        if wanted(Name::Queue) {
            eprintln!("measuring the queue (about 10 minutes)");
            queue::measure(&mut report, engine, wanted(Name::Pipeline)).await;
        }
        if wanted(Name::Bodies) {
            eprintln!("measuring what sealing bodies costs (about 60 s)");
            queue::measure_bodies(&mut report, engine).await;
        }
    });
    if arguments.json {
        report.print_json();
    } else {
        report.print_table();
    }
    ExitCode::SUCCESS
}
