//! One attempt, stage by stage: leased → called → classified → settled.
//!
//! The attempt is durable before the call begins. A crash before the settle leaves an attempt without an end; the delivery
//! is tried again under the same idempotency key. An attempt that the server stops in the middle gives its delivery back.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::{AttemptEnd, ConnectorRef, Exchange};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::delivery::DeliveryKind;
use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::retry;
use cofferdam_domain::{
    CallResult, Connection, Fault, FaultKind, LaneEffect, LogLine, Outcome, Receipt, Timestamp, Usage, Verdict,
    classify,
};
use cofferdam_host::{Connector, DeliverRequest, Slot};
use cofferdam_queue::{Accept, Leased, Queue, SettleError, Settlement};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::call_limits;
use super::environment::GateEnvironment;
use super::lane::give_back;
use super::pace::{Pace, attempt_of};
use crate::app::App;
use crate::clock::{now, steady};
use crate::credentials;
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
    outcome: Outcome,
    lane: Vec<LaneEffect>,
}

/// What one attempt runs in.
pub(super) struct Runner {
    pub(super) app: App,
    pub(super) connection: Arc<Connection>,
    pub(super) connector: Arc<Connector>,
    pub(super) pace: Pace,
    pub(super) halt: CancellationToken,
}

impl Runner {
    /// Runs one attempt to its settle, in this slot, or until the server halts.
    pub(super) async fn run(self, leased: Leased, slot: Slot) {
        let Self {
            app,
            connection,
            connector,
            pace,
            halt,
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
            let poisoned = retry::poisoned(&connection.spec.policy.retry, &leased.delivery);
            // The call ends by the wall's clock, which is the one that the guest is told of.
            let deadline = now().after(call_limits(&connection.spec.policy).deadline);
            let environment = Arc::new(GateEnvironment::new(&app, &connection, &connector, &leased, deadline));
            let call = async {
                match (poisoned, leased.delivery.kind) {
                    (Some(failure), _) => given_up(&connector, failure),
                    (None, DeliveryKind::Deliver) => {
                        deliver(&connection, &connector, &leased, &environment, deadline, slot).await
                    }
                    (None, DeliveryKind::Receive) => receive_again(&app, &connection, &connector, &leased).await,
                }
            };
            // Dropped, the call takes its instance with it; what it has sent is in the environment's trail.
            let called = tokio::select! {
                // A call that has just ended is not made twice.
                biased;
                called = call => Some(called),
                () = halt.cancelled() => None,
            };
            let attempt = attempt_of(&leased);
            let (called, classified) = match called {
                Some(called) => {
                    let classified = classify(&connection, &pace, attempt, &leased, &called);
                    (called, classified)
                }
                None => {
                    let trail = environment.trail();
                    if trail.is_empty() {
                        give_back(&app, leased).await;
                        pace.give_back(attempt);
                        return;
                    }
                    halted(&connector, trail)
                }
            };
            settle(&app, &connection, leased, called, classified).await;
        }
        .instrument(span)
        .await;
    }
}

/// A delivery that may be what ends the process is not tried once more.
fn given_up(connector: &Connector, failure: Failure) -> Called {
    Called {
        result: CallResult::Refused(failure),
        ..Called::nothing(connector)
    }
}

/// An attempt that was stopped with the server after something had left: due again at once, uncharged, and no word on the
/// destination.
fn halted(connector: &Connector, trail: Vec<Exchange>) -> (Called, Classified) {
    let (failure, outcome) = retry::drained(&trail, steady());
    let called = Called {
        trail,
        ..Called::nothing(connector)
    };
    let classified = Classified {
        verdict: Verdict::Failed(failure),
        outcome,
        lane: Vec::new(),
    };
    (called, classified)
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

async fn deliver(
    connection: &Connection,
    connector: &Connector,
    leased: &Leased,
    environment: &Arc<GateEnvironment>,
    deadline: Timestamp,
    slot: Slot,
) -> Called {
    let limits = call_limits(&connection.spec.policy);
    let request = DeliverRequest {
        event: leased.event.clone(),
        body: leased.body.clone(),
        number: leased.attempt.number,
        idempotency_key: leased.delivery.idempotency_key.clone(),
        deadline,
    };
    let report = connector
        .deliver(request, Arc::clone(environment) as _, limits, slot)
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

fn classify(connection: &Connection, pace: &Pace, attempt: AttemptId, leased: &Leased, called: &Called) -> Classified {
    let verdict = classify::classify(called.result.clone(), &called.trail);
    let counted = leased.delivery_after(&verdict);
    let decision = retry::decide(
        &connection.spec.policy.retry,
        &counted,
        &verdict,
        steady(),
        &mut rand::rng(),
    );
    let lane = pace.settle(attempt, verdict.clone(), decision.lane);
    Classified {
        verdict,
        outcome: decision.outcome,
        lane,
    }
}

async fn settle(app: &App, connection: &Connection, leased: Leased, called: Called, classified: Classified) {
    let Classified { verdict, outcome, lane } = classified;
    let at = steady();
    let (failure, receipt) = match verdict {
        Verdict::Delivered(receipt) => (None, Some(receipt)),
        Verdict::Failed(failure) => (Some(failure), None),
    };
    let told = Told {
        outcome: outcome.clone(),
        class: failure.as_ref().map_or("", |failure| failure.class.as_str()),
        message: failure.as_ref().map(|failure| failure.message.clone()),
        wall: Duration::from_micros(called.usage.wall_us),
        age: at.since(leased.delivery.accepted_at),
    };
    let delivery = leased.delivery.id;
    let reflecting = credentials::reflecting(&called.trail);
    let settlement = Settlement {
        end: AttemptEnd {
            at,
            connector: Some(called.connector),
            outcome,
            failure,
            receipt,
            trail: called.trail,
            logs: called.logs,
            logs_dropped: called.logs_dropped,
            usage: called.usage,
        },
        lane,
        produced: called.produced,
        now: at,
    };
    match app.queue.settle(leased, settlement).await {
        Ok(_) => {
            told.tell(app, connection);
            credentials::tell_reflected(app, connection, reflecting).await;
        }
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
            None => tracing::debug!(took_us = wall.as_micros(), "delivered"),
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
