//! A poll: the connector is asked for news, and what it found is stamped, owed and made durable with the next cursor in the
//! one settle of the attempt. A page that cannot be taken whole is not taken: the same cursor is asked again.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::classify::Failure;
use cofferdam_domain::connection::POLL_EVERY_MIN;
use cofferdam_domain::event::{Origin, POLLED_BY, Stamp};
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, PAGES_PER_RUN_MAX, one_line};
use cofferdam_domain::{
    CallResult, Connection, EventDraft, FailureClass, Fault, FaultKind, NewEvent, Outcome, Receipt, Timestamp,
};
use cofferdam_host::{CallReport, Connector, Page, Polled, Slot};
use cofferdam_queue::{Accept, Leased};

use super::attempt::Called;
use super::call_limits;
use super::environment::GateEnvironment;
use super::keeping::Opened;
use crate::app::App;
use crate::clock::{now, steady};
use crate::ingest::{hooks, page_refused};
use crate::problem::Problem;
use crate::schedule::turn::{Reason, Turn, accept, schedule_of};
use crate::subscriptions;

/// What a page comes to, before it is settled.
struct Taken {
    produced: Vec<Accept>,
    next_cursor: Option<String>,
    again: Option<Accept>,
    summary: String,
}

/// Makes the call, and everything of its page that must be durable together.
pub(super) async fn poll(
    app: &App,
    connection: &Connection,
    connector: &Connector,
    leased: &Leased,
    environment: &Arc<GateEnvironment>,
    opened: &Opened,
    slot: Slot,
) -> Called {
    let limits = call_limits(app, &connection.spec.policy);
    let CallReport {
        result,
        logs,
        logs_dropped,
        usage,
    } = connector
        .poll(opened.cursor.clone(), Arc::clone(environment) as _, limits, slot)
        .await;
    let mut called = Called {
        trail: environment.trail(),
        logs,
        logs_dropped,
        usage,
        ..Called::nothing(connector)
    };
    let page = match result.unwrap_or_else(Polled::Faulted) {
        Polled::Page(page) => page,
        Polled::Failed(said) => {
            called.result = CallResult::Failed(said);
            return called;
        }
        Polled::Faulted(fault) => {
            called.result = CallResult::Faulted(fault);
            return called;
        }
    };
    match take(app, connection, leased, page).await {
        Ok(taken) => {
            called.result = CallResult::Done(Receipt {
                summary: Some(taken.summary),
                ..Receipt::default()
            });
            called.produced = taken.produced;
            called.kept = environment.with_state(|view| opened.change(view, Some(taken.next_cursor)));
            called.kept.again = taken.again;
        }
        Err(refused) => {
            called.result = refused.result;
            called.own_mark = refused.own_mark;
        }
    }
    called
}

/// Why a page is not taken.
struct Refused {
    result: CallResult,
    /// A mark of ours is met: no word on the upstream.
    own_mark: bool,
}

