//! `/v1/dead-letters/replay`, `/v1/dead-letters/discard` and `/v1/redrives`: dead letters in bulk.
//!
//! The panel uses the same functions, so that both ask for the same and are refused alike.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::{DeliveryId, DeliveryState};
use cofferdam_queue::{
    DeadCount, DeadFilter, QueueError, REDRIVE_IDS_MAX, REDRIVE_RATE_DEFAULT, Redrive, RedriveError, RedriveId,
    RedriveKind, RedriveOrder,
};
use serde::{Deserialize, Serialize};

use super::actions;
use super::auth::{Admin, Viewer};
use super::letter_filter::LetterFilter;
use super::views::{self, DeadLetterView};
use crate::app::App;
use crate::clock::steady;
use crate::problem::Problem;
use crate::tokens::Principal;

/// Letters that a dry run shows.
const SAMPLE_MAX: usize = 10;

/// What is asked for: a filter or ids, and never neither, so that a forgotten filter does not mean everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// Letters that match; an empty one means all of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<LetterFilter>,
    /// These letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<DeliveryId>>,
    /// Only says what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// The brake, in letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkAnswer {
    /// What would be done.
    Preview(Preview),
    /// The job that does it.
    Redrive(Box<Redrive>),
}

/// What would be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preview {
    /// Letters.
    pub count: u64,
    /// Whether there may be more: only so many were looked at.
    pub at_least: bool,
    /// The first of them, those that died first.
    pub sample: Vec<DeadLetterView>,
}

pub(super) async fn replay(
    State(app): State<App>,
    Admin(caller): Admin,
    Json(request): Json<BulkRequest>,
) -> Result<(StatusCode, Json<BulkAnswer>), Problem> {
    answer(&app, &caller, RedriveKind::Replay, request).await
}

pub(super) async fn discard(
    State(app): State<App>,
    Admin(caller): Admin,
    Json(request): Json<BulkRequest>,
) -> Result<(StatusCode, Json<BulkAnswer>), Problem> {
    answer(&app, &caller, RedriveKind::Discard, request).await
}

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Result<Json<Vec<Redrive>>, Problem> {
    let redrives = app.queue.redrives(&caller.workspace);
    redrives
        .map(Json)
        .map_err(|error| Problem::internal("listing redrives", &error))
}

pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Redrive>, Problem> {
    found(&app, &caller, &id).map(Json)
}

