//! A trace as lines that a person reads from top to bottom: every hop, attempt, class, hash, wait and receipt, in the order
//! of time. The command line and the panel show the same lines.

use cofferdam_domain::attempt::{Attempt, AttemptEnd, Exchange, ExchangeResult, Timings};
use cofferdam_domain::{DeliveryState, Digest, InterventionKind, Outcome, Timestamp};
use cofferdam_egress::RefusalCode;
use serde::{Deserialize, Serialize};

use crate::admin::views::{DeliveryTrace, EventTrace, TraceView};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What kind of thing happened.
    pub kind: StepKind,
    /// The connection it belongs to, if it belongs to one.
    pub connection: Option<String>,
    /// The sentence.
    pub text: String,
    /// Identifiers, hashes, sizes, codes and timings, as names and values.
    pub facts: Vec<(String, String)>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// An event was made durable.
    Accepted,
    /// A delivery was owed.
    Owed,
    /// An attempt began.
    Attempt,
    /// A request left, or was refused.
    Request,
    /// The connector noted something.
    Note,
    /// The attempt succeeded.
    Delivered,
    /// The attempt failed and is made again.
    Retry,
    /// The lane waits for somebody to act.
    Parked,
    /// The delivery is a dead letter.
    Dead,
    /// A person asked for it again.
    Replayed,
    /// A person gave it up.
    Discarded,
    /// An attempt of which no end is known.
    Interrupted,
}

