//! `cargo xtask`: demo, test, bench and suite, each with the set-up it needs on a bare Debian machine with a Rust toolchain.

mod build;
mod examples;
mod setup;
mod step;
mod suite;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, show, test and measure Cofferdam.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything that the main job needs, run it on real input, and print what happened.
    Demo {
        /// Print one JSON object instead of the story.
        #[arg(long)]
        json: bool,
    },
    /// Formatting, lints, unit tests, guests, and the integration tests: everything that CI runs.
    Test,
    /// Measure, and print a table; every comparison is a ratio of two things measured in the same run.
    Bench {
        /// Only this one: `call`, `gate`, `pipeline`, `memory`, `queue`, `bodies` or `host`; of `host`, `calls` or `neighbour` alone.
        name: Option<String>,
        /// Print one JSON object whose keys are the row names.
        #[arg(long)]
        json: bool,
    },
    /// A long proof: the real code, with something going wrong at random, in many rounds.
    ///
    /// Each suite prints a table and closes with `NAME: N passed, M failed`; it succeeds only if M is 0. What is random comes
    /// from seeds that are printed; `--seed S` alone runs the round of that seed again.
    ///
    /// The suites, with their default length on 2 cores:
    ///
    /// crash: `kill -9` (and SIGTERM, and kills while starting) on the real server under load, over and over on the same data.
    /// A ledger outside of it holds every acknowledged event against what the destinations saw: none lost, order kept,
    /// duplicates only where an attempt was under way. 100 cycles, half of them on each engine: about 3 minutes.
    ///
    /// power-loss: everything that a process writes to its store is recorded, and the disk as it could look after a power loss
    /// at any moment is put together from that: what was not fsynced is kept, torn or dropped at random. The real code opens
    /// it and must find everything that was acknowledged. 200 cycles, each on both engines: about 4 minutes. The journal of a
    /// cycle that failed is kept; `--journal FILE --seed S` shows the very same power loss again.
    ///
    /// faults: full, read-only, failing and slow disks under the real server. Each case once on each engine, about a minute.
    ///
    /// simulation: the delivery core and the queue in simulated time, against destinations that fail, stall, refuse and lie,
    /// with restarts and clock jumps. Each seed is a run of its own, and the same seed the same run. 500 seeds: about 20 seconds.
    ///
    /// hostile-egress: what a connector, an upstream and a name server can try against the gate, as data: each case through both
    /// doors, by a real component in the real host, over real sockets. Each case once; well under a minute.
    ///
    /// hostile-guests: what a connector's code can try against its host, on the real server: endless loops, bombs, floods, wild
    /// addresses, files that are no connectors, WebAssembly at random. Each guest's exact failure, its neighbour's latency
    /// alone and beside it, and the memory that comes back are in the table. 3 cycles: about 6 minutes.
    ///
    /// canary: secrets of many kinds, set on the real server, are searched for in everything that a run leaves: guest memory,
    /// answers, pages, logs, metrics, command line, data folder. Once on each engine, about a minute.
    Suite {
        /// Which.
        name: String,
        /// `--cycles N` or `--seeds N`, and `--seed S`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the host and every guest, and no more.
    Build,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo { json } => demo(json),
        Task::Test => test::everything(),
        Task::Bench { name, json } => bench(name.as_deref(), json),
        Task::Suite { name, arguments } => suite::suite(&name, &arguments),
        Task::Build => build::host()
            .and_then(|()| build::guests())
            .and_then(|()| examples::in_other_languages()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(json: bool) -> anyhow::Result<()> {
    let steps = step::Steps::new(4);
    steps.next("looking at what this machine has");
    setup::guest_toolchain()?;
    steps.next(
        "building the runtime (the first time: 10 to 13 minutes on 2 cores, most of it the WebAssembly compiler)",
    );
    build::host()?;
    steps.next(
        "building the connectors for WebAssembly (the first time: about a minute, three with Debian's toolchain)",
    );
    build::plugins()?;
    steps.next("running the main job");
    let mut command = build::cofferdam();
    command.arg("demo").arg("--plugins").arg(build::plugins_dir());
    if json {
        command.arg("--json");
    }
    step::run(&mut command)
}

fn bench(name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let steps = step::Steps::new(3);
    steps.next("looking at what this machine has");
    setup::guest_toolchain()?;
    steps.next("building the runtime, the benchmark and the guests");
    build::host()?;
    build::guests()?;
    build::bench()?;
    steps.next("measuring");
    let mut command = std::process::Command::new(build::target_dir().join("debug/cofferdam-bench"));
    command.args(name).args(json.then_some("--json"));
    step::run(&mut command)
}
