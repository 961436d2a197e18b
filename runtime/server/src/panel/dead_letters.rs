//! Dead letters: found by connection, class, type and time, replayed or given up by an admin. All that match at once:
//! `redrives.rs`.

use std::collections::BTreeSet;
use std::str::FromStr;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use cofferdam_domain::{
    ConnectionName, CorrelationId, DeliveryId, DeliveryState, FailureClass, Timestamp, WorkspaceName,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::flash::{Flash, FlashQuery};
use super::frame::{Frame, Section, page};
use super::guard::{Change, SignedIn};
use super::problem_page::ProblemPage;
use super::units::Moment;
use crate::admin::actions;
use crate::admin::letter_filter::{self, LetterFilter, When};
use crate::admin::views::{self, DeadLetterPage, DeadLetterView, ROWS_MAX};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

pub(super) const PATH: &str = "/panel/dead-letters";

#[derive(Template)]
#[template(path = "panel/dead_letters.html")]
pub(super) struct DeadLettersPage {
    pub(super) frame: Frame,
    pub(super) rows: Vec<DeadLetterRow>,
    pub(super) connections: Vec<Choice>,
    pub(super) classes: Vec<Choice>,
    pub(super) event_type: String,
    pub(super) since: String,
    pub(super) until: String,
    /// The address of the next page.
    pub(super) next: Option<String>,
    /// What the forms of the rows carry, so that the filter stays: empty, or `?connection=…&class=…`.
    pub(super) kept: String,
}

/// An option of a filter.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) chosen: bool,
}

/// A dead letter.
pub(super) struct DeadLetterRow {
    pub(super) id: String,
    pub(super) died: Moment,
    pub(super) connection: String,
    pub(super) kind: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) correlation_id: String,
    pub(super) class: &'static str,
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) ambiguous: bool,
    pub(super) runs: u32,
    pub(super) replays: u32,
}

/// What the address asks for. An empty value is what an unset field of a form sends.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    connection: Option<String>,
    class: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
    /// The trace that a form was sent from.
    trace: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let workspace = &session.principal.workspace;
    let filter = asked.filter()?;
    let after = asked.cursor.as_deref().and_then(letter_filter::cursor);
    let letters = views::dead_letters(&app, workspace, &filter.clone().into(), ROWS_MAX, after);
    let letters = letters.map_err(|error| Problem::internal("listing dead letters", &error))?;
    let frame = Frame::of(&app, &session, Section::DeadLetters, now()).flash(flash.get());
    page(&DeadLettersPage::new(frame, &letters, &filter, names(&app, workspace)))
}

/// Connections that there are, and those that are gone and have left dead letters.
fn names(app: &App, workspace: &WorkspaceName) -> Vec<ConnectionName> {
    let present = app.connections.of(workspace).into_iter();
    let present = present.map(|connection| connection.spec.name.clone());
    let lanes = app.queue.depths(workspace).into_iter();
    let gone = lanes.filter(|(_, depth)| depth.dead > 0).map(|(name, _)| name);
    let names: BTreeSet<_> = present.chain(gone).collect();
    names.into_iter().collect()
}

pub(super) async fn replay(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    let (id, by) = (parse_id(&id)?, &session.principal);
    let replayed = actions::replay(&app, by, id).await;
    done(&asked, changed(replayed, Flash::Replayed)?)
}

pub(super) async fn discard(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    let (id, by) = (parse_id(&id)?, &session.principal);
    let discarded = actions::discard(&app, by, id).await;
    done(&asked, changed(discarded, Flash::Discarded)?)
}

fn parse_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse().map_err(|_| Problem::not_found("such dead letter"))
}

/// That somebody else was faster is no error.
fn changed(result: Result<(), Problem>, flash: Flash) -> Result<Flash, Problem> {
    match result {
        Ok(()) => Ok(flash),
        Err(problem) if problem.code == actions::NOT_DEAD => Ok(Flash::NotDead),
        Err(problem) => Err(problem),
    }
}

/// Back to the list under the same filter, or to the trace.
fn done(asked: &Asked, flash: Flash) -> Result<Redirect, ProblemPage> {
    let code = flash.code();
    if let Some(id) = asked.trace.as_deref().and_then(|id| id.parse::<CorrelationId>().ok()) {
        return Ok(Redirect::to(&format!("/panel/traces/{id}?flash={code}")));
    }
    let query = query(&asked.filter()?);
    let separator = if query.is_empty() { "?" } else { "&" };
    Ok(Redirect::to(&format!("{PATH}{query}{separator}flash={code}")))
}

