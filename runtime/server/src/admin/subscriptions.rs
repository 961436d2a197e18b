//! `/v1/subscriptions/dry-run`: what a subscription would be owed of the latest events.

use axum::Json;
use axum::extract::State;

use super::auth::Admin;
use crate::app::App;
use crate::problem::Problem;
use crate::subscriptions::{self, DryRun, DryRunRequest};

/// For admins: a filter tells what is in bodies, which the API shows to nobody else.
pub(super) async fn dry_run(
    State(app): State<App>,
    Admin(caller): Admin,
    Json(request): Json<DryRunRequest>,
) -> Result<Json<DryRun>, Problem> {
    subscriptions::dry_run(&app, &caller.workspace, request).await.map(Json)
}
