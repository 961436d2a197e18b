//! The command line: what can be asked for, and the help that teaches it.

use std::future::Future;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::output::Output;
use crate::{
    compile_component, connection, dead_letters, demo, event, plugin, secret, serve, store, token, trace, vault,
};

/// Runs connectors that nobody has to trust.
///
/// Cofferdam takes events in, and delivers them to other systems through small WebAssembly connectors. It keeps the
/// credentials, the retries and the records; a connector holds none of them.
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_long_help = "\
First steps:
  cofferdam plugin build plugins/github plugins/slack plugins/webhook \\
      --out ./connectors
  cofferdam demo --plugins ./connectors       see it work, on this machine alone
  cofferdam serve --data ./data --plugins ./connectors

Then, in another terminal, with the token that the first start has made:
  export COFFERDAM_TOKEN_FILE=./data/admin.token
  cofferdam plugin list
  cofferdam connection apply examples/connections/slack.toml
  cofferdam secret set slack-alerts bot-token
  cofferdam event send --type com.example.greeting --source /me --data '{\"a\": 1}'
  cofferdam trace CORRELATION-ID

Environment:
  COFFERDAM_URL         the server's admin listener, http://127.0.0.1:8081 if unset
  COFFERDAM_TOKEN       API token; an argument could be read by other users
  COFFERDAM_TOKEN_FILE  file that holds the API token; wins over COFFERDAM_TOKEN
  NO_COLOR              set to anything: no colours

Exit status: 0 done, 1 not done, 2 the command line was not understood."
)]
pub(crate) struct CommandLine {
    /// Print one JSON document for programs instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Plugin(plugin::Plugin),
    Connection(connection::Connection),
    Secret(secret::Secret),
    Event(event::Event),
    Trace(trace::Trace),
    DeadLetters(dead_letters::DeadLetters),
    Token(token::Token),
    Store(store::Store),
    Vault(vault::Vault),
    #[command(hide = true)]
    CompileComponent(compile_component::CompileComponent),
}

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run(output),
            Self::CompileComponent(compile) => compile.run(),
            Self::Store(store) => store.run(output),
            Self::Vault(vault) => wait_for(vault.run(output)),
            Self::Plugin(plugin) => plugin.run(output),
            Self::Demo(demo) => wait_for(demo.run(output)),
            Self::Connection(connection) => wait_for(connection.run(output)),
            Self::Secret(secret) => wait_for(secret.run(output)),
            Self::Event(event) => wait_for(event.run(output)),
            Self::Trace(trace) => wait_for(trace.run(output)),
            Self::DeadLetters(dead_letters) => wait_for(dead_letters.run(output)),
            Self::Token(token) => wait_for(token.run(output)),
        }
    }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn wait_for<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the async runtime cannot be started")?.block_on(future)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_is_explained() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&CommandLine::command());
    }

    #[test]
    fn every_command_takes_json() {
        for words in [
            &["cofferdam", "trace", "abc", "--json"][..],
            &["cofferdam", "--json", "connection", "list"],
            &["cofferdam", "plugin", "check", "a.wasm", "--json"],
        ] {
            assert!(CommandLine::try_parse_from(words).unwrap().json, "{words:?}");
        }
    }

    #[test]
    fn a_secret_has_no_place_on_the_command_line() {
        assert!(CommandLine::try_parse_from(["cofferdam", "secret", "set", "slack", "bot", "hunter2"]).is_err());
        assert!(CommandLine::try_parse_from(["cofferdam", "trace", "abc", "--token", "t"]).is_err());
    }
}