/// The filter as a query: empty, or `?connection=…&class=…`.
pub(super) fn query(filter: &LetterFilter) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let parts = [
        ("connection", filter.connection.as_ref().map(ToString::to_string)),
        ("class", filter.class.map(|class| class.to_string())),
        ("type", filter.event_type.as_ref().map(|it| encoded(&it.to_string()))),
        ("since", filter.since.map(|when| encoded(&when.to_string()))),
        ("until", filter.until.map(|when| encoded(&when.to_string()))),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

impl Asked {
    pub(super) fn filter(&self) -> Result<LetterFilter, Problem> {
        fn given<T: FromStr>(text: Option<&str>, bad: &str) -> Result<Option<T>, Problem> {
            let text = text.filter(|text| !text.is_empty());
            let parsed = text.map(str::parse).transpose();
            parsed.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad-filter", bad))
        }
        let class = self.class.as_deref().filter(|class| !class.is_empty());
        let no_class = || Problem::new(StatusCode::BAD_REQUEST, "bad-filter", "there is no such class");
        let time = "a time is written as 2026-11-24T09:30, in UTC";
        Ok(LetterFilter {
            connection: given(self.connection.as_deref(), "there is no such connection")?,
            class: class
                .map(|class| views::class_named(class).ok_or_else(no_class))
                .transpose()?,
            event_type: given(
                self.event_type.as_deref(),
                "an event type is one, or the beginning of one followed by *",
            )?,
            since: given(self.since.as_deref().map(in_utc).as_deref(), time)?,
            until: given(self.until.as_deref().map(in_utc).as_deref(), time)?,
        })
    }
}

/// A browser sends `2026-11-24T09:30`, with no zone; the form says that it is UTC.
fn in_utc(text: &str) -> String {
    match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// What a browser's field shows of it.
fn field(when: Option<When>) -> String {
    when.map(|when| when.to_string().chars().take(16).collect())
        .unwrap_or_default()
}

impl DeadLettersPage {
    pub(super) fn new(
        frame: Frame,
        page: &DeadLetterPage,
        filter: &LetterFilter,
        connections: Vec<ConnectionName>,
    ) -> Self {
        let of_connection = |name: ConnectionName| Choice {
            value: name.to_string(),
            chosen: filter.connection.as_ref() == Some(&name),
        };
        let of_class = |class: FailureClass| Choice {
            value: class.to_string(),
            chosen: filter.class == Some(class),
        };
        Self {
            rows: page
                .letters
                .iter()
                .filter_map(|letter| DeadLetterRow::new(letter, frame.now))
                .collect(),
            connections: connections.into_iter().map(of_connection).collect(),
            classes: FailureClass::ALL.into_iter().map(of_class).collect(),
            event_type: filter.event_type.as_ref().map(ToString::to_string).unwrap_or_default(),
            since: field(filter.since),
            until: field(filter.until),
            next: page.next.as_ref().map(|cursor| {
                let query = query(filter);
                let separator = if query.is_empty() { "?" } else { "&" };
                format!("{PATH}{query}{separator}cursor={cursor}")
            }),
            kept: query(filter),
            frame,
        }
    }
}

impl DeadLetterRow {
    /// None for one that was replayed while the list was read.
    pub(super) fn new(letter: &DeadLetterView, now: Timestamp) -> Option<Self> {
        let delivery = &letter.delivery;
        let (at, class) = match &delivery.state {
            DeliveryState::Dead { at, class } => (*at, *class),
            DeliveryState::Pending { .. }
            | DeliveryState::Leased { .. }
            | DeliveryState::Delivered { .. }
            | DeliveryState::Discarded { .. } => return None,
        };
        let failure = delivery.last_failure.as_ref();
        Some(Self {
            id: delivery.id.to_string(),
            died: Moment::new(at, now),
            connection: delivery.connection.to_string(),
            kind: letter.event.as_ref().map(|event| event.kind.clone()),
            subject: letter.event.as_ref().and_then(|event| event.subject.clone()),
            correlation_id: delivery.correlation_id.to_string(),
            class: class.as_str(),
            code: failure.and_then(|failure| failure.code.clone()),
            message: failure.map(|failure| failure.message.clone()).unwrap_or_default(),
            ambiguous: failure.is_some_and(|failure| failure.ambiguous),
            runs: delivery.runs,
            replays: delivery.replays,
        })
    }
}
