//! Everything that followed from one thing that happened: what became of it, and how, step by step.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use cofferdam_domain::id::BadCorrelationId;
use cofferdam_domain::{Attempt, ConnectionName, CorrelationId, DeliveryState, Timestamp};

use super::badge::Badge;
use super::delivery::note;
use super::flash::FlashQuery;
use super::frame::{Frame, Section, page};
use super::guard::SignedIn;
use super::problem_page::ProblemPage;
use super::units::{self, Moment};
use crate::admin::views::{self, DeliveryTrace, EventTrace, TraceView};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;
use crate::timeline::{self, Step, StepKind};

#[derive(Template)]
#[template(path = "panel/trace.html")]
pub(super) struct TracePage {
    pub(super) frame: Frame,
    pub(super) correlation_id: String,
    pub(super) began: Moment,
    pub(super) deliveries: Vec<Became>,
    pub(super) groups: Vec<StepGroup>,
}

/// A delivery and where it stands.
pub(super) struct Became {
    pub(super) delivery_id: String,
    pub(super) kind: String,
    pub(super) connection: String,
    pub(super) badge: Badge,
    pub(super) runs: u32,
    pub(super) note: String,
    /// Whether it can be replayed or discarded.
    pub(super) dead: bool,
}

/// Steps that belong together.
pub(super) struct StepGroup {
    /// Of the first step.
    pub(super) at: Timestamp,
    /// None for what happens before any connection has to do with it.
    pub(super) connection: Option<String>,
    pub(super) steps: Vec<StepRow>,
}

/// What a step is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The event was taken, and owed to connections.
    Intake,
    /// An attempt, or a death without one.
    Attempt,
    /// What a person did about it.
    Afterwards,
}

/// A step.
pub(super) struct StepRow {
    pub(super) clock: String,
    pub(super) exact: String,
    pub(super) offset: String,
    pub(super) badge: Badge,
    /// Whether it happened within an attempt.
    pub(super) within: bool,
    pub(super) text: String,
    pub(super) facts: Vec<(String, String)>,
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let id: CorrelationId = id
        .parse()
        .map_err(|error: BadCorrelationId| Problem::new(StatusCode::BAD_REQUEST, "bad-id", error.to_string()))?;
    let trace = views::trace(&app, &session.principal.workspace, &id).await;
    let trace = trace.map_err(|error| Problem::internal("reading the trace", &error))?;
    let trace = trace.ok_or_else(|| Problem::not_found(format_args!("event with the correlation id {id}")))?;
    let frame = Frame::of(&app, &session, Section::Events, now())
        .titled(format!("Trace {id}"))
        .flash(flash.get());
    page(&TracePage::new(frame, &trace))
}

impl TracePage {
    pub(super) fn new(frame: Frame, trace: &TraceView) -> Self {
        let began = trace.events.iter().map(|event| event.event.received_at).min();
        let began = began.unwrap_or(frame.now);
        Self {
            correlation_id: trace.correlation_id.to_string(),
            began: Moment::new(began, frame.now),
            deliveries: became(trace, frame.now),
            groups: grouped(trace, began),
            frame,
        }
    }

    /// What the forms of this page carry, so that they lead back here.
    fn kept(&self) -> String {
        format!("?trace={}", self.correlation_id)
    }
}

fn became(trace: &TraceView, now: Timestamp) -> Vec<Became> {
    let mut rows = Vec::new();
    for event in &trace.events {
        for delivery in event.deliveries.iter().map(|trace| &trace.delivery) {
            rows.push(Became {
                delivery_id: delivery.id.to_string(),
                kind: event.event.kind.clone(),
                connection: delivery.connection.to_string(),
                badge: (&delivery.state).into(),
                runs: delivery.runs,
                note: note(delivery, now),
                dead: matches!(delivery.state, DeliveryState::Dead { .. }),
            });
        }
    }
    rows
}

