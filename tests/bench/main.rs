//! `cargo xtask bench`: what a call costs, what the whole path carries, what it takes in memory, and what the queue does
//! under load and depth.
//!
//! Every comparison is a ratio of two things measured in turns in the same run, since machines are noisy.

mod call;
mod memory;
mod pipeline;
mod queue;
mod report;

use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let child = arguments.first().is_some_and(|argument| argument == "--queue-cost");
    let names: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let all = ["call", "pipeline", "memory", "queue"];
    if let Some(unknown) = names.iter().find(|name| !child && !all.contains(name)) {
        eprintln!("error: there is no benchmark {unknown}; there are {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the benchmark cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let [_, data] = &arguments[..]
        && child
    {
        runtime.block_on(queue::child(data.into()));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    runtime.block_on(async {
        if wanted("call") {
            eprintln!("measuring calls (about 10 s)");
            call::measure(&mut report).await;
        }
        if wanted("pipeline") {
            eprintln!("measuring the whole path (about 30 s)");
            pipeline::measure(&mut report).await;
        }
        if wanted("memory") {
            eprintln!("measuring memory (about 30 s)");
            memory::measure(&mut report).await;
        }
        if wanted("queue") {
            eprintln!("measuring the queue (about 10 minutes)");
            queue::measure(&mut report, wanted("pipeline")).await;
        }
    });
    if json {
        report.print_json();
    } else {
        report.print_table();
    }
    ExitCode::SUCCESS
}
