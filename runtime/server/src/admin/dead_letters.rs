//! `/v1/dead-letters`: list, replay, discard.

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, FailureClass, WorkspaceName};
use cofferdam_queue::DeadFilter;
use serde::Deserialize;

use super::actions;
use super::auth::{Admin, Viewer};
use super::deliveries::parse_id;
use super::views::{self, DeadLetterView};
use crate::app::App;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    connection: Option<ConnectionName>,
    class: Option<FailureClass>,
}

pub(super) async fn list(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<DeadLetterView>>, Problem> {
    let filter = DeadFilter {
        connection: filter.connection,
        class: filter.class,
    };
    let listed = views::dead_letters(&app, &caller.workspace, &filter);
    listed
        .map(Json)
        .map_err(|error| Problem::internal("listing dead letters", &error))
}

/// A new series of attempts under the same correlation id and idempotency key.
pub(super) async fn replay(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let id = parse_id(&id)?;
    actions::replay(&app, &caller, id).await?;
    show(&app, &caller.workspace, id)
}

pub(super) async fn discard(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    let id = parse_id(&id)?;
    actions::discard(&app, &caller, id).await?;
    show(&app, &caller.workspace, id)
}

fn show(app: &App, workspace: &WorkspaceName, id: DeliveryId) -> Result<Json<Delivery>, Problem> {
    let found = app
        .queue
        .delivery(workspace, id)
        .map_err(|error| Problem::internal("reading the delivery", &error))?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("delivery {id}")))
}
