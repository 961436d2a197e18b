//! The source connector's reading of a verified request: its place in the host, the call, and what the call left.
//!
//! A place is taken before the call. A first reading waits for one at its connection's entrance, for a part of its time; a
//! request that gets none is answered 503 and sent again by its provider. Nothing of that is the connector's doing, so nothing
//! of it is counted against a version. A replay comes with the slot of its lane and waits for nothing.

use std::time::Duration;

use axum::http::StatusCode;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{Connection, CorrelationId, FailureClass, Fault, FaultKind, LogLine, Usage};
use cofferdam_host::{CallLimits, Connector, InboundRequest, Received, Rejected, Reuse, Slot};
use tokio::time::Instant;

use super::accept;
use super::marks::Door;
use crate::app::App;
use crate::dispatch::{call_limits, source_environment, version};
use crate::problem::Problem;

/// Longest time of one `receive`, whatever `policy.deadline_ms` says: providers give up soon after (GitHub after 10 s,
/// <https://docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks>).
const RECEIVE_DEADLINE_MAX: Duration = Duration::from_secs(10);

/// A request waits for its place for this part of its time at most, so that one that gets in has as much left at least.
const WAIT_PART: u32 = 2;

/// The code of the answer to a request that got no place, and the reason in metrics.
const BUSY: &str = "hook-busy";

/// What its provider is told to wait: others of the same connection are done by then, or have run out of time.
const BUSY_WAIT_S: u64 = 10;

/// The right to one call of `receive`, and what the call may use.
pub(crate) struct Place {
    slot: Slot,
    limits: CallLimits,
    /// How much of the deadline was spent on waiting for the slot.
    waited: Duration,
}

impl Place {
    /// For a request at the door, which waits for it. 503 when there is none in time.
    pub(super) async fn at_the_door(app: &App, connection: &Connection) -> Result<Self, Problem> {
        let limits = limits(app, connection);
        let entrance = app
            .entrances
            .of(connection, &app.engine, &app.connections)
            .reusing(Reuse {
                version: version(connection),
                calls_max: connection.spec.policy.reuse_calls,
            });
        let began = Instant::now();
        let Some(slot) = entrance.slot(limits.deadline / WAIT_PART).await else {
            accept::count(app, Door::Hook, BUSY);
            let detail = "too many requests to this hook are being read; nothing was accepted, so send it again";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, detail).retry_after(BUSY_WAIT_S));
        };
        let waited = began.elapsed();
        Ok(Self {
            slot,
            limits: less(limits, waited),
            waited,
        })
    }

    /// For a replay, by the slot that its lane has taken.
    pub(crate) fn in_lane(app: &App, connection: &Connection, slot: Slot) -> Self {
        Self {
            slot,
            limits: limits(app, connection),
            waited: Duration::ZERO,
        }
    }
}

/// The sender waits for the answer, so a request gets less time than a delivery may have. A replay gets no more: what is read
/// then could have been read at first.
fn limits(app: &App, connection: &Connection) -> CallLimits {
    let limits = call_limits(app, &connection.spec.policy);
    CallLimits {
        deadline: limits.deadline.min(RECEIVE_DEADLINE_MAX),
        ..limits
    }
}

/// What is left of them for a call that has waited.
fn less(limits: CallLimits, waited: Duration) -> CallLimits {
    CallLimits {
        deadline: limits.deadline.saturating_sub(waited),
        ..limits
    }
}

/// What a request means to its connector, and what the call left.
pub(crate) struct Reading {
    pub(crate) result: Result<Received, Failure>,
    pub(crate) left: Left,
    /// Its time ran out after some of it had been spent on waiting: whether the version is too slow is not known.
    pub(crate) cut_short: bool,
}

/// What the call left, apart from what the request means.
pub(crate) struct Left {
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_dropped: u32,
    pub(crate) usage: Usage,
}

