//! A trace from top to bottom, in the order of time.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_server::admin::views::{DeliveryTrace, TraceView};
use cofferdam_server::timeline::{Step, StepKind, steps};

use super::text::{date_and_time, moment, plural, printable};
use crate::paint::Paint;

/// Longest line of facts, in characters, unless one fact alone is longer.
const FACTS_CHARS: usize = 96;

/// Columns before the sentence, but for the connection's: 11 of time after, 12 of time, 11 of kind, and the gaps.
const BEFORE_SENTENCE: usize = 11 + 2 + 12 + 2 + 2 + 11 + 1;

/// The whole trace: where each delivery stands, then every step with its facts.
pub(crate) fn timeline(trace: &TraceView, paint: Paint) -> String {
    let steps = steps(trace);
    let began = steps.first().map_or(Timestamp::ZERO, |step| step.at);
    let deliveries: Vec<_> = trace.events.iter().flat_map(|event| &event.deliveries).collect();
    let mut text = format!(
        "{} {}\n{}, {}; {} (UTC)\n\n",
        paint.bold("correlation id"),
        trace.correlation_id,
        plural(trace.events.len(), "event"),
        plural(deliveries.len(), "delivery"),
        moment(began),
    );
    for delivery in &deliveries {
        text.push_str(&standing(delivery, paint));
    }
    text.push('\n');
    let connections = steps.iter().filter_map(|step| step.connection.as_deref());
    let width = connections.map(|name| name.chars().count()).max().unwrap_or(0);
    let mut day = date_and_time(began).0;
    for step in &steps {
        let (date, time) = date_and_time(step.at);
        if date != day {
            text.push_str(&format!("{}\n", paint.bold(&date)));
            day = date;
        }
        text.push_str(&line(step, began, &time, width, paint));
    }
    text
}

/// One line that says how it ended, or what happens next.
fn standing(trace: &DeliveryTrace, paint: Paint) -> String {
    use cofferdam_domain::DeliveryState as State;
    let delivery = &trace.delivery;
    let mark = match &delivery.state {
        State::Delivered { .. } => paint.good("✓"),
        State::Dead { .. } => paint.bad("✗"),
        State::Pending { .. } | State::Leased { .. } => paint.warn("…"),
        State::Discarded { .. } => paint.dim("–"),
    };
    let words = match &delivery.state {
        State::Delivered { at, .. } => {
            format!(
                "delivered {} after it was accepted",
                elapsed(at.since(delivery.accepted_at))
            )
        }
        State::Dead { class, .. } => format!(
            "dead letter ({class}); once the cause is gone: cofferdam dead-letters replay {}",
            delivery.id
        ),
        State::Pending { due_at } => format!("waits; next try not before {} (UTC)", moment(*due_at)),
        State::Leased { .. } => "an attempt is under way".to_owned(),
        State::Discarded { by, .. } => format!("given up by {}", printable(by)),
    };
    let attempts = plural(trace.attempts.len(), "attempt");
    format!("{mark} {}: {words} ({attempts})\n", delivery.connection)
}

fn line(step: &Step, began: Timestamp, time: &str, width: usize, paint: Paint) -> String {
    let after = format!("+{}", elapsed(step.at.since(began)));
    let connection = step.connection.as_deref().unwrap_or_default();
    let kind = format!("{:<11}", step.kind.as_str());
    let kind = match step.kind {
        StepKind::Delivered => paint.good(&kind),
        StepKind::Retry | StepKind::Parked | StepKind::Interrupted => paint.warn(&kind),
        StepKind::Dead => paint.bad(&kind),
        StepKind::Accepted | StepKind::Owed | StepKind::Attempt => paint.bold(&kind),
        StepKind::Replayed => paint.bold(&kind),
        StepKind::Request | StepKind::Note | StepKind::Discarded => kind,
    };
    let sentence = printable(&step.text);
    let mut text = format!(
        "{after:>11}  {}  {connection:<width$}  {kind} {sentence}\n",
        paint.dim(time)
    );
    let indent = " ".repeat(BEFORE_SENTENCE + width);
    for facts in fact_lines(&step.facts) {
        text.push_str(&format!("{indent}{}\n", paint.dim(&facts)));
    }
    text
}

/// `name value · name value`, as many on a line as fit.
fn fact_lines(facts: &[(String, String)]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, value) in facts {
        let fact = format!("{} {}", printable(name), printable(value));
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + fact.chars().count() <= FACTS_CHARS => {
                line.push_str(" · ");
                line.push_str(&fact);
            }
            Some(_) | None => lines.push(fact),
        }
    }
    lines
}

/// `0.012 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`.
fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{:03} s", time.subsec_millis()),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests;
