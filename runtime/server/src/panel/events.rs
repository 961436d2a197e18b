//! The latest events, and the way from a correlation id to its trace.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use cofferdam_domain::id::BadCorrelationId;
use cofferdam_domain::{CorrelationId, Event, EventId, Origin, Timestamp};
use serde::Deserialize;

use super::frame::{Frame, Section, page};
use super::guard::SignedIn;
use super::problem_page::ProblemPage;
use super::units::{self, Moment};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

/// Events on one page.
const EVENTS_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "panel/events.html")]
pub(super) struct EventsPage {
    pub(super) frame: Frame,
    pub(super) rows: Vec<EventRow>,
    /// What was searched for, if it is no correlation id, and why not.
    pub(super) search: Option<(String, String)>,
    /// Where older events go on.
    pub(super) older: Option<String>,
    /// Whether these are not the latest.
    pub(super) is_older: bool,
}

/// An event.
pub(super) struct EventRow {
    pub(super) received: Moment,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) subject: Option<String>,
    pub(super) origin: Brought,
    pub(super) size: String,
    pub(super) correlation_id: String,
}

/// Who brought it.
pub(super) enum Brought {
    Token(String),
    Connection(String),
}

#[derive(Deserialize)]
pub(super) struct Asked {
    correlation_id: Option<String>,
    before: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, ProblemPage> {
    let mut search = None;
    if let Some(text) = asked
        .correlation_id
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        match text.parse::<CorrelationId>() {
            Ok(id) => return Ok(Redirect::to(&format!("/panel/traces/{id}")).into_response()),
            Err(error @ BadCorrelationId) => search = Some((text.to_owned(), error.to_string())),
        }
    }
    let before: Option<EventId> = asked.before.as_deref().and_then(|id| id.parse().ok());
    let events = app
        .queue
        .recent_events(&session.principal.workspace, EVENTS_SHOWN + 1, before);
    let events = events.map_err(|error| Problem::internal("listing events", &error))?;
    let mut shown = EventsPage::new(Frame::of(&app, &session, Section::Events, now()), &events);
    shown.search = search;
    shown.is_older = before.is_some();
    page(&shown)
}

impl EventsPage {
    /// Of one event more than is shown, so that it is known whether there are older ones.
    pub(super) fn new(frame: Frame, events: &[Event]) -> Self {
        let shown = events.get(..EVENTS_SHOWN).unwrap_or(events);
        let more = events.len() > shown.len();
        Self {
            rows: shown.iter().map(|event| EventRow::new(event, frame.now)).collect(),
            search: None,
            older: shown.last().filter(|_| more).map(|event| event.id.to_string()),
            is_older: false,
            frame,
        }
    }
}

impl EventRow {
    fn new(event: &Event, now: Timestamp) -> Self {
        Self {
            received: Moment::new(event.received_at, now),
            kind: event.kind.clone(),
            source: event.source.clone(),
            subject: event.subject.clone(),
            origin: match &event.origin {
                Origin::Api(token) => Brought::Token(token.clone()),
                Origin::Connection(name) => Brought::Connection(name.to_string()),
            },
            size: units::bytes(event.body_bytes),
            correlation_id: event.correlation_id.to_string(),
        }
    }
}
