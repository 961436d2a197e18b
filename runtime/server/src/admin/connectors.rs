//! `/v1/connectors`, and who decided what about their versions: `/v1/grants`.

use axum::Json;
use axum::extract::{Path, Query, State};
use cofferdam_domain::{ConnectionName, ConnectorName, Digest};
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Viewer};
use super::views::{self, ConnectorsView};
use crate::app::App;
use crate::plugins::rollback;
use crate::plugins::views::{self as versions, ConnectorVersions};
use crate::plugins::{DECISIONS_LISTED_MAX, Decision, DecisionQuery};
use crate::problem::Problem;

/// Who decided what about versions of connectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionsView {
    /// The latest first.
    pub decisions: Vec<Decision>,
}

/// Which version to go back to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBack {
    /// None means the one before the current.
    #[serde(default)]
    digest: Option<Digest>,
}

/// Which decisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    connection: Option<ConnectionName>,
    connector: Option<ConnectorName>,
    limit: Option<usize>,
}

/// Decisions that are listed if nobody says how many.
const LISTED: usize = 50;

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Json<ConnectorsView> {
    Json(views::connectors(&app, &caller.workspace))
}

/// One connector, with every version that is kept.
pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(name): Path<String>,
) -> Result<Json<ConnectorVersions>, Problem> {
    let name = rollback::named(&app, &name)?;
    shown(&app, &caller.workspace, &name)
}

/// Has it run an earlier version. The body may be left out.
pub(super) async fn roll_back(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    body: Option<Json<RollBack>>,
) -> Result<Json<ConnectorVersions>, Problem> {
    let Json(asked) = body.unwrap_or_default();
    let name = rollback::roll_back(&app, &caller, &name, asked.digest).await?;
    shown(&app, &caller.workspace, &name)
}

/// Ends a rollback.
pub(super) async fn release(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectorVersions>, Problem> {
    let name = rollback::release(&app, &caller, &name).await?;
    shown(&app, &caller.workspace, &name)
}

/// Who decided what.
pub(super) async fn grants(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(asked): Query<Asked>,
) -> Result<Json<DecisionsView>, Problem> {
    let query = DecisionQuery {
        connection: asked.connection,
        connector: asked.connector,
        limit: asked.limit.unwrap_or(LISTED).min(DECISIONS_LISTED_MAX),
    };
    let decisions = app.plugins.decisions.list(&caller.workspace, &query);
    let decisions = decisions.map_err(|error| Problem::internal("listing decisions", &error))?;
    Ok(Json(DecisionsView { decisions }))
}

fn shown(
    app: &App,
    workspace: &cofferdam_domain::WorkspaceName,
    name: &ConnectorName,
) -> Result<Json<ConnectorVersions>, Problem> {
    let found = versions::connector(app, workspace, name);
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format_args!("connector {name}")))
}
