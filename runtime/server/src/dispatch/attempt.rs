//! One attempt, stage by stage: leased → called → classified → settled.
//!
//! The attempt is durable before the call begins. A crash before the settle leaves an attempt without an end; the delivery
//! is tried again under the same idempotency key.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::{AttemptEnd, ConnectorRef, Exchange};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::delivery::DeliveryKind;
use cofferdam_domain::retry::{self, Decision};
use cofferdam_domain::{
    CallResult, Connection, FailureClass, Fault, FaultKind, LogLine, Outcome, Receipt, Usage, Verdict, classify,
};
use cofferdam_host::{Connector, DeliverRequest, Slot};
use cofferdam_queue::{Accept, Leased, Queue, SettleError, Settlement};
use tracing::Instrument;

use super::call_limits;
use super::environment::GateEnvironment;
use crate::app::App;
use crate::clock::now;
use crate::ingest::hooks::{Arrival, normalise, owe_all};
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

/// What one attempt runs in.
pub(super) struct Runner {
    pub(super) app: App,
    pub(super) connection: Arc<Connection>,
    pub(super) connector: Arc<Connector>,
}

impl Runner {
    /// Runs one attempt to its settle, in this slot.
    pub(super) async fn run(self, leased: Leased, slot: Slot) {
        let Self {
            app,
            connection,
            connector,
        } = self;
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
                _ if interrupted_too_often(&connection, &leased) => given_up(&connector),
                DeliveryKind::Deliver => deliver(&app, &connection, &connector, &leased, slot).await,
                DeliveryKind::Receive => receive_again(&app, &connection, &connector, &leased).await,
            };
            let classified = classify(&connection, &leased, &called);
            settle(&app, &connection, leased, called, classified).await;
        }
        .instrument(span)
        .await;
    }
}

/// An attempt is charged when it is leased, so only attempts that were never settled take a delivery past its schedule: each
/// time the process ended in it. It is not tried once more.
fn interrupted_too_often(connection: &Connection, leased: &Leased) -> bool {
    leased.delivery.charged as usize > connection.spec.policy.retry.schedule_ms.len()
}

fn given_up(connector: &Connector) -> Called {
    let failure = Failure {
        class: FailureClass::ConnectorFault,
        code: Some("interrupted".to_owned()),
        message: "every attempt of the schedule ended with the process in it".to_owned(),
        ambiguous: true,
        retry_after_ms: None,
    };
    Called {
        result: CallResult::Refused(failure),
        ..Called::nothing(connector)
    }
}

impl Called {
    /// A call that has left nothing yet.
    fn nothing(connector: &Connector) -> Self {
        Self {
            result: CallResult::Done(Receipt::default()),
            trail: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage::default(),
            connector: connector.reference(),
            produced: Vec::new(),
        }
    }
}

async fn deliver(app: &App, connection: &Connection, connector: &Connector, leased: &Leased, slot: Slot) -> Called {
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
    let report = connector
        .deliver(request, Arc::clone(&environment) as _, limits, slot)
        .await;
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
    let mut called = Called::nothing(connector);
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
        provider_id: raw_request::provider_id(&leased.event),
    };
    let read = match normalise(app, connection, request).await {
        Ok(received) => owe_all(app, &arrival, received.drafts).await,
        Err(failure) => Err(failure),
    };
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
    let told = Told {
        outcome: decision.outcome.clone(),
        class: failure.as_ref().map_or("", |failure| failure.class.as_str()),
        message: failure.as_ref().map(|failure| failure.message.clone()),
        wall: Duration::from_micros(called.usage.wall_us),
        age: at.since(leased.delivery.accepted_at),
    };
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
        lane: vec![decision.lane],
        produced: called.produced,
        now: at,
    };
    match app.queue.settle(leased, settlement).await {
        Ok(_) => told.tell(app, connection),
        Err(SettleError::Stale(_)) => {
            tracing::warn!(%delivery, "the lease had run out before the attempt was settled; its outcome is not counted");
        }
        Err(error) => {
            tracing::error!(%delivery, error = chain(&error), "the attempt could not be settled; it is tried again");
        }
    }
}

/// What the log and the metrics say of an attempt, once it is durable.
struct Told {
    outcome: Outcome,
    class: &'static str,
    message: Option<String>,
    wall: Duration,
    age: Duration,
}

impl Told {
    fn tell(self, app: &App, connection: &Connection) {
        let Self {
            outcome,
            class,
            message,
            wall,
            age,
        } = self;
        match message {
            None => tracing::info!(took_us = wall.as_micros(), "delivered"),
            Some(message) => tracing::warn!(class, ?outcome, message, "attempt failed"),
        }
        app.metrics
            .attempts
            .get_or_create(&AttemptLabels::of(connection, &outcome, class))
            .inc();
        let lane = Lane::of(connection);
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
