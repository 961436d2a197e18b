//! Redrives: what would be done is shown and confirmed, then followed to its end, and cancelled if need be.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Redirect, Response};
use cofferdam_domain::Timestamp;
use cofferdam_queue::{Redrive, RedriveKind, RedriveScope, RedriveState};
use serde::Deserialize;

use super::badge::{Badge, Tone};
use super::dead_letters::{Asked, DeadLetterRow, query};
use super::flash::{Flash, FlashQuery};
use super::frame::{Frame, Section, page};
use super::guard::{Change, SignedIn};
use super::problem_page::ProblemPage;
use super::units::{self, Moment};
use crate::admin::letter_filter::LetterFilter;
use crate::admin::redrives::{self, BulkRequest, Preview};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

const PATH: &str = "/panel/redrives";

#[derive(Template)]
#[template(path = "panel/redrive_confirm.html")]
pub(super) struct ConfirmPage {
    pub(super) frame: Frame,
    pub(super) what: &'static str,
    pub(super) destructive: bool,
    pub(super) count: u64,
    pub(super) at_least: bool,
    pub(super) criteria: Vec<(&'static str, String)>,
    pub(super) rows: Vec<DeadLetterRow>,
    pub(super) kept: String,
}

#[derive(Template)]
#[template(path = "panel/redrive.html")]
pub(super) struct RedrivePage {
    pub(super) frame: Frame,
    pub(super) row: RedriveRow,
    pub(super) criteria: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "panel/redrives.html")]
pub(super) struct RedrivesPage {
    pub(super) frame: Frame,
    pub(super) rows: Vec<RedriveRow>,
}

/// A redrive as list and page show it.
pub(super) struct RedriveRow {
    pub(super) id: String,
    pub(super) what: &'static str,
    pub(super) by: String,
    pub(super) made: Moment,
    pub(super) ended: Option<Moment>,
    pub(super) badge: Badge,
    pub(super) running: bool,
    pub(super) waiting: Option<String>,
    pub(super) rate_per_s: u32,
    /// Formatted numbers by name.
    pub(super) counts: Vec<(&'static str, String)>,
    pub(super) last_error: Option<String>,
    pub(super) cancelled_by: Option<String>,
}

/// What is asked for, beside the filter.
#[derive(Deserialize)]
pub(super) struct What {
    what: RedriveKind,
}

pub(super) async fn confirm(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
    Query(What { what }): Query<What>,
) -> Result<Response, ProblemPage> {
    if !session.may_change() {
        return Err(Problem::forbidden("admin").into());
    }
    let filter = asked.filter()?;
    let request = BulkRequest {
        filter: Some(filter.clone()),
        ..BulkRequest::default()
    };
    let preview = redrives::preview(&app, &session.principal, what, &request).await?;
    let frame = Frame::of(&app, &session, Section::DeadLetters, now()).titled(format!("{} dead letters", title(what)));
    page(&ConfirmPage::new(frame, what, &filter, &preview))
}

pub(super) async fn begin(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    Query(What { what }): Query<What>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    let request = BulkRequest {
        filter: Some(asked.filter()?),
        ..BulkRequest::default()
    };
    let redrive = redrives::begin(&app, &session.principal, what, request).await?;
    Ok(Redirect::to(&format!("{PATH}/{}", redrive.id)))
}

pub(super) async fn list(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Response, ProblemPage> {
    let redrives = app.queue.redrives(&session.principal.workspace);
    let redrives = redrives.map_err(|error| Problem::internal("listing redrives", &error))?;
    let frame = Frame::of(&app, &session, Section::DeadLetters, now()).titled("Redrives");
    let rows = redrives
        .iter()
        .map(|redrive| RedriveRow::new(redrive, frame.now))
        .collect();
    page(&RedrivesPage { frame, rows })
}

pub(super) async fn show(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(id): Path<String>,
    Query(flash): Query<FlashQuery>,
) -> Result<Response, ProblemPage> {
    let redrive = redrives::found(&app, &session.principal, &id)?;
    let frame = Frame::of(&app, &session, Section::DeadLetters, now())
        .titled(format!("Redrive {}", redrive.id))
        .flash(flash.get());
    page(&RedrivePage::new(frame, &redrive))
}

/// That it ended by itself meanwhile is no error: its page says so.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    Change(session): Change,
) -> Result<Redirect, ProblemPage> {
    let redrive = redrives::found(&app, &session.principal, &id)?;
    let flash = match redrives::cancelled(&app, &session.principal, &id).await {
        Ok(_) => format!("?flash={}", Flash::Cancelled.code()),
        Err(problem) if problem.code == "redrive-ended" => String::new(),
        Err(problem) => return Err(problem.into()),
    };
    Ok(Redirect::to(&format!("{PATH}/{}{flash}", redrive.id)))
}

const fn title(what: RedriveKind) -> &'static str {
    match what {
        RedriveKind::Replay => "Replay",
        RedriveKind::Discard => "Discard",
    }
}

