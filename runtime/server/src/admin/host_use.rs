//! `/v1/host`: what connectors run in, and how much of it is in use.

use axum::Json;
use axum::extract::State;
use cofferdam_host::EngineUse;

use super::auth::Viewer;
use crate::app::App;

/// It is one engine for all workspaces, and says nothing of any of them.
pub(super) async fn show(State(app): State<App>, Viewer(_caller): Viewer) -> Json<EngineUse> {
    Json(app.engine.usage())
}
