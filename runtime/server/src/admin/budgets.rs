//! `/v1/budgets`: what may be asked of each upstream, and how much of it is left.

use axum::Json;
use axum::extract::State;

use super::auth::Viewer;
use crate::app::App;
use crate::budgets::{self, BudgetView};

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Json<Vec<BudgetView>> {
    Json(budgets::list(&app, &caller.workspace))
}
