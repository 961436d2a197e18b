//! One attempt, stage by stage: leased → called → classified → settled.
//!
//! The attempt is durable before the call begins. A crash before the settle leaves an attempt without an end; the delivery
//! is tried again under the same idempotency key. An attempt that the server stops in the middle gives its delivery back.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::{ConnectorRef, Exchange};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::delivery::DeliveryKind;
use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::retry;
use cofferdam_domain::{
    CallResult, Connection, FailureClass, LaneEffect, LogLine, Outcome, Receipt, Timestamp, Usage, Verdict, classify,
};
use cofferdam_host::{Connector, DeliverRequest, Slot};
use cofferdam_queue::{Accept, KeptChange, Leased};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::call_limits;
use super::environment::GateEnvironment;
use super::keeping::{self, Opened};
use super::lane::give_back;
use super::pace::{Pace, attempt_of};
use super::poll::{no_later_than_its_schedule, poll};
use super::settling::settle;
use crate::app::App;
use crate::clock::{now, steady};
use crate::ingest::hooks::{Arrival, NotOwed, owe_all};
use crate::ingest::raw_request;
use crate::ingest::reading::{self, Place, Reading};
use crate::plugins::{self, Ended};

/// How long a call that was given up may take to end. A turn to compute is over at the next look at it, a few milliseconds later.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How the call ended, with everything it left.
pub(super) struct Called {
    pub(super) result: CallResult,
    pub(super) trail: Vec<Exchange>,
    pub(super) logs: Vec<LogLine>,
    pub(super) logs_dropped: u32,
    pub(super) usage: Usage,
    pub(super) connector: ConnectorRef,
    pub(super) produced: Vec<Accept>,
    pub(super) kept: KeptChange,
    /// It failed by a bound or a failure of the host's own: the lane need not back off for it.
    pub(super) own_mark: bool,
}

/// What it means and what follows.
pub(super) struct Classified {
    pub(super) verdict: Verdict,
    pub(super) outcome: Outcome,
    pub(super) lane: Vec<LaneEffect>,
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
            let deadline = now().after(call_limits(&app, &connection.spec.policy).deadline);
            let (mut opened, given_up_by) =
                match (poisoned, keeping::open(&app, &connection, leased.delivery.kind).await) {
                    (Some(failure), _) | (None, Err(failure)) => (Opened::default(), Some(failure)),
                    (None, Ok(opened)) => (opened, None),
                };
            let environment = Arc::new(
                GateEnvironment::new(&app, &connection, &connector, &leased, deadline).with_view(opened.view.take()),
            );
            let call = async {
                match (given_up_by, leased.delivery.kind) {
                    (Some(failure), _) => given_up(&connector, failure),
                    (None, DeliveryKind::Deliver) => {
                        let called =
                            deliver(&app, &connection, &connector, &leased, &environment, deadline, slot).await;
                        Called {
                            kept: environment.with_state(|view| opened.change(view, None)),
                            ..called
                        }
                    }
                    (None, DeliveryKind::Receive) => receive_again(&app, &connection, &connector, &leased, slot).await,
                    (None, DeliveryKind::Poll) => {
                        // Boxed, as the settle is: what it holds of a page would make every attempt's future as large.
                        Box::pin(poll(
                            &app,
                            &connection,
                            &connector,
                            &leased,
                            &environment,
                            &opened,
                            slot,
                        ))
                        .await
                    }
                }
            };
            // Dropped, the call takes its instance with it, at once or with its present turn to compute; what it has sent is in
            // the environment's trail.
            let called = tokio::select! {
                // A call that has just ended is not made twice.
                biased;
                called = call => Some(called),
                () = halt.cancelled() => None,
            };
            let attempt = attempt_of(&leased);
            let (called, classified) = match called {
                Some(called) => {
                    let spared = plugins::spares(&app, &connection, connector.digest);
                    let classified = classify(&connection, &connector, &pace, attempt, &leased, &called, spared);
                    (called, classified)
                }
                None => {
                    if !has_ended(&environment).await {
                        // As if the process had died in it: whoever leases it next knows that something may have left.
                        tracing::warn!(
                            "a call did not end with the server; its delivery is tried again once its lease is over"
                        );
                        return;
                    }
                    let trail = environment.trail();
                    if trail.is_empty() {
                        give_back(&app, leased).await;
                        pace.give_back(attempt);
                        return;
                    }
                    halted(&connector, trail)
                }
            };
            Box::pin(settle(&app, &connection, &connector, leased, called, classified)).await;
        }
        .instrument(span)
        .await;
    }
}

