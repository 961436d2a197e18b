//! Dead letters: found by connection and class, replayed or given up by an admin.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use cofferdam_domain::{ConnectionName, CorrelationId, DeliveryId, DeliveryState, FailureClass, Timestamp};
use cofferdam_queue::DeadFilter;
use serde::Deserialize;

use super::flash::{Flash, FlashQuery};
use super::frame::{Frame, Section, page};
use super::guard::{Change, SignedIn};
use super::problem_page::ProblemPage;
use super::units::Moment;
use crate::admin::actions;
use crate::admin::views::{self, DeadLetterView, ROWS_MAX};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

const PATH: &str = "/panel/dead-letters";

#[derive(Template)]
#[template(path = "panel/dead_letters.html")]
pub(super) struct DeadLettersPage {
    pub(super) frame: Frame,
    pub(super) rows: Vec<DeadLetterRow>,
    pub(super) connections: Vec<Choice>,
    pub(super) classes: Vec<Choice>,
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

/// What the address asks for. An empty value is what an unset select of a form sends.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    connection: Option<String>,
    class: Option<String>,
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
    let letters = views::dead_letters(&app, workspace, &filter);
    let letters = letters.map_err(|error| Problem::internal("listing dead letters", &error))?;
    let frame = Frame::of(&app, &session, Section::DeadLetters, now()).flash(flash.get());
    let names = app
        .connections
        .of(workspace)
        .iter()
        .map(|connection| connection.spec.name.clone())
        .collect();
    page(&DeadLettersPage::new(frame, &letters, &filter, names))
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

/// Names and classes hold nothing that means anything in a query.
fn query(filter: &DeadFilter) -> String {
    let connection = filter.connection.as_ref().map(|name| format!("connection={name}"));
    let class = filter.class.map(|class| format!("class={class}"));
    let parts: Vec<_> = connection.into_iter().chain(class).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

impl Asked {
    fn filter(&self) -> Result<DeadFilter, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let bad = |what: &str| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-filter",
                format!("there is no such {what}"),
            )
        };
        let connection = given(&self.connection)
            .map(|name| name.parse::<ConnectionName>())
            .transpose();
        let class = given(&self.class)
            .map(|class| views::class_named(&class).ok_or_else(|| bad("class")))
            .transpose()?;
        Ok(DeadFilter {
            connection: connection.map_err(|_| bad("connection"))?,
            class,
        })
    }
}

impl DeadLettersPage {
    pub(super) fn new(
        frame: Frame,
        letters: &[DeadLetterView],
        filter: &DeadFilter,
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
            rows: letters
                .iter()
                .filter_map(|letter| DeadLetterRow::new(letter, frame.now))
                .collect(),
            connections: connections.into_iter().map(of_connection).collect(),
            classes: FailureClass::ALL.into_iter().map(of_class).collect(),
            kept: query(filter),
            frame,
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() == ROWS_MAX
    }
}

impl DeadLetterRow {
    /// None for one that was replayed while the list was read.
    fn new(letter: &DeadLetterView, now: Timestamp) -> Option<Self> {
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
