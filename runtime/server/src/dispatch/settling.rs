//! The end of an attempt: what became of it is written in one batch, and told once that is durable.
//!
//! A batch that others have overtaken, or that is too large, is settled without what it would have made: the attempt then
//! counts as failed, and never half of it is true.

use std::time::Duration;

use cofferdam_domain::attempt::{AttemptEnd, Exchange, ExchangeResult};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::{Connection, FailureClass, FaultKind, Outcome, Timestamp, Verdict};
use cofferdam_host::Connector;
use cofferdam_queue::{KeptChange, Leased, Queue, QueueError, SettleError, Settlement};
use cofferdam_store::CommitError;

use super::attempt::{Called, Classified, decide};
use super::keeping;
use crate::app::App;
use crate::clock::steady;
use crate::credentials;
use crate::metrics::{AttemptLabels, Lane};
use crate::plugins::{self, Ended};
use crate::problem::chain;

/// Writes what became of the attempt, with all that it made and set, in one batch; and then tells of it.
pub(super) async fn settle(
    app: &App,
    connection: &Connection,
    connector: &Connector,
    leased: Leased,
    mut called: Called,
    classified: Classified,
) {
    let Classified { verdict, outcome, lane } = classified;
    let (mut produced, mut kept) = (std::mem::take(&mut called.produced), std::mem::take(&mut called.kept));
    // What the call made and set is true only if the attempt is delivered.
    if outcome != Outcome::Delivered {
        (produced, kept) = (Vec::new(), KeptChange::default());
    }
    let reflecting = credentials::reflecting(&called.trail);
    let delivery = leased.delivery.id;
    let mut end = ended(called, verdict, outcome);
    // A batch of nothing but the attempt is refused by nobody but the holder of another lease.
    let is_refusable = !produced.is_empty() || kept.state.is_some() || kept.cursor.is_some();
    let spare = is_refusable.then(|| (leased.clone(), produced.clone()));
    let settlement = |end: &AttemptEnd, produced, kept| Settlement {
        end: end.clone(),
        lane: lane.clone(),
        produced,
        kept,
        now: end.at,
    };
    let accepted_at = leased.delivery.accepted_at;
    let mut settled = app.queue.settle(leased, settlement(&end, produced, kept)).await;
    if let Some((leased, produced)) = spare {
        match &settled {
            Err(SettleError::KeptChanged(name)) if app.connections.get(&connection.workspace, name).is_none() => {
                // Deleted meanwhile: there is nobody to keep anything for.
                settled = app
                    .queue
                    .settle(leased, settlement(&end, produced, KeptChange::default()))
                    .await;
            }
            Err(SettleError::KeptChanged(_)) => {
                let due_at = steady();
                let again = Outcome::Retry { due_at, charged: false };
                end = failed(end, keeping::changed(), again);
                settled = app
                    .queue
                    .settle(leased, settlement(&end, Vec::new(), KeptChange::default()))
                    .await;
            }
            Err(SettleError::Queue(QueueError::Commit(CommitError::TooLarge))) => {
                let failure = too_large(produced.len());
                let (outcome, _) = decide(connection, connector, &leased, &Verdict::Failed(failure.clone()));
                end = failed(end, failure, outcome);
                settled = app
                    .queue
                    .settle(leased, settlement(&end, Vec::new(), KeptChange::default()))
                    .await;
            }
            Ok(_) | Err(SettleError::Stale(_) | SettleError::Queue(_)) => {}
        }
    }
    match settled {
        Ok(_) => {
            Told::of(&end, accepted_at).tell(app, connection);
            plugins::observe(app, connection, connector.digest, Ended::of(&end)).await;
            credentials::tell_reflected(app, connection, reflecting).await;
        }
        Err(SettleError::Stale(_)) => {
            tracing::warn!(%delivery, "the lease had run out before the attempt was settled; its outcome is not counted");
        }
        Err(error @ (SettleError::Queue(_) | SettleError::KeptChanged(_))) => {
            tracing::error!(%delivery, error = chain(&error), "the attempt could not be settled; it is tried again");
        }
    }
}

fn ended(called: Called, verdict: Verdict, outcome: Outcome) -> AttemptEnd {
    let (failure, receipt) = match verdict {
        Verdict::Delivered(receipt) => (None, Some(receipt)),
        Verdict::Failed(failure) => (Some(failure), None),
    };
    AttemptEnd {
        at: steady(),
        connector: Some(called.connector),
        outcome,
        failure,
        receipt,
        trail: called.trail,
        logs: called.logs,
        logs_dropped: called.logs_dropped,
        usage: called.usage,
    }
}

/// The same end with another outcome.
fn failed(end: AttemptEnd, failure: Failure, outcome: Outcome) -> AttemptEnd {
    AttemptEnd {
        outcome,
        failure: Some(failure),
        receipt: None,
        ..end
    }
}

/// What an attempt made does not fit into one batch, and half of it would be a lie.
fn too_large(events: usize) -> Failure {
    Failure {
        class: FailureClass::ConnectorFault,
        code: Some(FaultKind::BadReturn.code().to_owned()),
        message: format!(
            "{events} events with all their deliveries, and what is kept beside them, take more than one batch of {} bytes; \
             return fewer at once",
            cofferdam_store::BATCH_BYTES_MAX
        ),
        ambiguous: false,
        retry_after_ms: None,
    }
}

/// What the log and the metrics say of an attempt, once it is durable.
struct Told {
    outcome: Outcome,
    class: &'static str,
    message: Option<String>,
    wall: Duration,
    age: Duration,
    /// Requests that the budget of their upstream held back.
    held_back: usize,
}

impl Told {
    fn of(end: &AttemptEnd, accepted_at: Timestamp) -> Self {
        let held_back = |exchange: &&Exchange| matches!(exchange.result, ExchangeResult::RateLimited { .. });
        Self {
            outcome: end.outcome.clone(),
            class: end.failure.as_ref().map_or("", |failure| failure.class.as_str()),
            message: end.failure.as_ref().map(|failure| failure.message.clone()),
            wall: Duration::from_micros(end.usage.wall_us),
            age: end.at.since(accepted_at),
            held_back: end.trail.iter().filter(held_back).count(),
        }
    }

    fn tell(self, app: &App, connection: &Connection) {
        let Self {
            outcome,
            class,
            message,
            wall,
            age,
            held_back,
        } = self;
        match message {
            None => tracing::debug!(took_us = wall.as_micros(), "delivered"),
            Some(message) => tracing::warn!(class, ?outcome, message, "attempt failed"),
        }
        app.metrics
            .attempts
            .get_or_create(&AttemptLabels::of(connection, &outcome, class))
            .inc();
        let lane = Lane::of(connection);
        app.metrics
            .held_back
            .get_or_create(&lane)
            .inc_by(u64::try_from(held_back).unwrap_or(u64::MAX));
        app.metrics
            .attempt_seconds
            .get_or_create(&lane)
            .observe(wall.as_secs_f64());
        if outcome == Outcome::Delivered {
            app.metrics
                .delivery_seconds
                .get_or_create(&lane)
                .observe(age.as_secs_f64());
        }
    }
}