/// Each attempt is a group of its own, in the order in which they began: attempts through several connections run at once,
/// and line by line in the order of time nobody could follow any of them.
fn grouped(trace: &TraceView, began: Timestamp) -> Vec<StepGroup> {
    let mut groups = Vec::new();
    for event in &trace.events {
        let of_event = |deliveries| TraceView {
            correlation_id: trace.correlation_id.clone(),
            events: vec![EventTrace {
                event: event.event.clone(),
                deliveries,
            }],
            refusals: trace.refusals.clone(),
        };
        let owed = event.deliveries.iter().map(|it| of_attempt(it, None)).collect();
        groups.extend(StepGroup::new(None, Part::Intake, &of_event(owed), began));
        for delivery in &event.deliveries {
            let connection = Some(&delivery.delivery.connection);
            let mut add = |attempt: Option<&Attempt>, part| {
                let trace = of_event(vec![of_attempt(delivery, attempt)]);
                groups.extend(StepGroup::new(connection, part, &trace, began));
            };
            if delivery.attempts.is_empty() {
                add(None, Part::Attempt);
            }
            for attempt in &delivery.attempts {
                add(Some(attempt), Part::Attempt);
            }
            groups.extend(StepGroup::each(
                connection,
                Part::Afterwards,
                &of_event(vec![of_attempt(delivery, None)]),
                began,
            ));
        }
    }
    groups.sort_by_key(|group| group.at);
    groups
}

/// The delivery as if it had this attempt only.
fn of_attempt(delivery: &DeliveryTrace, attempt: Option<&Attempt>) -> DeliveryTrace {
    DeliveryTrace {
        delivery: delivery.delivery.clone(),
        attempts: attempt.into_iter().cloned().collect(),
    }
}

impl StepGroup {
    /// The steps of this part; none if there are none.
    fn new(connection: Option<&ConnectionName>, part: Part, trace: &TraceView, began: Timestamp) -> Option<Self> {
        let steps = timeline::steps(trace)
            .into_iter()
            .filter(|step| Part::of(step.kind) == part);
        let mut steps = steps.peekable();
        let at = steps.peek()?.at;
        Some(Self {
            at,
            connection: connection.map(ToString::to_string),
            steps: steps.map(|step| StepRow::new(step, began)).collect(),
        })
    }
}

impl StepGroup {
    /// Each step of this part as a group of its own: what people did lies between attempts, at its own time.
    fn each(connection: Option<&ConnectionName>, part: Part, trace: &TraceView, began: Timestamp) -> Vec<Self> {
        let steps = timeline::steps(trace)
            .into_iter()
            .filter(|step| Part::of(step.kind) == part);
        let group = |step: Step| Self {
            at: step.at,
            connection: connection.map(ToString::to_string),
            steps: vec![StepRow::new(step, began)],
        };
        steps.map(group).collect()
    }
}

impl StepRow {
    fn new(step: Step, began: Timestamp) -> Self {
        Self {
            clock: units::clock(step.at),
            exact: step.at.to_string(),
            offset: units::offset(step.at.since(began)),
            badge: step.kind.into(),
            within: is_within_attempt(step.kind),
            text: step.text,
            facts: step.facts,
        }
    }
}

impl Part {
    const fn of(kind: StepKind) -> Self {
        match kind {
            StepKind::Accepted | StepKind::Owed => Self::Intake,
            StepKind::Attempt
            | StepKind::Request
            | StepKind::Note
            | StepKind::Delivered
            | StepKind::Retry
            | StepKind::Parked
            | StepKind::Dead
            | StepKind::Interrupted => Self::Attempt,
            StepKind::Replayed | StepKind::Discarded => Self::Afterwards,
        }
    }
}

const fn is_within_attempt(kind: StepKind) -> bool {
    match kind {
        StepKind::Request | StepKind::Note => true,
        StepKind::Accepted
        | StepKind::Owed
        | StepKind::Attempt
        | StepKind::Delivered
        | StepKind::Retry
        | StepKind::Parked
        | StepKind::Dead
        | StepKind::Replayed
        | StepKind::Discarded
        | StepKind::Interrupted => false,
    }
}
