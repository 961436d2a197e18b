//! `/v1/dead-letters`: found, looked at, replayed and discarded one by one. In bulk: `redrives.rs`.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, FailureClass, TypePattern, WorkspaceName};
use serde::Deserialize;

use super::actions;
use super::auth::{Admin, Viewer};
use super::deliveries::parse_id;
use super::letter_filter::{self, LetterFilter, When};
use super::views::{self, DeadLetterDetail, DeadLetterPage, ROWS_MAX};
use crate::app::App;
use crate::problem::Problem;

/// A filter and a place. One type, because a flattened one would take fields that nobody knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    connection: Option<ConnectionName>,
    class: Option<FailureClass>,
    #[serde(rename = "type")]
    event_type: Option<TypePattern>,
    since: Option<When>,
    until: Option<When>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(asked): Query<Asked>,
) -> Result<Json<DeadLetterPage>, Problem> {
    let bad = |code: &str, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let limit = asked.limit.unwrap_or(ROWS_MAX);
    if !(1..=ROWS_MAX).contains(&limit) {
        return Err(bad("bad-limit", format!("limit is 1 to {ROWS_MAX}")));
    }
    let cursor = match asked.cursor.as_deref() {
        None => None,
        Some(text) => {
            let unknown = || {
                bad(
                    "bad-cursor",
                    "a cursor is what `next` of the page before says".to_owned(),
                )
            };
            Some(letter_filter::cursor(text).ok_or_else(unknown)?)
        }
    };
    let filter = LetterFilter {
        connection: asked.connection,
        class: asked.class,
        event_type: asked.event_type,
        since: asked.since,
        until: asked.until,
    };
    let listed = views::dead_letters(&app, &caller.workspace, &filter.into(), limit, cursor);
    listed
        .map(Json)
        .map_err(|error| Problem::internal("listing dead letters", &error))
}

/// Cause, class, attempts and the trail of the last one. A delivery that is no dead letter, or no longer, is shown too.
pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterDetail>, Problem> {
    let id = parse_id(&id)?;
    let found = views::dead_letter_detail(&app, &caller.workspace, id);
    found
        .map_err(|error| Problem::internal("reading the dead letter", &error))?
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("delivery {id}")))
}

/// A new series of attempts under the same correlation id and idempotency key.
pub(super) async fn replay(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let id = parse_id(&id)?;
    actions::replay(&app, &caller, id).await?;
    after(&app, &caller.workspace, id)
}

pub(super) async fn discard(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let id = parse_id(&id)?;
    actions::discard(&app, &caller, id).await?;
    after(&app, &caller.workspace, id)
}

fn after(app: &App, workspace: &WorkspaceName, id: DeliveryId) -> Result<Json<Delivery>, Problem> {
    let found = app
        .queue
        .delivery(workspace, id)
        .map_err(|error| Problem::internal("reading the delivery", &error))?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("delivery {id}")))
}
