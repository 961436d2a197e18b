//! `cofferdam connection show`, `poll`, `reset-cursor` and `state clear`: which code runs, what it keeps between calls, by its size
//! and hash only, and when it is polled.

use clap::Subcommand;
use cofferdam_domain::ConnectionName;
use cofferdam_server::admin::kept::{PollAsked, Polling, StateKept};
use cofferdam_server::admin::views::ConnectionView;

use super::{grants, standing};
use crate::api::{ApiArguments, Request};
use crate::confirm::confirm;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{moment, plural, printable};

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Empty a connection's state
    ///
    /// An attempt under way that has looked at it leaves nothing, and is made again.
    Clear {
        /// The connection
        name: ConnectionName,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl StateCommand {
    pub(super) async fn run(self, arguments: &ApiArguments, output: &Output) -> anyhow::Result<()> {
        let Self::Clear { name, yes } = self;
        if !yes {
            confirm(&format!("empty the state of connection {name}"))?;
        }
        let request = Request::delete(&["v1", "connections", name.as_str(), "state"]);
        let view: ConnectionView = arguments.client()?.send(request).await?;
        output.show(&view, |_| format!("the state of {name} is empty"))
    }
}

pub(super) async fn show(arguments: &ApiArguments, name: &ConnectionName, output: &Output) -> anyhow::Result<()> {
    let request = Request::get(&["v1", "connections", name.as_str()]);
    let view: ConnectionView = arguments.client()?.send(request).await?;
    output.show(&view, |paint| shown(&view, paint))
}

pub(super) async fn poll(arguments: &ApiArguments, name: &ConnectionName, output: &Output) -> anyhow::Result<()> {
    let request = Request::post(&["v1", "connections", name.as_str(), "poll"]);
    let asked: PollAsked = arguments.client()?.send(request).await?;
    output.show(&asked, |_| {
        let what = if asked.hastened {
            "the poll that waited"
        } else {
            "a poll"
        };
        format!("{what} of {name} is due now: cofferdam trace {}", asked.correlation_id)
    })
}

pub(super) async fn reset_cursor(
    arguments: &ApiArguments,
    name: &ConnectionName,
    yes: bool,
    output: &Output,
) -> anyhow::Result<()> {
    if !yes {
        confirm(&format!(
            "reset the cursor of connection {name}, so that its next poll begins from the start"
        ))?;
    }
    let request = Request::delete(&["v1", "connections", name.as_str(), "cursor"]);
    let view: ConnectionView = arguments.client()?.send(request).await?;
    output.show(&view, |_| format!("the next poll of {name} begins from the start"))
}

pub(super) fn shown(view: &ConnectionView, paint: Paint) -> String {
    let mut text = standing(view, paint);
    let mut line = |name: &str, value: String| text.push_str(&format!("\n  {name:<12} {value}"));
    for (name, value) in grants::code_in_words(view) {
        line(name, value);
    }
    if let Some(state) = &view.state_kept {
        line("state", state_in_words(state));
    }
    for held in &view.over_maximum {
        line(
            "limit",
            format!(
                "{} is {}, and this server allows {}, which holds",
                held.limit, held.asked, held.maximum
            ),
        );
    }
    if let Some(polling) = &view.polling {
        for (name, value) in polling_in_words(polling) {
            line(name, value);
        }
    }
    text
}

fn state_in_words(state: &StateKept) -> String {
    if let Some(problem) = &state.problem {
        return printable(problem).into_owned();
    }
    match state.size {
        Some(size) => format!(
            "{} of {} bytes in {}, changed {}",
            size.bytes,
            state.bytes_max,
            plural(usize::try_from(size.keys).unwrap_or(usize::MAX), "key"),
            moment(size.changed_at)
        ),
        None => format!("nothing yet, of {} bytes", state.bytes_max),
    }
}

fn polling_in_words(polling: &Polling) -> Vec<(&'static str, String)> {
    let mut lines = vec![("polled", printable(&polling.schedule).into_owned())];
    if let Some(due) = polling.next_due_at {
        lines.push(("next poll", moment(due)));
    }
    if let Some(latest) = &polling.latest {
        lines.push((
            "latest poll",
            format!(
                "{}, made {}: cofferdam trace {}",
                latest.state.as_str(),
                moment(latest.made_at),
                latest.correlation_id
            ),
        ));
        if let (Some(class), Some(failure)) = (latest.failure_class, &latest.failure) {
            lines.push(("last failure", format!("{class}: {}", printable(failure))));
        }
    }
    lines.push(match polling.cursor {
        Some(cursor) => (
            "cursor",
            format!(
                "{} bytes, SHA-256 {}, left {}",
                cursor.bytes,
                cursor.hash,
                moment(cursor.set_at)
            ),
        ),
        None => ("cursor", "none: the next poll begins from the start".to_owned()),
    });
    if let Some(problem) = &polling.problem {
        lines.push(("trouble", printable(problem).into_owned()));
    }
    lines
}
