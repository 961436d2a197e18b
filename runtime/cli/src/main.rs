//! The `cofferdam` command: the server, and every way to talk to one.

mod api;
mod chain;
mod command;
mod compile_component;
mod confirm;
mod connection;
mod dead_letters;
mod demo;
mod event;
mod files;
mod output;
mod paint;
mod plugin;
mod render;
mod secret;
mod serve;
mod store;
mod times;
mod token;
mod trace;
mod vault;

use std::process::ExitCode;

use clap::Parser;

use command::CommandLine;
use output::Output;

fn main() -> ExitCode {
    let CommandLine { json, command } = CommandLine::parse();
    let output = Output::new(json);
    match command.run(&output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {}", chain::in_one_line(&error)));
            ExitCode::FAILURE
        }
    }
}
