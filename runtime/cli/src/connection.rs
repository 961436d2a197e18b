//! `cofferdam connection`: connectors installed, granted and toggled.

mod budgets;
mod grants;
mod kept;
mod matching;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use cofferdam_domain::{ConnectionName, CredentialName, Digest, InboundScheme};
use cofferdam_server::admin::ConnectionDeleted;
use cofferdam_server::admin::views::{ConnectionView, Health};
use cofferdam_server::config::{self, Mistake};
use cofferdam_vault::CredentialInfo;

use crate::api::{Api, ApiArguments, Request};
use crate::confirm::confirm;
use crate::files;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, plural, printable};

/// Install connectors, and turn them on and off
///
/// A connection is a connector with settings, credentials, a grant of what it may call, and limits: what an admin writes
/// into one file.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    #[command(subcommand)]
    command: ConnectionCommand,

    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Subcommand)]
enum ConnectionCommand {
    /// Create or change connections from their files
    ///
    /// Every file is checked before the first one is sent. Applying the same file again changes nothing; a new connection is
    /// enabled, and granted the present version of its connector. The new content holds from the next attempt on. A version that
    /// waits, was refused or is in quarantine is not granted by a file: `cofferdam connection grant` does that.
    #[command(after_help = "\
Examples:
  cofferdam connection apply examples/connections/slack.toml
  cofferdam connection apply connections/*.toml")]
    Apply {
        /// Connection files (TOML)
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show every connection: how it is doing, and what waits, runs and died
    List,
    /// Show a connection: how it is doing, which version of its connector runs and which waits, what that keeps, and when it is
    /// polled
    Show {
        /// The connection
        name: ConnectionName,
    },
    /// Poll a connection now; its schedule goes on as it is
    ///
    /// One that waits for its time is due now instead. What it finds, and why it fails, is in its trace.
    Poll {
        /// The connection
        name: ConnectionName,
    },
    /// Reset the cursor of a connection's polls: the next one begins from the start
    ///
    /// What it finds again is taken again, unless its connector gives each event a key of its own that is still remembered.
    ResetCursor {
        /// The connection
        name: ConnectionName,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// What a connector keeps between calls
    State {
        #[command(subcommand)]
        command: kept::StateCommand,
    },
    /// Show what may be asked of each upstream: limits, what is left, and what an upstream makes wait
    ///
    /// A connection's file limits an upstream by [upstreams.NAME.budget]: requests and per_ms, burst, concurrency, and share,
    /// the name of a budget that connections use together. What an upstream says (429 with Retry-After, RateLimit and
    /// X-RateLimit headers) holds a budget with or without limits.
    Budgets,
    /// Try event types and a filter on the latest events: what would be delivered, and on what the filter fails
    ///
    /// Nothing is delivered or changed. A filter is a CEL expression (https://cel.dev) that must be true of an event. It sees
    /// `event`, the CloudEvents attributes with the extensions among them, and `data`, the body if it is JSON, else null. On a
    /// key that is not there it fails, and the event is not delivered: has(data.issue) asks first.
    #[command(after_help = "\
Examples:
  cofferdam connection match connections/slack.toml
  cofferdam connection match --subscribe 'com.github.*.opened' \\
      --filter 'data.issue.labels.exists(l, l.name == \"bug\")'
  cofferdam connection match --filter 'has(event.subject) && event.source.startsWith(\"/shop\")' --limit 1000")]
    Match(matching::Match),
    /// Print every value of a connection's policy with its default and what it means
    Policy,
    /// Turn a connection on; what waits is delivered now
    Enable {
        /// The connection
        name: ConnectionName,
    },
    /// Turn a connection off; its deliveries wait, and its hook answers 503
    Disable {
        /// The connection
        name: ConnectionName,
    },
    /// Delete a connection and its credentials
    ///
    /// It is owed nothing from then on, its hook is gone, and its credentials are deleted for good; what it has delivered,
    /// and its dead letters, stay in their traces. While deliveries wait for it, it is only deleted with --dead-letter: they
    /// become dead letters (class configuration, code connection-deleted) and can be replayed to a connection that is made
    /// again under the same name.
    Delete {
        /// The connection
        name: ConnectionName,

        /// What waits becomes dead letters
        #[arg(long)]
        dead_letter: bool,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let a connection run a version of its connector, with all that it asks for
    ///
    /// A version that asks for more than was granted waits, and the one before it goes on. What it asks for more is in
    /// `cofferdam connection show`, and all that it asks for in `cofferdam plugin versions`. Granting a version also ends a
    /// refusal and a quarantine of it.
    Grant {
        /// The connection
        name: ConnectionName,

        /// The version: its SHA-256, 64 hex digits
        digest: Digest,
    },
    /// Do not let a connection run a version of its connector
    Refuse {
        /// The connection
        name: ConnectionName,

        /// The version
        digest: Digest,

        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show who granted, refused and rolled back which version, what was put in quarantine, and what began to run by itself
    Grants {
        /// Only of this connection
        name: Option<ConnectionName>,

        /// How many of the latest
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Let a parked connection try again, once the cause is put right
    ///
    /// Clears parking, back-off, an open breaker, flag, and what an upstream makes its budgets wait for. Setting a secret does the same, so after a refused credential it is not needed.
    Release {
        /// The connection
        name: ConnectionName,
    },
}

impl Connection {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let (name, action) = match self.command {
            ConnectionCommand::Apply { files } => return apply(&self.api, &files, output).await,
            ConnectionCommand::List => {
                let connections: Vec<ConnectionView> =
                    self.api.client()?.send(Request::get(&["v1", "connections"])).await?;
                return output.show(&connections, |paint| listed(&connections, paint));
            }
            ConnectionCommand::Budgets => return budgets::run(&self.api, output).await,
            ConnectionCommand::Policy => {
                return output.show(&serde_json::json!({ "policy": config::DEFAULT_POLICY_TEXT }), |_| {
                    config::DEFAULT_POLICY_TEXT.to_owned()
                });
            }
            ConnectionCommand::Show { name } => return kept::show(&self.api, &name, output).await,
            ConnectionCommand::Poll { name } => return kept::poll(&self.api, &name, output).await,
            ConnectionCommand::ResetCursor { name, yes } => {
                return kept::reset_cursor(&self.api, &name, yes, output).await;
            }
            ConnectionCommand::State { command } => return command.run(&self.api, output).await,
            ConnectionCommand::Match(what) => return what.run(&self.api, output).await,
            ConnectionCommand::Delete { name, dead_letter, yes } => {
                return delete(&self.api, &name, dead_letter, yes, output).await;
            }
            ConnectionCommand::Grant { name, digest } => {
                return grants::decide(&self.api, &name, "grant", digest, None, output).await;
            }
            ConnectionCommand::Refuse { name, digest, reason } => {
                return grants::decide(&self.api, &name, "refuse", digest, reason, output).await;
            }
            ConnectionCommand::Grants { name, limit } => {
                return grants::list(&self.api, name.as_ref(), limit, output).await;
            }
            ConnectionCommand::Enable { name } => (name, "enable"),
            ConnectionCommand::Disable { name } => (name, "disable"),
            ConnectionCommand::Release { name } => (name, "release"),
        };
        let request = Request::post(&["v1", "connections", name.as_str(), action]);
        let connection: ConnectionView = self.api.client()?.send(request).await?;
        output.show(&connection, |paint| standing(&connection, paint))
    }
}

async fn delete(
    arguments: &ApiArguments,
    name: &ConnectionName,
    dead_letter: bool,
    yes: bool,
    output: &Output,
) -> anyhow::Result<()> {
    if !yes {
        confirm(&format!("delete connection {name} and its credentials"))?;
    }
    let request =
        Request::delete(&["v1", "connections", name.as_str()]).query("dead_letter", dead_letter.then_some(true));
    let deleted: ConnectionDeleted = arguments.client()?.send(request).await?;
    output.show(&deleted, |_| {
        let mut text = format!("{name} is deleted, with {}", plural(deleted.credentials, "credential"));
        if deleted.waiting > 0 {
            text.push_str(&format!("; what waited ({}) becomes dead letters", deleted.waiting));
        }
        text
    })
}

async fn apply(arguments: &ApiArguments, files: &[PathBuf], output: &Output) -> anyhow::Result<()> {
    let texts = checked(files)?;
    let api = arguments.client()?;
    let mut applied = Vec::new();
    for (path, text) in files.iter().zip(texts) {
        let request = Request::post(&["v1", "connections"]).body("application/toml", text);
        let done = if applied.is_empty() {
            String::new()
        } else {
            format!(" ({} before it were)", applied.len())
        };
        let connection: ConnectionView = api
            .send(request)
            .await
            .with_context(|| format!("{} was not applied{done}", path.display()))?;
        applied.push(connection);
    }
    let missing = missing_secrets(&api, &applied).await?;
    output.show(&applied, |paint| {
        let mut text: Vec<_> = applied.iter().map(|connection| standing(connection, paint)).collect();
        text.extend(applied.iter().filter_map(|view| Some(paint.warn(&grants::left(view)?))));
        text.extend(applied.iter().filter_map(|view| hook(view, paint)));
        for (connection, credential) in &missing {
            text.push(paint.warn(&format!(
                "  not set yet: cofferdam secret set {connection} {credential}"
            )));
        }
        text.join("\n")
    })
}

/// The texts of all files, or the mistakes of all of them.
fn checked(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut wrong = Vec::new();
    for path in files {
        let text = files::read_text(path, config::FILE_BYTES_MAX)?;
        match config::parse_connection(&text) {
            Ok(_) => texts.push(text),
            Err(mistakes) => wrong.push(explained(&path.display().to_string(), &mistakes)),
        }
    }
    if wrong.is_empty() {
        return Ok(texts);
    }
    bail!("{}\nnothing was applied", wrong.join("\n"))
}

fn explained(path: &str, mistakes: &[Mistake]) -> String {
    let mut text = format!("{path} has {}:", plural(mistakes.len(), "mistake"));
    for mistake in mistakes {
        text.push_str(&format!("\n  line {}: {}", mistake.line, mistake.text));
    }
    text
}

/// Credentials that the connections name and nobody has set: without them they cannot work, and it is easily forgotten.
async fn missing_secrets(
    api: &Api,
    applied: &[ConnectionView],
) -> anyhow::Result<BTreeSet<(ConnectionName, CredentialName)>> {
    let set: Vec<CredentialInfo> = api.send(Request::get(&["v1", "secrets"])).await?;
    let named = applied.iter().flat_map(|view| {
        let spec = &view.connection.spec;
        spec.credentials()
            .map(move |credential| (spec.name.clone(), credential.clone()))
    });
    let is_set = |(connection, credential): &(ConnectionName, CredentialName)| {
        set.iter()
            .any(|info| info.connection == *connection && info.name == *credential)
    };
    Ok(named.filter(|name| !is_set(name)).collect())
}

fn standing(view: &ConnectionView, paint: Paint) -> String {
    let spec = &view.connection.spec;
    let mut text = format!(
        "{} runs {} (revision {}): {}",
        paint.bold(spec.name.as_str()),
        spec.connector,
        view.connection.revision,
        health(view.health, paint)
    );
    if let Some(reason) = &view.reason {
        text.push_str(&format!(" ({})", printable(reason)));
    }
    text
}

fn health(health: Health, paint: Paint) -> String {
    match health {
        Health::Ok => paint.good(health.as_str()),
        Health::BackingOff | Health::BreakerOpen | Health::Attention | Health::NoConnector | Health::Changed => {
            paint.warn(health.as_str())
        }
        Health::Parked => paint.bad(health.as_str()),
        Health::Off => paint.dim(health.as_str()),
    }
}

fn listed(connections: &[ConnectionView], paint: Paint) -> String {
    if connections.is_empty() {
        return "No connections yet. Make one with: cofferdam connection apply FILE".to_owned();
    }
    let mut table = Table::new([
        "NAME",
        "CONNECTOR",
        "HEALTH",
        "WAITING",
        "RUNNING",
        "DEAD",
        "DELIVERED",
        "TAKES",
    ]);
    for view in connections {
        let spec = &view.connection.spec;
        table.row([
            spec.name.to_string(),
            spec.connector.to_string(),
            view.health.as_str().to_owned(),
            view.depth.pending.to_string(),
            view.depth.in_flight.to_string(),
            view.depth.dead.to_string(),
            view.depth.delivered.to_string(),
            takes(&view.connection),
        ]);
    }
    let mut text = table.render(paint);
    let troubled = connections
        .iter()
        .filter_map(|view| Some((&view.connection.spec.name, view.reason.as_ref()?)));
    for (name, reason) in troubled {
        text.push_str(&paint.warn(&format!("\n{name}: {}", printable(reason))));
    }
    for view in connections {
        let name = &view.connection.spec.name;
        if view
            .connection
            .spec
            .inbound
            .as_ref()
            .is_some_and(|inbound| inbound.scheme == InboundScheme::None)
        {
            text.push_str(&paint.warn(&format!(
                "\n{name}: requests to its hook are {}",
                InboundScheme::None.in_words()
            )));
        }
        if let Some(trouble) = filter_trouble(view) {
            text.push_str(&paint.warn(&format!("\n{}: {trouble}", view.connection.spec.name)));
        }
    }
    text
}

/// What its filter could not answer for since the server's start.
fn filter_trouble(view: &ConnectionView) -> Option<String> {
    let answers = view.filter_answers.as_ref()?;
    if answers.errors == 0 && answers.overruns == 0 {
        return None;
    }
    let last = answers.last_problem.as_deref().map(printable).unwrap_or_default();
    Some(format!(
        "its filter failed on {} (not delivered) and was over a bound on {} (delivered), last: {last}",
        plural(usize::try_from(answers.errors).unwrap_or(usize::MAX), "event"),
        plural(usize::try_from(answers.overruns).unwrap_or(usize::MAX), "event"),
    ))
}

/// Where its provider sends to, and what the host checks there.
fn hook(view: &ConnectionView, paint: Paint) -> Option<String> {
    let inbound = view.connection.spec.inbound.as_ref()?;
    let name = &view.connection.spec.name;
    let path = view.connection.hook_path()?;
    let address = match &inbound.external_url {
        Some(url) => format!("{url} (behind it POST {path} on the public listener)"),
        None => format!("POST {path} on the public listener"),
    };
    let line = format!("  {name} takes requests {}: {address}", inbound.scheme.in_words());
    Some(match inbound.scheme {
        InboundScheme::None => paint.warn(&line),
        _ => line,
    })
}

/// What comes in by it: events that it subscribes to, whether a filter holds some of them back, and requests to its hook.
fn takes(connection: &cofferdam_domain::Connection) -> String {
    let spec = &connection.spec;
    let events = spec.subscribe.iter().map(ToString::to_string);
    let filtered = spec.filter.as_ref().map(|_| "filtered".to_owned());
    let hook = spec
        .inbound
        .as_ref()
        .zip(connection.hook_path())
        .map(|(inbound, path)| format!("POST {path} ({})", inbound.scheme));
    events.chain(filtered).chain(hook).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