/// Has the connector read the request.
pub(crate) async fn read(
    connection: &Connection,
    connector: &Connector,
    request: InboundRequest,
    place: Place,
) -> Reading {
    let Place { slot, limits, waited } = place;
    let report = connector
        .receive(request, source_environment(connection), limits, slot)
        .await;
    let cut_short = report.result.as_ref().is_err_and(|fault| is_cut_short(fault, waited));
    let result = match report.result {
        Ok(Ok(received)) => Ok(received),
        Ok(Err(Rejected { code, message })) => Err(Failure {
            class: FailureClass::Schema,
            code,
            message,
            ambiguous: false,
            retry_after_ms: None,
        }),
        Err(fault) => Err(failure_of(&fault)),
    };
    Reading {
        result,
        left: Left {
            logs: report.logs,
            logs_dropped: report.logs_dropped,
            usage: report.usage,
        },
        cut_short,
    }
}

/// A slot that was free at once is had in far less than a millisecond.
fn is_cut_short(fault: &Fault, waited: Duration) -> bool {
    fault.kind == FaultKind::Deadline && waited >= Duration::from_millis(1)
}

/// What a fault is in records.
pub(super) fn failure_of(fault: &Fault) -> Failure {
    Failure {
        class: FailureClass::ConnectorFault,
        code: Some(fault.kind.code().to_owned()),
        message: one_line(&fault.message, MESSAGE_BYTES_MAX),
        ambiguous: false,
        retry_after_ms: None,
    }
}

/// A first reading has no attempt whose record could hold what the connector noted. The server's log tells how much it was, under the
/// correlation id that the trace has, and not what: a connector may note the body. Of a request that is kept, the record of its next
/// reading has the lines.
pub(super) fn tell(connection: &Connection, correlation_id: &CorrelationId, left: &Left, was_read: bool) {
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let lines = left.logs.len();
    if lines > 0 && !was_read {
        tracing::info!(%workspace, connection = %name, %correlation_id, lines, dropped = left.logs_dropped, "the connector noted something of a request that it could not read; its next reading has it on record");
    }
    let Usage { wall_us, memory_bytes } = left.usage;
    tracing::debug!(%workspace, connection = %name, %correlation_id, was_read, lines, took_us = wall_us, memory_bytes, "a request was handed to its connector");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::marks::Mark;

    const PAGE: &str = include_str!("../../../../docs/refusals.md");

    #[test]
    fn the_time_that_a_request_has_waited_is_taken_off_its_call() {
        let limits = CallLimits {
            deadline: Duration::from_secs(10),
            ..CallLimits::default()
        };
        for (waited_ms, left_ms) in [(0, 10_000), (1, 9_999), (5_000, 5_000), (10_000, 0), (10_001, 0)] {
            let left = less(limits, Duration::from_millis(waited_ms));
            assert_eq!(left.deadline, Duration::from_millis(left_ms), "{waited_ms}");
            assert_eq!(left.cpu, limits.cpu);
        }
    }

    #[test]
    fn a_deadline_that_waiting_has_brought_nearer_says_nothing_about_the_version() {
        let check = |kind, waited_ms, expected| {
            let fault = Fault {
                kind,
                message: String::new(),
            };
            let found = is_cut_short(&fault, Duration::from_millis(waited_ms));
            assert_eq!(found, expected, "{kind:?} after {waited_ms} ms");
        };
        check(FaultKind::Deadline, 0, false);
        check(FaultKind::Deadline, 1, true);
        check(FaultKind::Cpu, 1_000, false);
        check(FaultKind::Trap, 1_000, false);
    }

    #[test]
    fn what_senders_may_be_answered_is_documented() {
        let marks = [
            Mark::LaneFullCount,
            Mark::LaneFullBytes,
            Mark::LaneTooOld,
            Mark::ServerFullCount,
            Mark::ServerFullBytes,
            Mark::DiskAlmostFull,
        ];
        let codes = marks.map(Mark::as_str);
        for code in codes
            .into_iter()
            .chain([BUSY, "disabled", "store-unavailable", "batch-too-large"])
        {
            assert!(
                PAGE.contains(&format!("| `{code}` |")),
                "docs/refusals.md has no row for {code}"
            );
        }
    }
}