/// Waits until nothing of a call that was given up goes on: whatever can still send holds its environment.
async fn has_ended(environment: &Arc<GateEnvironment>) -> bool {
    let ended = async {
        while Arc::strong_count(environment) > 1 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ENDS_WITHIN, ended).await.is_ok()
}

/// A delivery that may be what ends the process is not tried once more, nor is one whose connection's state cannot be read.
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
    pub(super) fn nothing(connector: &Connector) -> Self {
        Self {
            result: CallResult::Done(Receipt::default()),
            trail: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage::default(),
            connector: connector.reference(),
            produced: Vec::new(),
            kept: KeptChange::default(),
            own_mark: false,
        }
    }
}

async fn deliver(
    app: &App,
    connection: &Connection,
    connector: &Connector,
    leased: &Leased,
    environment: &Arc<GateEnvironment>,
    deadline: Timestamp,
    slot: Slot,
) -> Called {
    let limits = call_limits(app, &connection.spec.policy);
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
        ..Called::nothing(connector)
    }
}

/// A raw request that the source connector could not read at first: its events are accepted with the settle, in one batch.
async fn receive_again(
    app: &App,
    connection: &Connection,
    connector: &Connector,
    leased: &Leased,
    slot: Slot,
) -> Called {
    let mut called = Called::nothing(connector);
    let Some(request) = raw_request::read(&leased.body) else {
        called.result = CallResult::Refused(Failure {
            class: FailureClass::DataQuality,
            code: Some("record-damaged".to_owned()),
            message: "the kept request cannot be read back".to_owned(),
            ambiguous: false,
            retry_after_ms: None,
        });
        return called;
    };
    let arrival = Arrival {
        connection,
        correlation_id: leased.event.correlation_id.clone(),
        received_at: leased.event.received_at,
        provider_id: raw_request::provider_id(&leased.event),
    };
    let place = Place::in_lane(app, connection, slot);
    let Reading { result, left, .. } = reading::read(connection, connector, request, place).await;
    (called.logs, called.logs_dropped, called.usage) = (left.logs, left.logs_dropped, left.usage);
    let read = match result {
        Ok(received) => owe_all(app, &arrival, received.drafts).await,
        Err(failure) => Err(NotOwed {
            failure,
            is_ours: false,
        }),
    };
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
        Err(NotOwed { failure, is_ours }) => {
            called.result = CallResult::Refused(failure);
            called.own_mark = is_ours;
        }
    }
    called
}

fn classify(
    connection: &Connection,
    connector: &Connector,
    pace: &Pace,
    attempt: AttemptId,
    leased: &Leased,
    called: &Called,
    spared: bool,
) -> Classified {
    let verdict = match leased.delivery.kind {
        DeliveryKind::Deliver | DeliveryKind::Receive => classify::classify(called.result.clone(), &called.trail),
        DeliveryKind::Poll => classify::classify_poll(called.result.clone(), &called.trail),
    };
    let (outcome, effect) = decide(connection, connector, leased, &verdict);
    let outcome = match &verdict {
        // The version is on probation, and not the delivery.
        Verdict::Failed(failure) if spared && Ended::is_fault(failure) => retry::spared(
            &connection.spec.policy.retry,
            &leased.delivery,
            steady(),
            &mut rand::rng(),
        ),
        Verdict::Failed(_) | Verdict::Delivered(_) => outcome,
    };
    let effect = if called.own_mark { LaneEffect::None } else { effect };
    let lane = pace.settle(attempt, verdict.clone(), effect);
    Classified { verdict, outcome, lane }
}

/// What follows from a verdict.
pub(super) fn decide(
    connection: &Connection,
    connector: &Connector,
    leased: &Leased,
    verdict: &Verdict,
) -> (Outcome, LaneEffect) {
    let counted = leased.delivery_after(verdict);
    let policy = &connection.spec.policy.retry;
    let decision = retry::decide(policy, &counted, verdict, steady(), &mut rand::rng());
    let outcome = match (leased.delivery.kind, verdict) {
        (DeliveryKind::Poll, Verdict::Failed(failure)) => {
            no_later_than_its_schedule(connection, connector, failure, decision.outcome)
        }
        (DeliveryKind::Poll, Verdict::Delivered(_)) | (DeliveryKind::Deliver | DeliveryKind::Receive, _) => {
            decision.outcome
        }
    };
    (outcome, decision.lane)
}
