//! `cargo xtask bench`: what a call costs, what the whole path carries, what it takes in memory.
//!
//! Every comparison is a ratio of two things measured in turns in the same run, since machines are noisy.

mod call;
mod memory;
mod pipeline;
mod report;

use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let names: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let all = ["call", "pipeline", "memory"];
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
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
    });
    if json {
        report.print_json();
    } else {
        report.print_table();
    }
    ExitCode::SUCCESS
}
