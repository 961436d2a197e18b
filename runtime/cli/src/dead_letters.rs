//! `cofferdam dead-letters`: what will not be tried again until a person says so.

mod bulk;
mod filter;

use clap::Subcommand;
use cofferdam_domain::{Delivery, DeliveryId, DeliveryState, ExchangeResult};
use cofferdam_server::admin::views::{DeadLetterDetail, DeadLetterPage, DeadLetterView};
use cofferdam_server::admin::{Redrive, RedriveId, RedriveKind};

use crate::api::{Api, ApiArguments, Request};
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{moment, plural, printable};
use bulk::Bulk;
use filter::Filter;

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
  cofferdam dead-letters list --connection slack-alerts --class configuration
  cofferdam dead-letters list --type 'com.github.*' --since 2h --limit 1000")]
    List {
        #[command(flatten)]
        filter: Filter,

        /// At most so many, the latest first
        #[arg(long, default_value_t = 200, value_name = "N")]
        limit: usize,
    },
    /// Show one dead letter: cause, attempts, and what the last attempt sent and got
    Show {
        /// The delivery's id
        #[arg(value_name = "ID")]
        id: DeliveryId,
    },
    /// Try deliveries again, under the same correlation id and idempotency key
    ///
    /// Name them, or say which by a filter: then a job does it in the background, at a rate, and can be followed and
    /// cancelled.
    #[command(after_help = "\
Examples:
  cofferdam dead-letters replay 019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112
  cofferdam dead-letters replay --connection slack-alerts --since 2h --dry-run
  cofferdam dead-letters replay --connection slack-alerts --rate 20 --yes --wait

Put the cause right first: a replay meets the same connector, settings and upstream.")]
    Replay(Bulk),
    /// Give deliveries up; they stay in their trace, marked with who did it
    #[command(after_help = "\
Examples:
  cofferdam dead-letters discard 019ab0c4-d6f8-7e21-b5a9-c3d2e1f00112
  cofferdam dead-letters discard --class schema --until 30d --dry-run")]
    Discard(Bulk),
    /// Show the jobs that replay or discard in bulk, the latest first
    Jobs,
    /// Cancel a job; what it has changed stays changed
    Cancel {
        /// The job's number
        #[arg(value_name = "JOB")]
        job: RedriveId,
    },
}

impl DeadLetters {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let api = self.api.client()?;
        match self.command {
            DeadLettersCommand::List { filter, limit } => {
                let page = found(&api, &filter, limit).await?;
                output.show(&page, |paint| listed(&page, paint))
            }
            DeadLettersCommand::Show { id } => {
                let path = ["v1", "dead-letters", &id.to_string()];
                let letter: DeadLetterDetail = api.send(Request::get(&path)).await?;
                output.show(&letter, |paint| detailed(&letter, paint))
            }
            DeadLettersCommand::Replay(bulk) if bulk.is_by_name() => {
                let told = "is tried again; how it goes: cofferdam trace";
                let told = |delivery: &Delivery| format!("{} {told} {}", delivery.id, delivery.correlation_id);
                each(&api, "replay", &bulk.ids, told, output).await
            }
            DeadLettersCommand::Discard(bulk) if bulk.is_by_name() => {
                let told = |delivery: &Delivery| format!("{} is given up", delivery.id);
                each(&api, "discard", &bulk.ids, told, output).await
            }
            DeadLettersCommand::Replay(bulk) => bulk.run(&api, RedriveKind::Replay, output).await,
            DeadLettersCommand::Discard(bulk) => bulk.run(&api, RedriveKind::Discard, output).await,
            DeadLettersCommand::Jobs => {
                let jobs: Vec<Redrive> = api.send(Request::get(&["v1", "redrives"])).await?;
                output.show(&jobs, |_| bulk::jobs(&jobs))
            }
            DeadLettersCommand::Cancel { job } => {
                let path = ["v1", "redrives", &job.to_string(), "cancel"];
                let job: Redrive = api.send(Request::post(&path)).await?;
                output.show(&job, |_| bulk::standing(&job))
            }
        }
    }
}

/// Page after page, until there are enough or there is no more.
async fn found(api: &Api, filter: &Filter, limit: usize) -> anyhow::Result<DeadLetterPage> {
    let mut all = DeadLetterPage {
        letters: Vec::new(),
        next: None,
    };
    while all.letters.len() < limit {
        let wanted = (limit - all.letters.len()).min(cofferdam_server::admin::views::ROWS_MAX);
        let request = filter.on(Request::get(&["v1", "dead-letters"]))?;
        let request = request.query("limit", Some(wanted)).query("cursor", all.next.take());
        let page: DeadLetterPage = api.send(request).await?;
        all.letters.extend(page.letters);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    Ok(all)
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

fn listed(page: &DeadLetterPage, paint: Paint) -> String {
    if page.letters.is_empty() && page.next.is_none() {
        return "No dead letters.".to_owned();
    }
    let mut text = String::new();
    for letter in &page.letters {
        text.push_str(&described(letter, paint));
        text.push('\n');
    }
    text.push_str(&plural(page.letters.len(), "dead letter"));
    if page.next.is_some() {
        text.push_str("; there may be older ones: raise --limit, or narrow it down");
    }
    text
}

/// As in a list, and what the last attempt sent and got.
fn detailed(letter: &DeadLetterDetail, paint: Paint) -> String {
    let mut text = described(&letter.letter, paint);
    if !letter.connection_exists {
        text.push_str("  its connection no longer exists: apply one of that name before a replay\n");
    }
    let Some(attempt) = &letter.last_attempt else {
        text.push_str("  no attempt was made");
        return text;
    };
    text.push_str(&format!(
        "  attempt {} began {} (UTC)",
        attempt.run,
        moment(attempt.started_at)
    ));
    let Some(end) = &attempt.ended else {
        text.push_str("; it was interrupted");
        return text;
    };
    for exchange in &end.trail {
        let result = match &exchange.result {
            ExchangeResult::Answered { status, .. } => status.to_string(),
            ExchangeResult::InFlight { .. } => "ended while under way".to_owned(),
            ExchangeResult::Refused { code, .. } => format!("refused: {code}"),
            ExchangeResult::RateLimited { .. } => "rate-limited".to_owned(),
            ExchangeResult::TimedOut { .. } => "timed out".to_owned(),
            ExchangeResult::Unreachable { message } => format!("unreachable: {message}"),
            ExchangeResult::Interrupted { message } => format!("interrupted: {message}"),
            ExchangeResult::ResponseTooLarge { .. } => "the response was too large".to_owned(),
            ExchangeResult::ProtocolError { message } => format!("no HTTP: {message}"),
        };
        let line = format!(
            "{} {} {} → {result}",
            exchange.method, exchange.upstream, exchange.path_prefix
        );
        text.push_str(&format!("\n    {}", printable(&line)));
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
    use cofferdam_domain::FailureClass;

    use super::*;

    #[test]
    fn every_class_has_a_name_on_the_command_line_and_no_other_word_has() {
        for known in FailureClass::ALL {
            assert_eq!(filter::class(known.as_str()), Ok(known));
        }
        assert!(filter::class("slow").unwrap_err().contains("rate-limited"));
    }

    #[test]
    fn an_empty_list_says_so() {
        let mut page = DeadLetterPage {
            letters: Vec::new(),
            next: None,
        };
        assert_eq!(listed(&page, Paint::Plain), "No dead letters.");
        page.next = Some("7.x".into());
        assert!(
            listed(&page, Paint::Plain).contains("older"),
            "a page that found nothing is not the end"
        );
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
