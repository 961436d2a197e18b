//! `cofferdam dead-letters`: what will not be tried again until a person says so.

use clap::Subcommand;
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, DeliveryState, FailureClass};
use cofferdam_server::admin::views::{DeadLetterView, ROWS_MAX, class_named};

use crate::api::{Api, ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{moment, plural, printable};

/// List, replay and discard deliveries that have failed for good
#[derive(Debug, clap::Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    command: DeadLettersCommand,

    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// Show the latest dead letters: what failed, why, and how to look at it
    #[command(after_help = "\
Examples:
  cofferdam dead-letters list
  cofferdam dead-letters list --connection slack-alerts --class configuration")]
    List {
        /// Only those of this connection
        #[arg(long, value_name = "NAME")]
        connection: Option<ConnectionName>,

        /// Only those that failed in this way: auth, rate-limited, dependency, transport, timeout, schema, gone, configuration,
        /// policy, connector-fault or data-quality
        #[arg(long, value_parser = class)]
        class: Option<FailureClass>,
    },
    /// Try deliveries again, under the same correlation id and idempotency key
    #[command(after_help = "\
Examples:
  cofferdam dead-letters replay 019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112
  cofferdam dead-letters list --class configuration --json | jq -r '.[].delivery.id' \\
    | xargs cofferdam dead-letters replay

Put the cause right first: a replay meets the same connector, settings and upstream.")]
    Replay {
        /// The deliveries' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DeliveryId>,
    },
    /// Give deliveries up; they stay in their trace, marked with who did it
    Discard {
        /// The deliveries' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DeliveryId>,
    },
}

fn class(text: &str) -> Result<FailureClass, String> {
    class_named(text).ok_or_else(|| {
        let known: Vec<_> = FailureClass::ALL.into_iter().map(FailureClass::as_str).collect();
        format!("the classes are {}", known.join(", "))
    })
}

impl DeadLetters {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let api = self.api.client()?;
        match self.command {
            DeadLettersCommand::List { connection, class } => {
                let request = Request::get(&["v1", "dead-letters"])
                    .query("connection", connection)
                    .query("class", class);
                let letters: Vec<DeadLetterView> = api.send(request).await?;
                output.show(&letters, |paint| listed(&letters, paint))
            }
            DeadLettersCommand::Replay { ids } => {
                let told = "is tried again; how it goes: cofferdam trace";
                each(
                    &api,
                    "replay",
                    &ids,
                    |delivery| format!("{} {told} {}", delivery.id, delivery.correlation_id),
                    output,
                )
                .await
            }
            DeadLettersCommand::Discard { ids } => {
                each(
                    &api,
                    "discard",
                    &ids,
                    |delivery| format!("{} is given up", delivery.id),
                    output,
                )
                .await
            }
        }
    }
}

/// Does the same to each. One that cannot be done does not keep the others from it; the first error is the command's.
async fn each(
    api: &Api,
    action: &str,
    ids: &[DeliveryId],
    told: impl Fn(&Delivery) -> String,
    output: &Output,
) -> anyhow::Result<()> {
    let mut done = Vec::new();
    let mut failed = None;
    for id in ids {
        match api
            .send::<Delivery>(Request::post(&["v1", "dead-letters", &id.to_string(), action]))
            .await
        {
            Ok(delivery) => done.push(delivery),
            Err(error) => {
                failed.get_or_insert(anyhow::Error::from(error).context(format!("{action} of {id}")));
            }
        }
    }
    if !done.is_empty() || output.is_json() {
        output.show(&done, |_| done.iter().map(&told).collect::<Vec<_>>().join("\n"))?;
    }
    match failed {
        Some(error) if ids.len() > 1 => Err(error.context(format!("{} of {} done", done.len(), ids.len()))),
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn listed(letters: &[DeadLetterView], paint: Paint) -> String {
    if letters.is_empty() {
        return "No dead letters.".to_owned();
    }
    let mut text = String::new();
    for letter in letters {
        text.push_str(&described(letter, paint));
        text.push('\n');
    }
    text.push_str(&plural(letters.len(), "dead letter"));
    if letters.len() >= ROWS_MAX {
        text.push_str("; older ones are not shown: narrow it down with --connection or --class");
    }
    text
}

fn described(letter: &DeadLetterView, paint: Paint) -> String {
    let delivery = &letter.delivery;
    let (at, class) = match &delivery.state {
        DeliveryState::Dead { at, class } => (moment(*at), class.as_str()),
        DeliveryState::Pending { .. }
        | DeliveryState::Leased { .. }
        | DeliveryState::Delivered { .. }
        | DeliveryState::Discarded { .. } => (moment(delivery.series_at), delivery.state.as_str()),
    };
    let event = letter.event.as_ref().map_or_else(
        || "an event that is no longer kept".to_owned(),
        |event| {
            format!(
                "{}{}",
                event.kind,
                event.subject.as_ref().map(|it| format!(" · {it}")).unwrap_or_default()
            )
        },
    );
    let message = delivery
        .last_failure
        .as_ref()
        .map_or("no attempt was made", |failure| failure.message.as_str());
    let lines = [
        format!(
            "{}  {}  {}  {at} (UTC)",
            paint.bold(&delivery.id.to_string()),
            delivery.connection,
            paint.bad(class)
        ),
        format!("  {}", printable(&event)),
        format!(
            "  {} ({})",
            printable(message),
            plural(delivery.runs as usize, "attempt")
        ),
        paint.dim(&format!("  cofferdam trace {}", delivery.correlation_id)),
        paint.dim(&format!("  cofferdam dead-letters replay {}", delivery.id)),
    ];
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_name_on_the_command_line_and_no_other_word_has() {
        for known in FailureClass::ALL {
            assert_eq!(class(known.as_str()), Ok(known));
        }
        assert!(class("slow").unwrap_err().contains("rate-limited"));
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(listed(&[], Paint::Plain), "No dead letters.");
    }

    #[test]
    fn a_dead_letter_says_what_failed_why_and_what_to_do() {
        let letter: DeadLetterView = serde_json::from_value(serde_json::json!({
            "event": null,
            "delivery": {
                "id": "019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112",
                "workspace": "default",
                "event": "019ab0c4-d6f8-7e21-b5a9-c3d2e1f00113",
                "correlation_id": "c1",
                "connection": "erp",
                "kind": "deliver",
                "idempotency_key": "k",
                "accepted_at": 0,
                "series_at": 0,
                "state": { "state": "dead", "at": 1_000, "class": "schema" },
                "charged": 1,
                "runs": 1,
                "generation": 1,
                "last_failure": { "class": "schema", "message": "erp answered 422" }
            }
        }))
        .unwrap();
        let text = described(&letter, Paint::Plain);
        let expected = "\
019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112  erp  schema  1970-01-01 00:00:01 (UTC)
  an event that is no longer kept
  erp answered 422 (1 attempt)
  cofferdam trace c1
  cofferdam dead-letters replay 019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112
";
        assert_eq!(text, expected);
    }
}