async fn take(app: &App, connection: &Connection, leased: &Leased, page: Page) -> Result<Taken, Refused> {
    let ours = |failure| Refused {
        result: CallResult::Refused(failure),
        own_mark: true,
    };
    let Page {
        drafts,
        next_cursor,
        more,
    } = page;
    let events = drafts.len();
    let stamped = stamp_all(app, connection, leased, drafts).map_err(|fault| Refused {
        result: CallResult::Faulted(fault),
        own_mark: false,
    })?;
    let produced = subscriptions::fan_out(app, stamped, hooks::window(connection))
        .await
        .map_err(|problem| ours(not_taken(problem, FailureClass::Dependency)))?;
    page_refused(app, &produced, more).map_err(|problem| ours(not_taken(problem, FailureClass::RateLimited)))?;
    let turn: Option<Turn> = serde_json::from_slice(&leased.body).ok();
    let page = turn.as_ref().map_or(1, |turn| turn.page);
    let goes_on = more && page < PAGES_PER_RUN_MAX;
    let again = goes_on.then(|| {
        let next = Turn {
            reason: Reason::More,
            scheduled_at: turn.and_then(|turn| turn.scheduled_at),
            missed: false,
            page: page + 1,
        };
        let mut again = accept(connection, &next);
        if events == 0 {
            // A connector that says "more" and nothing else for ever is as quick as the quickest schedule, and no quicker.
            again
                .fan_out
                .iter_mut()
                .for_each(|owed| owed.first_wait = POLL_EVERY_MIN);
        }
        // The pages of one run are one thing that happened.
        again.new.event.correlation_id = leased.event.correlation_id.clone();
        again.new.event.trace = leased.attempt.trace.child(&mut rand::rng());
        again
    });
    let summary = match (events, more, goes_on) {
        (0, false, _) => "nothing new".to_owned(),
        (1, false, _) => "1 event made".to_owned(),
        (_, false, _) => format!("{events} events made"),
        (_, true, true) => format!("{events} events made; there is more, asked for at once"),
        (_, true, false) => {
            format!(
                "{events} events made; there is more after {PAGES_PER_RUN_MAX} pages, asked for at the next time of the schedule"
            )
        }
    };
    Ok(Taken {
        produced,
        next_cursor,
        again,
        summary,
    })
}

/// Stamps the drafts of one page. One bad draft spoils the page: half of it would be a lie. Each is a thing of its own that
/// happened, so each begins a trace of its own; the poll is named in each.
fn stamp_all(
    app: &App,
    connection: &Connection,
    leased: &Leased,
    drafts: Vec<EventDraft>,
) -> Result<Vec<NewEvent>, Fault> {
    let received_at = now();
    let poll = leased.event.correlation_id.as_str();
    let stamped = drafts.into_iter().enumerate().map(|(at, draft)| {
        let stamp = Stamp {
            workspace: connection.workspace.clone(),
            origin: Origin::Connection(connection.spec.name.clone()),
            correlation_id: None,
            trace: Some(leased.attempt.trace),
            received_at,
            body_bytes_max: app.limits.body_bytes,
        };
        let mut new = draft.stamp(stamp, &mut rand::rng()).map_err(|fault| Fault {
            kind: FaultKind::BadReturn,
            message: one_line(
                &format!("event draft {} of the page is malformed: {fault}", at + 1),
                MESSAGE_BYTES_MAX,
            ),
        })?;
        // After the check, and over whatever the connector wrote there: it is the host's word.
        new.event.extensions.insert(POLLED_BY.to_owned(), poll.to_owned());
        Ok(new)
    });
    stamped.collect()
}

fn not_taken(problem: Problem, class: FailureClass) -> Failure {
    let message = format!(
        "the page was not taken, and is asked for again with the same cursor: {}",
        problem.detail
    );
    Failure {
        class,
        code: Some(problem.code),
        message: one_line(&message, MESSAGE_BYTES_MAX),
        ambiguous: false,
        retry_after_ms: problem
            .retry_after_s
            .map(|seconds| u64::try_from(Duration::from_secs(seconds).as_millis()).unwrap_or(u64::MAX)),
    }
}

/// A failed poll is not put off for longer than until the schedule would have asked again, unless the upstream has named a
/// time.
pub(super) fn no_later_than_its_schedule(
    connection: &Connection,
    connector: &Connector,
    failure: &Failure,
    outcome: Outcome,
) -> Outcome {
    let Outcome::Retry { due_at, charged } = outcome else {
        return outcome;
    };
    if failure.class == FailureClass::RateLimited || failure.retry_after_ms.is_some() {
        return Outcome::Retry { due_at, charged };
    }
    let next: Option<Timestamp> =
        schedule_of(connection, connector).and_then(|schedule| schedule.soonest_after(steady()).ok());
    Outcome::Retry {
        due_at: next.map_or(due_at, |next| due_at.min(next)),
        charged,
    }
}
