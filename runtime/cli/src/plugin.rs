//! `cofferdam plugin`: connectors as files: built, looked at, listed.

mod build;
mod check;
mod versions;

use std::path::PathBuf;

use clap::Subcommand;
use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_server::admin::views::ConnectorsView;
use serde::Serialize;

use crate::api::{ApiArguments, Request};
use crate::command::wait_for;
use crate::output::{self, Output};
use crate::paint::Paint;
use crate::render::{self, printable};
use build::{BuildOptions, BuiltPlugin, Progress};

/// Build connectors, check them, and see which ones a server runs
#[derive(Debug, clap::Args)]
pub(crate) struct Plugin {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Compile connector crates into .wasm components
    ///
    /// Takes the first of these that works: the installed wasm32-unknown-unknown target, `rustup target add`, Debian's
    /// Rust.
    #[command(after_help = "\
Examples:
  cofferdam plugin build examples/first-connector --out ./connectors
  cofferdam plugin build plugins/github plugins/slack plugins/webhook \\
      --out ./connectors")]
    Build {
        /// Folders with a Cargo.toml each
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,

        /// Folder for the components; made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,

        /// Folder for cargo's own files; without it, `guests` in the workspace's target folder
        #[arg(long, value_name = "DIR")]
        target_dir: Option<PathBuf>,
    },
    /// Load components without a server, and say what each asks for or why it does not load
    ///
    /// A component is given nothing here: no settings, no credential, no network.
    #[command(after_help = "\
Example:
  cofferdam plugin check ./connectors/*.wasm")]
    Check {
        /// Components (.wasm)
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the connectors that a server has loaded, and the files that it could not load
    List {
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Show every version of a connector that is kept, what it asks for, and which connection runs which
    Versions {
        /// The connector
        name: ConnectorName,

        #[command(flatten)]
        api: ApiArguments,
    },
    /// Have a connector run an earlier version
    ///
    /// It holds until a file of another version is dropped into the plugins folder than the one that was rolled back from, or
    /// `cofferdam plugin release`; also over a restart. A
    /// connection that was not granted that version, and of which it asks for more, goes back further.
    Rollback {
        /// The connector
        name: ConnectorName,

        /// The version; without it, the one before the current
        #[arg(long, value_name = "DIGEST")]
        to: Option<Digest>,

        #[command(flatten)]
        api: ApiArguments,
    },
    /// End a rollback: what the file holds runs again
    Release {
        /// The connector
        name: ConnectorName,

        #[command(flatten)]
        api: ApiArguments,
    },
}

impl Plugin {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self.command {
            PluginCommand::Build { dirs, out, target_dir } => {
                let options = BuildOptions {
                    dirs,
                    out,
                    target_dir,
                    toolchain: None,
                };
                let built = build::build(&options, &mut |progress| output::complain(&under_way(&progress)))?;
                let told: Vec<_> = built.iter().map(Told::of).collect();
                output.show(&told, |_| built.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            PluginCommand::Check { files } => wait_for(check::run(&files, output)),
            PluginCommand::List { api } => wait_for(list(&api, output)),
            PluginCommand::Versions { name, api } => wait_for(versions::show(&api, &name, output)),
            PluginCommand::Rollback { name, to, api } => wait_for(versions::roll_back(&api, &name, to, output)),
            PluginCommand::Release { name, api } => wait_for(versions::release(&api, &name, output)),
        }
    }
}

/// A component that was built, for programs.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    path: &'a std::path::Path,
    bytes: u64,
    changed: bool,
}

impl<'a> Told<'a> {
    fn of(plugin: &'a BuiltPlugin) -> Self {
        Self {
            name: &plugin.name,
            path: &plugin.path,
            bytes: plugin.bytes,
            changed: plugin.changed,
        }
    }
}

fn line(plugin: &BuiltPlugin) -> String {
    let state = if plugin.changed { "" } else { ", unchanged" };
    format!("{} ({} KiB{state})", plugin.path.display(), plugin.bytes.div_ceil(1024))
}

fn under_way(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Toolchain(kind) => format!("using {}", kind.as_str()),
        Progress::Compiling(names) => format!("compiling {}", names.join(", ")),
        Progress::Built(plugin) => format!("built {}", plugin.name),
    }
}

async fn list(arguments: &ApiArguments, output: &Output) -> anyhow::Result<()> {
    let view: ConnectorsView = arguments.client()?.send(Request::get(&["v1", "connectors"])).await?;
    output.show(&view, |paint| listed(&view, paint))
}

fn listed(view: &ConnectorsView, paint: Paint) -> String {
    let mut text = Vec::new();
    for connector in &view.connectors {
        let component = (connector.digest, connector.bytes);
        let mut one = render::connector(
            &connector.descriptor,
            connector.exports,
            &connector.file,
            component,
            paint,
        );
        let used: Vec<_> = connector.connections.iter().map(ToString::to_string).collect();
        let used = if used.is_empty() {
            "no connection yet".to_owned()
        } else {
            used.join(", ")
        };
        one.push_str(&format!("  {:<18}{used}\n", "used by"));
        if let Some(held) = &connector.held {
            let held = paint.warn(&format!("rolled back by {} at {}", held.by, held.at));
            one.push_str(&format!("  {:<18}{held}\n", "held"));
        }
        text.push(one);
    }
    for absent in &view.absent {
        text.push(versions::absent(absent, paint));
    }
    for file in &view.loading {
        text.push(format!(
            "{} {}\n",
            paint.bold(&printable(file)),
            paint.dim("is being loaded")
        ));
    }
    for problem in &view.problems {
        text.push(not_loaded(&problem.path, &problem.reason, paint));
    }
    if text.is_empty() {
        return "No connectors. Build one into the server's plugins folder with: cofferdam plugin build".to_owned();
    }
    text.join("\n")
}

fn not_loaded(path: &std::path::Path, reason: &str, paint: Paint) -> String {
    let path = path.display().to_string();
    format!(
        "{} {}\n  {}\n",
        paint.bold(&printable(&path)),
        paint.bad("does not load"),
        printable(reason)
    )
}
