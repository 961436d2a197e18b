//! `/v1/connectors`.

use axum::Json;
use axum::extract::State;

use super::auth::Viewer;
use super::views::{self, ConnectorsView};
use crate::app::App;

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Json<ConnectorsView> {
    Json(views::connectors(&app, &caller.workspace))
}
