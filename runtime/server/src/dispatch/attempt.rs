//! One attempt, stage by stage: leased → called → classified → settled.
//!
//! The attempt is durable before the call begins. A crash before the settle leaves an attempt without an end; the delivery
//! is tried again under the same idempotency key.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::{AttemptEnd, ConnectorRef, Exchange};
use cofferdam_domain::delivery::DeliveryKind;
use cofferdam_domain::retry::{self, Decision};
use cofferdam_domain::{CallResult, Connection, Fault, FaultKind, LogLine, Outcome, Receipt, Usage, Verdict, classify};
use cofferdam_host::{Connector, DeliverRequest};
use cofferdam_queue::{Accept, Leased, Queue, SettleError, Settlement};
use tracing::Instrument;

use super::call_limits;
use super::environment::GateEnvironment;
use crate::app::App;
use crate::clock::now;
use crate::ingest::hooks::{Arrival, normalise, stamp_all};
use crate::ingest::raw_request;
use crate::metrics::{AttemptLabels, Lane};
use crate::problem::chain;

/// How the call ended, with everything it left.
struct Called {
    result: CallResult,
    trail: Vec<Exchange>,
    logs: Vec<LogLine>,
    logs_dropped: u32,
    usage: Usage,
    connector: ConnectorRef,
    produced: Vec<Accept>,
}

/// What it means and what follows.
struct Classified {
    verdict: Verdict,
    decision: Decision,
}

/// Runs one attempt to its settle.
pub(super) async fn run(app: App, connection: Arc<Connection>, connector: Arc<Connector>, leased: Leased) {
    let span = tracing::info_span!(
        "process",
        correlation_id = %leased.event.correlation_id,
        trace_id = leased.attempt.trace.trace_id(),
        span_id = leased.attempt.trace.span_id(),
        delivery = %leased.delivery.id,
        connection = %connection.spec.name,
        workspace = %connection.workspace,
        attempt = leased.attempt.number,
    );
    async {
        let called = match leased.delivery.kind {
            DeliveryKind::Deliver => deliver(&app, &connection, &connector, &leased).await,
            DeliveryKind::Receive => receive_again(&app, &connection, &connector, &leased).await,
        };
        let classified = classify(&connection, &leased, &called);
        settle(&app, &connection, leased, called, classified).await;
    }
    .instrument(span)
    .await;
}

async fn deliver(app: &App, connection: &Connection, connector: &Connector, leased: &Leased) -> Called {
    let limits = call_limits(&connection.spec.policy);
    let deadline = now().after(limits.deadline);
    let environment = Arc::new(GateEnvironment::new(app, connection, connector, leased, deadline));
    let request = DeliverRequest {
        event: leased.event.clone(),
        body: leased.body.clone(),
        number: leased.attempt.number,
        idempotency_key: leased.delivery.idempotency_key.clone(),
        deadline,
    };
    let report = connector.deliver(request, Arc::clone(&environment) as _, limits).await;
    Called {
        result: report.result.unwrap_or_else(CallResult::Faulted),
        trail: environment.trail(),
        logs: report.logs,
        logs_dropped: report.logs_dropped,
        usage: report.usage,
        connector: connector.reference(),
        produced: Vec::new(),
    }
}

/// A raw request that the source connector could not read at first: its events are accepted with the settle, in one batch.
async fn receive_again(app: &App, connection: &Connection, connector: &Connector, leased: &Leased) -> Called {
    let began = now();
    let mut called = Called {
        result: CallResult::Done(Receipt::default()),
        trail: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
        usage: Usage::default(),
        connector: connector.reference(),
        produced: Vec::new(),
    };
    let Some(request) = raw_request::read(&leased.body) else {
        let message = "the kept request cannot be read back".to_owned();
        called.result = CallResult::Faulted(Fault {
            kind: FaultKind::BadReturn,
            message,
        });
        return called;
    };
    let arrival = Arrival {
        connection,
        correlation_id: leased.event.correlation_id.clone(),
        received_at: leased.event.received_at,
        provider_id: None,
    };
    let read = normalise(app, connection, request)
        .await
        .and_then(|received| stamp_all(app, &arrival, received.drafts));
    called.usage.wall_us = u64::try_from(now().since(began).as_micros()).unwrap_or(u64::MAX);
    match read {
        Ok(accepts) => {
            let summary = format!(
                "{} event{} made",
                accepts.len(),
                if accepts.len() == 1 { "" } else { "s" }
            );
            called.result = CallResult::Done(Receipt {
                summary: Some(summary),
                ..Receipt::default()
            });
            called.produced = accepts;
        }
        Err(failure) => called.result = CallResult::Refused(failure),
    }
    called
}

fn classify(connection: &Connection, leased: &Leased, called: &Called) -> Classified {
    let verdict = classify::classify(called.result.clone(), &called.trail);
    let counted = leased.delivery_after(&verdict);
    let decision = retry::decide(
        &connection.spec.policy.retry,
        &counted,
        &verdict,
        now(),
        &mut rand::rng(),
    );
    Classified { verdict, decision }
}

async fn settle(app: &App, connection: &Connection, leased: Leased, called: Called, classified: Classified) {
    let Classified { verdict, decision } = classified;
    let at = now();
    let (failure, receipt) = match verdict {
        Verdict::Delivered(receipt) => (None, Some(receipt)),
        Verdict::Failed(failure) => (Some(failure), None),
    };
    let class = failure.as_ref().map_or("", |failure| failure.class.as_str());
    match &failure {
        None => tracing::info!(usage_us = called.usage.wall_us, "delivered"),
        Some(failure) => {
            tracing::warn!(class, outcome = ?decision.outcome, message = failure.message, "attempt failed");
        }
    }
    count(
        app,
        connection,
        &decision.outcome,
        class,
        called.usage.wall_us,
        at.since(leased.delivery.accepted_at),
    );
    let delivery = leased.delivery.id;
    let settlement = Settlement {
        end: AttemptEnd {
            at,
            connector: Some(called.connector),
            outcome: decision.outcome,
            failure,
            receipt,
            trail: called.trail,
            logs: called.logs,
            logs_dropped: called.logs_dropped,
            usage: called.usage,
        },
        lane: decision.lane,
        produced: called.produced,
        now: at,
    };
    match app.queue.settle(leased, settlement).await {
        Ok(_) => {}
        Err(SettleError::Stale(_)) => {
            tracing::warn!(%delivery, "the lease had run out before the attempt was settled; its outcome is not counted");
        }
        Err(error) => {
            tracing::error!(%delivery, error = chain(&error), "the attempt could not be settled; it is tried again");
        }
    }
}

fn count(app: &App, connection: &Connection, outcome: &Outcome, class: &'static str, wall_us: u64, age: Duration) {
    app.metrics
        .attempts
        .get_or_create(&AttemptLabels::of(connection, outcome, class))
        .inc();
    let lane = Lane::of(connection);
    let wall = Duration::from_micros(wall_us).as_secs_f64();
    app.metrics.attempt_seconds.get_or_create(&lane).observe(wall);
    if *outcome == Outcome::Delivered {
        app.metrics
            .delivery_seconds
            .get_or_create(&lane)
            .observe(age.as_secs_f64());
    }
}