impl StepKind {
    /// A short word for a column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Owed => "owed",
            Self::Attempt => "attempt",
            Self::Request => "request",
            Self::Note => "note",
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The lines of a trace. Equal times keep the order of cause and effect.
pub fn steps(trace: &TraceView) -> Vec<Step> {
    let mut steps = Vec::new();
    for event in &trace.events {
        event_steps(event, &mut steps);
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn event_steps(trace: &EventTrace, steps: &mut Vec<Step>) {
    let event = &trace.event;
    steps.push(Step {
        at: event.received_at,
        kind: StepKind::Accepted,
        connection: None,
        text: format!("{} from {}", event.kind, event.source),
        facts: facts([
            ("event", Some(event.id.to_string())),
            ("subject", event.subject.clone()),
            ("body", Some(body(event.body_hash, event.body_bytes))),
            ("dedupe key", event.dedupe_key.clone()),
            ("trace", Some(event.trace.trace_id())),
        ]),
    });
    for delivery in &trace.deliveries {
        delivery_steps(delivery, steps);
    }
}

fn delivery_steps(trace: &DeliveryTrace, steps: &mut Vec<Step>) {
    let delivery = &trace.delivery;
    let connection = delivery.connection.to_string();
    let step = |at, kind, text: String, facts| Step {
        at,
        kind,
        connection: Some(connection.clone()),
        text,
        facts,
    };
    steps.push(step(
        delivery.accepted_at,
        StepKind::Owed,
        format!("owed to {connection}"),
        facts([
            ("delivery", Some(delivery.id.to_string())),
            ("idempotency key", Some(delivery.idempotency_key.clone())),
        ]),
    ));
    for attempt in &trace.attempts {
        attempt_steps(attempt, &step, steps);
    }
    for intervention in &delivery.interventions {
        let by = &intervention.by;
        let (kind, text) = match intervention.what {
            InterventionKind::Replayed => (StepKind::Replayed, format!("asked for again by {by}")),
            InterventionKind::Discarded => (StepKind::Discarded, format!("given up by {by}")),
        };
        steps.push(step(intervention.at, kind, text, Vec::new()));
    }
    if let DeliveryState::Dead { at, class } = &delivery.state
        && trace.attempts.is_empty()
    {
        let message = delivery
            .last_failure
            .as_ref()
            .map_or("", |failure| failure.message.as_str());
        steps.push(step(
            *at,
            StepKind::Dead,
            format!("dead letter without an attempt ({class}): {message}"),
            Vec::new(),
        ));
    }
}

type MakeStep<'a> = dyn Fn(Timestamp, StepKind, String, Vec<(String, String)>) -> Step + 'a;

fn attempt_steps(attempt: &Attempt, step: &MakeStep<'_>, steps: &mut Vec<Step>) {
    let connector = attempt.ended.as_ref().and_then(|end| end.connector.as_ref());
    steps.push(step(
        attempt.started_at,
        StepKind::Attempt,
        format!("attempt {} (run {})", attempt.number, attempt.run),
        facts([
            (
                "connector",
                connector.map(|it| format!("{} {} {}", it.name, it.version, it.digest.short())),
            ),
            ("span", Some(attempt.trace.span_id())),
        ]),
    ));
    let Some(end) = &attempt.ended else {
        let text = "no end is known yet: it is under way, or the process ended in it".to_owned();
        steps.push(step(attempt.started_at, StepKind::Interrupted, text, Vec::new()));
        return;
    };
    for exchange in &end.trail {
        steps.push(step(
            exchange.started_at,
            StepKind::Request,
            request_text(exchange),
            request_facts(exchange),
        ));
    }
    for line in &end.logs {
        let text = format!("{}: {}", line.level, line.message);
        steps.push(step(line.at, StepKind::Note, text, line.fields.clone()));
    }
    steps.push(end_step(end, step));
}

fn end_step(end: &AttemptEnd, step: &MakeStep<'_>) -> Step {
    let failure = end.failure.as_ref();
    let class = failure.map_or("", |failure| failure.class.as_str());
    let message = failure.map_or("", |failure| failure.message.as_str());
    let (kind, text) = match &end.outcome {
        Outcome::Delivered => {
            let summary = end
                .receipt
                .as_ref()
                .and_then(|receipt| receipt.summary.as_deref())
                .unwrap_or("delivered");
            (StepKind::Delivered, summary.to_owned())
        }
        Outcome::Retry { due_at, charged } => {
            let wait = seconds(due_at.since(end.at).as_millis());
            let charge = if *charged { "" } else { ", not charged" };
            (StepKind::Retry, format!("{class}: {message}; again in {wait}{charge}"))
        }
        Outcome::Parked => (
            StepKind::Parked,
            format!("{class}: {message}; the lane waits for somebody to act"),
        ),
        Outcome::Dead => (StepKind::Dead, format!("{class}: {message}; dead letter")),
    };
    step(
        end.at,
        kind,
        text,
        facts([
            ("class", failure.map(|failure| failure.class.to_string())),
            ("code", failure.and_then(|failure| failure.code.clone())),
            (
                "ambiguous",
                failure
                    .filter(|failure| failure.ambiguous)
                    .map(|_| "the effect may have happened".to_owned()),
            ),
            (
                "receipt",
                end.receipt.as_ref().and_then(|receipt| receipt.external_id.clone()),
            ),
            ("took", Some(format!("{:.1} ms", micros_to_ms(end.usage.wall_us)))),
            ("memory", Some(format!("{} KiB", end.usage.memory_bytes / 1024))),
            (
                "notes dropped",
                (end.logs_dropped > 0).then(|| end.logs_dropped.to_string()),
            ),
        ]),
    )
}

fn request_text(exchange: &Exchange) -> String {
    let answer = match &exchange.result {
        ExchangeResult::Answered { status, .. } => format!("{status}"),
        ExchangeResult::InFlight { .. } => "no answer before the call ended".to_owned(),
        ExchangeResult::Refused { code, message } => format!("refused by the gate, {code}: {message}"),
        ExchangeResult::RateLimited { wait_ms } => {
            format!("over the connection's rate, wait {}", seconds((*wait_ms).into()))
        }
        ExchangeResult::TimedOut { request_sent: true } => "timed out after it had left".to_owned(),
        ExchangeResult::TimedOut { request_sent: false } => "timed out before it left".to_owned(),
        ExchangeResult::Unreachable { message } => format!("unreachable: {message}"),
        ExchangeResult::Interrupted { message } => format!("interrupted: {message}"),
        ExchangeResult::ResponseTooLarge { bytes_max } => format!("the answer is larger than {bytes_max} bytes"),
        ExchangeResult::ProtocolError { message } => format!("not HTTP: {message}"),
    };
    format!(
        "{} {} {} → {answer}",
        exchange.method, exchange.upstream, exchange.path_prefix
    )
}

fn request_facts(exchange: &Exchange) -> Vec<(String, String)> {
    let (response, retry_after, headers) = match &exchange.result {
        ExchangeResult::Answered {
            body_hash,
            body_bytes,
            retry_after_ms,
            headers,
            ..
        } => (Some(body(*body_hash, *body_bytes)), *retry_after_ms, headers.as_slice()),
        ExchangeResult::InFlight { .. }
        | ExchangeResult::Refused { .. }
        | ExchangeResult::RateLimited { .. }
        | ExchangeResult::TimedOut { .. }
        | ExchangeResult::Unreachable { .. }
        | ExchangeResult::Interrupted { .. }
        | ExchangeResult::ResponseTooLarge { .. }
        | ExchangeResult::ProtocolError { .. } => (None, None, &[][..]),
    };
    let mut all = facts([
        ("to", exchange.address.map(|address| address.to_string())),
        ("credential", exchange.credential.clone()),
        ("sent", Some(body(exchange.request_hash, exchange.request_bytes))),
        ("received", response),
        ("retry-after", retry_after.map(|ms| seconds(ms.into()))),
        ("took", took(&exchange.timings)),
        (
            "credential reflected",
            exchange.credential_reflected.then(|| "yes, and taken out".to_owned()),
        ),
        ("span", Some(exchange.trace.span_id())),
        ("explained in", explained_in(&exchange.result)),
    ]);
    all.extend(
        headers
            .iter()
            .map(|(name, value)| (format!("header {name}"), value.clone())),
    );
    all
}

/// The whole and, as far as they are known, the points on the way.
fn took(timings: &Timings) -> Option<String> {
    let on_the_way = [
        ("resolved", timings.resolved_ms),
        ("connected", timings.connected_ms),
        ("first byte", timings.first_byte_ms),
    ];
    let points: Vec<_> = on_the_way
        .iter()
        .filter_map(|(name, ms)| Some(format!("{name} at {}", (*ms)?)))
        .collect();
    let total = timings.total_ms?;
    Some(match points.as_slice() {
        [] => format!("{total} ms"),
        points => format!("{total} ms ({})", points.join(", ")),
    })
}

fn explained_in(result: &ExchangeResult) -> Option<String> {
    match result {
        ExchangeResult::Refused { code, .. } => RefusalCode::named(code).map(RefusalCode::docs_path),
        ExchangeResult::Answered { .. }
        | ExchangeResult::InFlight { .. }
        | ExchangeResult::RateLimited { .. }
        | ExchangeResult::TimedOut { .. }
        | ExchangeResult::Unreachable { .. }
        | ExchangeResult::Interrupted { .. }
        | ExchangeResult::ResponseTooLarge { .. }
        | ExchangeResult::ProtocolError { .. } => None,
    }
}

fn facts<const N: usize>(pairs: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

fn body(hash: Digest, bytes: u64) -> String {
    format!("sha256 {} ({bytes} bytes)", hash.short())
}

/// `1.2 s`, `3 m 20 s`, `2 h 5 m`.
fn seconds(millis: u128) -> String {
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    match minutes {
        0 => format!("{}.{} s", rest / 1_000, rest % 1_000 / 100),
        1..=59 => format!("{minutes} m {} s", rest / 1_000),
        _ => format!("{} h {} m", minutes / 60, minutes % 60),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a call takes no 2^53 microseconds")]
fn micros_to_ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::{explained_in, seconds, took};
    use cofferdam_domain::attempt::{ExchangeResult, Timings};

    #[test]
    fn a_refusal_leads_to_its_explanation() {
        let refused = |code: &str| ExchangeResult::Refused {
            code: code.to_owned(),
            message: String::new(),
        };
        assert_eq!(
            explained_in(&refused("address-blocked")).as_deref(),
            Some("docs/refusals.md#address-blocked")
        );
        // A code of an earlier version, or of something else than the gate.
        assert_eq!(explained_in(&refused("gone-by")), None);
        assert_eq!(explained_in(&ExchangeResult::RateLimited { wait_ms: 1 }), None);
    }

    #[test]
    fn what_a_request_took_names_the_points_that_are_known() {
        let mut timings = Timings {
            total_ms: Some(9),
            ..Timings::default()
        };
        assert_eq!(took(&timings).as_deref(), Some("9 ms"));
        timings.connected_ms = Some(2);
        timings.first_byte_ms = Some(5);
        assert_eq!(
            took(&timings).as_deref(),
            Some("9 ms (connected at 2, first byte at 5)")
        );
        assert_eq!(took(&Timings::default()), None);
    }

    #[test]
    fn waits_are_written_in_the_unit_a_person_would_use() {
        for (millis, text) in [
            (0, "0.0 s"),
            (1_234, "1.2 s"),
            (59_999, "59.9 s"),
            (200_000, "3 m 20 s"),
            (7_500_000, "2 h 5 m"),
        ] {
            assert_eq!(seconds(millis), text);
        }
    }
}
