//! `/v1/deliveries`.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId};
use cofferdam_queue::{DeliveryFilter, Standing};
use serde::Deserialize;

use super::auth::Viewer;
use super::views::{DeliveryTrace, ROWS_MAX};
use crate::app::App;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    connection: Option<ConnectionName>,
    state: Option<Standing>,
}

pub(super) async fn list(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<Delivery>>, Problem> {
    let filter = DeliveryFilter {
        connection: filter.connection,
        standing: filter.state,
    };
    let listed = app.queue.deliveries(&caller.workspace, &filter, ROWS_MAX, None);
    listed
        .map(|page| Json(page.items))
        .map_err(|error| Problem::internal("listing deliveries", &error))
}

pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Json<DeliveryTrace>, Problem> {
    let id = parse_id(&id)?;
    let read = || -> Result<_, cofferdam_queue::QueueError> {
        let Some(delivery) = app.queue.delivery(&caller.workspace, id)? else {
            return Ok(None);
        };
        Ok(Some(DeliveryTrace {
            delivery,
            attempts: app.queue.attempts(&caller.workspace, id)?,
        }))
    };
    let found = read().map_err(|error| Problem::internal("reading the delivery", &error))?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("delivery {id}")))
}

pub(super) fn parse_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad-id", "a delivery id is a UUID"))
}
