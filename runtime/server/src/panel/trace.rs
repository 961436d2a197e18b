//! Everything that followed from one thing that happened: what became of it, and how, step by step.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use cofferdam_domain::id::BadCorrelationId;
use cofferdam_domain::{CorrelationId, DeliveryState, Timestamp};

use super::badge::Badge;
use super::connection::note;
use super::flash::FlashQuery;
use super::frame::{Frame, Section, page};
use super::guard::SignedIn;
use super::problem_page::ProblemPage;
use super::units::{self, Moment};
use crate::admin::views::{self, TraceView};
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

/// Steps that follow each other and belong to the same connection.
pub(super) struct StepGroup {
    /// None for what happens before any connection has to do with it.
    pub(super) connection: Option<String>,
    pub(super) steps: Vec<StepRow>,
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
    let frame = Frame::of(&app, &session, Section::Events, now()).titled(format!("Trace {id}")).flash(flash.get());
    page(&TracePage::new(frame, &trace))
}

impl TracePage {
    pub(super) fn new(frame: Frame, trace: &TraceView) -> Self {
        let steps = timeline::steps(trace);
        let began = steps.first().map_or(frame.now, |step| step.at);
        Self {
            correlation_id: trace.correlation_id.to_string(),
            began: Moment::new(began, frame.now),
            deliveries: became(trace, frame.now),
            groups: grouped(steps, began),
            frame,
        }
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

fn grouped(steps: Vec<Step>, began: Timestamp) -> Vec<StepGroup> {
    let mut groups: Vec<StepGroup> = Vec::new();
    for step in steps {
        let row = StepRow {
            clock: units::clock(step.at),
            exact: step.at.to_string(),
            offset: units::offset(step.at.since(began)),
            badge: step.kind.into(),
            within: is_within_attempt(step.kind),
            text: step.text,
            facts: step.facts,
        };
        match groups.last_mut() {
            Some(group) if group.connection == step.connection => group.steps.push(row),
            Some(_) | None => groups.push(StepGroup { connection: step.connection, steps: vec![row] }),
        }
    }
    groups
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
        | StepKind::Discarded
        | StepKind::Interrupted => false,
    }
}
