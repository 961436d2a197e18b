//! `/v1/traces/{correlation_id}` and the latest events.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::id::BadCorrelationId;
use cofferdam_domain::{CorrelationId, Event};

use super::auth::Viewer;
use super::views::{self, ROWS_MAX, TraceView};
use crate::app::App;
use crate::problem::Problem;

pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Json<TraceView>, Problem> {
    let id: CorrelationId = id
        .parse()
        .map_err(|error: BadCorrelationId| Problem::new(StatusCode::BAD_REQUEST, "bad-id", error.to_string()))?;
    let trace = views::trace(&app, &caller.workspace, &id).await;
    let trace = trace.map_err(|error| Problem::internal("reading the trace", &error))?;
    trace
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("event with the correlation id {id}")))
}

pub(super) async fn recent(State(app): State<App>, Viewer(caller): Viewer) -> Result<Json<Vec<Event>>, Problem> {
    let events = app.queue.recent_events(&caller.workspace, ROWS_MAX, None);
    events
        .map(Json)
        .map_err(|error| Problem::internal("listing events", &error))
}