fn criteria(filter: &LetterFilter) -> Vec<(&'static str, String)> {
    let parts = [
        ("Connection", filter.connection.as_ref().map(ToString::to_string)),
        ("Class", filter.class.map(|class| class.to_string())),
        ("Event type", filter.event_type.as_ref().map(ToString::to_string)),
        ("Died since", filter.since.map(|when| when.to_string())),
        ("Died before", filter.until.map(|when| when.to_string())),
    ];
    parts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

impl ConfirmPage {
    pub(super) fn new(frame: Frame, what: RedriveKind, filter: &LetterFilter, preview: &Preview) -> Self {
        let kept = query(filter);
        let separator = if kept.is_empty() { "?" } else { "&" };
        Self {
            what: title(what),
            destructive: what == RedriveKind::Discard,
            count: preview.count,
            at_least: preview.at_least,
            criteria: criteria(filter),
            rows: preview
                .sample
                .iter()
                .filter_map(|letter| DeadLetterRow::new(letter, frame.now))
                .collect(),
            kept: format!("{kept}{separator}what={}", what.as_str()),
            frame,
        }
    }
}

impl RedrivePage {
    pub(super) fn new(frame: Frame, redrive: &Redrive) -> Self {
        let criteria = match &redrive.scope {
            RedriveScope::Filter { filter } => {
                let shown = LetterFilter {
                    connection: filter.connection.clone(),
                    class: filter.class,
                    event_type: filter.event_type.clone(),
                    since: filter.since.map(crate::admin::When),
                    until: filter.until.map(crate::admin::When),
                };
                criteria(&shown)
            }
            RedriveScope::Ids { count } => vec![("Named letters", count.to_string())],
        };
        Self {
            row: RedriveRow::new(redrive, frame.now),
            criteria,
            frame,
        }
    }
}

impl RedriveRow {
    pub(super) fn new(redrive: &Redrive, now: Timestamp) -> Self {
        let skipped = redrive.skipped;
        let counts = [
            ("Looked at", redrive.examined),
            ("Changed", redrive.changed),
            ("Skipped: connection gone", skipped.connection_gone),
            ("Skipped: no dead letter", skipped.not_dead + skipped.not_found),
            ("Skipped: died again since", skipped.died_since),
            ("Unreadable", redrive.failed),
        ];
        let tone = match redrive.state {
            RedriveState::Running if redrive.waiting.is_some() => Tone::Warning,
            RedriveState::Running | RedriveState::Done => Tone::Good,
            RedriveState::Cancelled => Tone::Quiet,
            RedriveState::Failed => Tone::Bad,
        };
        Self {
            id: redrive.id.to_string(),
            what: redrive.what.as_str(),
            by: redrive.by.clone(),
            made: Moment::new(redrive.created_at, now),
            ended: redrive.ended_at.map(|at| Moment::new(at, now)),
            badge: Badge {
                tone,
                word: redrive.state.as_str(),
            },
            running: redrive.state == RedriveState::Running,
            waiting: redrive.waiting.clone(),
            rate_per_s: redrive.rate_per_s,
            counts: counts
                .into_iter()
                .filter(|(name, count)| *count > 0 || !is_exception(name))
                .map(|(name, number)| (name, units::count(number)))
                .collect(),
            last_error: redrive.last_error.clone(),
            cancelled_by: redrive.cancelled_by.clone(),
        }
    }
}

/// What is worth a word only if it happened.
fn is_exception(name: &str) -> bool {
    name.starts_with("Skipped") || name == "Unreadable"
}
