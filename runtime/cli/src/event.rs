//! `cofferdam event`: events by hand.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::Subcommand;
use cofferdam_domain::limits::BODY_BYTES_MAX;
use cofferdam_domain::{CorrelationId, EventId, Timestamp};
use cofferdam_server::ingest::{EventAccepted, EventsAccepted};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::api::{ApiArguments, Request};
use crate::files;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::plural;

/// What the CloudEvents HTTP binding encodes in a header, besides everything that is not ASCII: section 3.1.3.2 of
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.
const HEADER_VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Send events
#[derive(Debug, clap::Args)]
pub(crate) struct Event {
    #[command(subcommand)]
    command: EventCommand,

    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Subcommand)]
enum EventCommand {
    /// Send one event, and print the correlation id by which it can be followed
    ///
    /// When the command says that it was accepted, the event is durable, and so is every delivery that it owes.
    #[command(after_help = "\
Examples:
  cofferdam event send --type com.example.order.paid --source /shop \\
      --subject orders/42 --data '{\"total\": 99}'
  cofferdam event send --type com.example.report --source /nightly \\
      --data-file report.csv --content-type text/csv
  cofferdam event send --file event.json       a CloudEvent, or an array of them

The same --source and --id a second time is a duplicate: it is accepted and not delivered again.")]
    Send(Box<Send>),
}

#[derive(Debug, clap::Args)]
struct Send {
    /// What happened: a reverse-DNS type, such as com.example.order.paid
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    kind: Option<String>,

    /// Who says that it happened: a URI or a path
    #[arg(long, required_unless_present = "file")]
    source: Option<String>,

    /// What it happened to, within the source
    #[arg(long)]
    subject: Option<String>,

    /// Your own id of the event; made up if none is given
    #[arg(long)]
    id: Option<String>,

    /// The event's data, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "data_file")]
    data: Option<String>,

    /// The event's data, byte for byte from a file
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,

    /// Media type of the data
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,

    /// Send this file instead: a CloudEvent in its JSON format, or an array of them
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kind", "source", "subject", "id", "data", "data_file", "content_type"]
    )]
    file: Option<PathBuf>,

    /// Continue this correlation id instead of beginning a new one
    #[arg(long, value_name = "ID")]
    correlation_id: Option<CorrelationId>,
}

impl Event {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let EventCommand::Send(send) = self.command;
        let now = Timestamp::from_system(SystemTime::now());
        let request = send.request(|| EventId::mint(now, &mut rand::rng()).to_string())?;
        let accepted: EventsAccepted = self.api.client()?.send(request).await?;
        output.show(&accepted, |paint| told(&accepted.accepted, paint))
    }
}

impl Send {
    fn request(self, mint: impl FnOnce() -> String) -> anyhow::Result<Request> {
        let mut request = Request::post(&["v1", "events"]);
        if let Some(id) = &self.correlation_id {
            request = request.header("x-correlation-id", id.as_str());
        }
        match self.file {
            Some(path) => structured(request, &path),
            None => self.binary(request, mint),
        }
    }

    /// The binary mode: the data travels as it is, byte for byte.
    fn binary(self, request: Request, mint: impl FnOnce() -> String) -> anyhow::Result<Request> {
        let data = match (self.data, self.data_file) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(path)) => files::read(&path, BODY_BYTES_MAX as u64)?,
            (None, None) => Vec::new(),
        };
        if !data.is_empty() && self.content_type == "application/json" {
            let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&data);
            checked.context("the data is no JSON; name what it is with --content-type")?;
        }
        let attributes = [
            ("ce-specversion", Some("1.0".to_owned())),
            ("ce-id", Some(self.id.unwrap_or_else(mint))),
            ("ce-type", self.kind),
            ("ce-source", self.source),
            ("ce-subject", self.subject),
        ];
        let given = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = given.fold(request, |request, (name, value)| {
            request.header(name, utf8_percent_encode(&value, HEADER_VALUE).to_string())
        });
        Ok(request.body(&self.content_type, data))
    }
}

/// The structured mode, or its batch: the file is the request.
fn structured(request: Request, path: &std::path::Path) -> anyhow::Result<Request> {
    let text = files::read(path, BODY_BYTES_MAX as u64)?;
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let content_type = match first {
        Some(b'{') => "application/cloudevents+json",
        Some(b'[') => "application/cloudevents-batch+json",
        Some(_) | None => "",
    };
    ensure!(
        !content_type.is_empty(),
        "{} is no CloudEvent: it must hold a JSON object or an array of them",
        path.display()
    );
    Ok(request.body(content_type, text))
}

fn told(accepted: &[EventAccepted], paint: Paint) -> String {
    let mut text = Vec::new();
    for event in accepted {
        let what = match (event.duplicate, event.deliveries) {
            (true, _) => "was accepted before; nothing is delivered twice".to_owned(),
            (false, 0) => "is accepted; no connection subscribes to its type".to_owned(),
            (false, owed) => format!("is accepted; {} owed", plural(owed, "delivery")),
        };
        text.push(format!("event {} {what}", event.id));
    }
    let mut ids: Vec<_> = accepted.iter().map(|event| &event.correlation_id).collect();
    ids.dedup();
    text.extend(
        ids.into_iter()
            .map(|id| format!("follow it with: {}", paint.bold(&format!("cofferdam trace {id}")))),
    );
    text.join("\n")
}

#[cfg(test)]
mod tests;