pub(super) async fn cancel(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<Redrive>, Problem> {
    cancelled(&app, &caller, &id).await.map(Json)
}

/// A redrive of the caller's workspace.
pub(crate) fn found(app: &App, by: &Principal, id: &str) -> Result<Redrive, Problem> {
    let missing = || Problem::not_found(format_args!("redrive {id}"));
    let id: RedriveId = id.parse().map_err(|_| missing())?;
    let found = app.queue.redrive(&by.workspace, id);
    found
        .map_err(|error| Problem::internal("reading the redrive", &error))?
        .ok_or_else(missing)
}

/// Ends a redrive that runs.
pub(crate) async fn cancelled(app: &App, by: &Principal, id: &str) -> Result<Redrive, Problem> {
    let redrive = found(app, by, id)?;
    let cancelled = app.queue.cancel_redrive(&by.workspace, redrive.id, steady(), &by.name);
    cancelled.await.map_err(|error| redrive_problem(&error))
}

async fn answer(
    app: &App,
    by: &Principal,
    what: RedriveKind,
    request: BulkRequest,
) -> Result<(StatusCode, Json<BulkAnswer>), Problem> {
    if request.dry_run {
        let preview = preview(app, by, what, &request).await?;
        return Ok((StatusCode::OK, Json(BulkAnswer::Preview(preview))));
    }
    let redrive = begin(app, by, what, request).await?;
    Ok((StatusCode::ACCEPTED, Json(BulkAnswer::Redrive(Box::new(redrive)))))
}

/// What would be done, without doing it.
pub(crate) async fn preview(
    app: &App,
    by: &Principal,
    what: RedriveKind,
    request: &BulkRequest,
) -> Result<Preview, Problem> {
    check(app, by, what, request)?;
    let (queue, workspace) = (std::sync::Arc::clone(&app.queue), by.workspace.clone());
    let (filter, ids) = (filter(request), request.ids.clone());
    // Thousands of records may be read.
    let counted = tokio::task::spawn_blocking(move || match ids {
        None => queue.count_dead_letters(&workspace, &filter, SAMPLE_MAX),
        Some(ids) => {
            let mut counted = DeadCount::default();
            let ids: std::collections::BTreeSet<_> = ids.into_iter().collect();
            for id in ids {
                let letter = queue.delivery(&workspace, id)?;
                if let Some(letter) = letter.filter(|it| matches!(it.state, DeliveryState::Dead { .. })) {
                    counted.count += 1;
                    counted.sample.push(letter);
                }
            }
            counted.sample.truncate(SAMPLE_MAX);
            Ok(counted)
        }
    });
    let counted = counted
        .await
        .map_err(|error| Problem::internal("counting dead letters", &error))?
        .map_err(|error| Problem::internal("counting dead letters", &error))?;
    let sample = counted.sample.into_iter();
    let sample: Result<_, QueueError> = sample.map(|letter| views::dead_letter(app, letter)).collect();
    Ok(Preview {
        count: counted.count,
        at_least: counted.at_least,
        sample: sample.map_err(|error| Problem::internal("reading dead letters", &error))?,
    })
}

/// Makes the redrive; it begins at once.
pub(crate) async fn begin(
    app: &App,
    by: &Principal,
    what: RedriveKind,
    request: BulkRequest,
) -> Result<Redrive, Problem> {
    check(app, by, what, &request)?;
    let order = RedriveOrder {
        what,
        filter: filter(&request),
        ids: request.ids,
        by: by.name.clone(),
        rate_per_s: request.rate_per_s.unwrap_or(REDRIVE_RATE_DEFAULT),
    };
    // Spawned: a client that hangs up must not leave a redrive that its runner never hears of.
    let (app, workspace) = (app.clone(), by.workspace.clone());
    let begun = tokio::spawn(async move {
        let redrive = app.queue.begin_redrive(&workspace, order, steady()).await;
        if redrive.is_ok() {
            app.redrives.ring();
        }
        redrive
    });
    match begun.await {
        Ok(redrive) => redrive.map_err(|error| redrive_problem(&error)),
        Err(error) => Err(Problem::internal("beginning the redrive", &error)),
    }
}

fn filter(request: &BulkRequest) -> DeadFilter {
    request.filter.clone().unwrap_or_default().into()
}

/// What can be known to be a mistake before anything is looked at.
fn check(app: &App, by: &Principal, what: RedriveKind, request: &BulkRequest) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, "bad-redrive", detail));
    match (&request.filter, &request.ids) {
        (None, None) => return bad("give a filter or ids; {\"filter\": {}} means every dead letter".to_owned()),
        (Some(_), Some(_)) => return bad("give a filter or ids, and not both".to_owned()),
        (None, Some(ids)) if ids.len() > REDRIVE_IDS_MAX => {
            return bad(RedriveError::TooManyIds(ids.len()).to_string());
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    let connection = request.filter.as_ref().and_then(|filter| filter.connection.as_ref());
    match (what, connection) {
        (RedriveKind::Replay, Some(name)) if app.connections.get(&by.workspace, name).is_none() => {
            Err(actions::connection_gone(name))
        }
        (RedriveKind::Replay | RedriveKind::Discard, _) => Ok(()),
    }
}

fn redrive_problem(error: &RedriveError) -> Problem {
    let (status, code) = match error {
        RedriveError::Busy => (StatusCode::CONFLICT, "too-many-redrives"),
        RedriveError::NoIds | RedriveError::TooManyIds(_) | RedriveError::Rate(_) => {
            (StatusCode::BAD_REQUEST, "bad-redrive")
        }
        RedriveError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
        RedriveError::Ended { .. } => (StatusCode::CONFLICT, "redrive-ended"),
        RedriveError::Queue(_) => return Problem::internal("changing the redrive", error),
    };
    Problem::new(status, code, error.to_string())
}
