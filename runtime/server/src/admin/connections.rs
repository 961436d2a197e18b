//! `/v1/connections`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::{
    Connection, ConnectionName, ConnectorName, CredentialSlot, Digest, InboundScheme, WorkspaceName,
};
use cofferdam_host::Connector;
use cofferdam_queue::Queue;
use cofferdam_store::Batch;
use serde::Deserialize;

use super::actions;
use super::auth::{Admin, Viewer};
use super::views::{self, ConnectionView};
use crate::app::App;
use crate::clock::{now, steady};
use crate::config::{self, Mistake};
use crate::plugins::{Catalogue, Shelf, grants};
use crate::problem::Problem;
use crate::schedule::Schedule;
use crate::tokens::Principal;

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Result<Json<Vec<ConnectionView>>, Problem> {
    let views = views::connections(&app, &caller.workspace).await;
    views
        .map(Json)
        .map_err(|error| Problem::internal("reading connections", &error))
}

pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    view(&app, &connection).await
}

/// The body is a connection file in TOML. The answer to a bad one names every mistake with its line.
pub(super) async fn apply(
    State(app): State<App>,
    Admin(caller): Admin,
    text: String,
) -> Result<Json<ConnectionView>, Problem> {
    // Off the executor: a filter is compiled to find its mistakes.
    let maximum = app.maximum;
    let parsed = tokio::task::spawn_blocking(move || {
        let spec = config::parse_connection(&text)?;
        match config::over_maximum(&text, &spec, &maximum) {
            over if over.is_empty() => Ok(spec),
            over => Err(over),
        }
    })
    .await;
    let parsed = parsed.map_err(|error| Problem::internal("reading the connection file", &error))?;
    let spec = parsed.map_err(mistaken)?;
    let connection = {
        let app = app.clone();
        let change = async move { apply_spec(&app, &caller, spec).await };
        actions::to_its_end("applying the connection", change).await?
    };
    view(&app, &connection).await
}

async fn apply_spec(app: &App, caller: &Principal, spec: ConnectionSpec) -> Result<Arc<Connection>, Problem> {
    let _changing = app.plugins.standings.changing().await;
    let present = app.connections.get(&caller.workspace, &spec.name);
    let current = current(app, &spec)?;
    let mut told = grants::Applied::of(app, caller, present.as_deref(), &spec, Arc::clone(&current));
    check_against_connector(app, &spec, told.runs()).map_err(|problem| {
        if told.runs().digest == current.digest {
            return problem;
        }
        instead_of(&problem, told.runs(), &current)
    })?;
    let same_filter = present
        .as_ref()
        .is_some_and(|present| present.spec.filter == spec.filter);
    let other_tokens = present
        .as_ref()
        .is_some_and(|present| crate::oauth2::differs(&present.spec, &spec));
    let fresh = start_afresh(app, &caller.workspace, &spec.name).await?;
    let granted = told.granted();
    let connection = app
        .connections
        .apply(&caller.workspace, spec, granted, fresh, |batch| told.tell(batch))
        .await
        .map_err(actions::connection_problem)?;
    if !same_filter {
        app.filters.forget(&caller.workspace, &connection.spec.name);
    }
    tracing::info!(connection = %connection.spec.name, revision = connection.revision, by = caller.name, "connection applied");
    if connection
        .spec
        .inbound
        .as_ref()
        .is_some_and(|inbound| inbound.scheme == InboundScheme::None)
    {
        tracing::warn!(connection = %connection.spec.name, by = caller.name, "requests to its hook are {}", InboundScheme::None.in_words());
    }
    if other_tokens {
        // It may have been parked because no token could be had as it was set up before.
        actions::release(app, caller, connection.spec.name.as_str()).await?;
    }
    Ok(connection)
}

fn mistaken(mistakes: Vec<Mistake>) -> Problem {
    let detail = format!(
        "the connection file has {} mistake{}",
        mistakes.len(),
        if mistakes.len() == 1 { "" } else { "s" }
    );
    let mut problem = Problem::new(StatusCode::BAD_REQUEST, "bad-connection", detail);
    problem.mistakes = mistakes;
    problem
}

/// A connection of a name that none has begins with nothing of a deleted one that had it: no parking, no credential, no state
/// or cursor, and nothing that waits. What the batch holds goes with the new connection's first record.
async fn start_afresh(app: &App, workspace: &WorkspaceName, name: &ConnectionName) -> Result<Batch, Problem> {
    let mut batch = Batch::new();
    if app.connections.get(workspace, name).is_some() {
        return Ok(batch);
    }
    let depth = app.queue.depth(workspace, name);
    let waiting = depth.pending + depth.in_flight;
    if waiting > 0 {
        let detail = format!(
            "a deleted connection {name} is still being wound up: {waiting} deliveries are not dead letters yet; try again"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "connection-winding-up", detail).retry_after(1));
    }
    let removed = app.vault.remove_all(&mut batch, workspace, name, None, now());
    removed.map_err(|error| Problem::internal("making the connection", &error))?;
    app.queue.forget_kept(&mut batch, workspace, name);
    app.plugins.standings.forget(&mut batch, workspace, name);
    let released = app.queue.release_lane(workspace, name, steady()).await;
    released.map_err(|error| Problem::internal("making the connection", &error))?;
    Ok(batch)
}

/// A file may be meant for the version that waits: it is for the one that runs until the other is granted.
fn instead_of(problem: &Problem, runs: &Connector, waits: &Connector) -> Problem {
    let detail = format!(
        "{}; that is version {} of its connector, which runs. Version {} ({}) waits: grant it first if the file is for that one",
        problem.detail, runs.descriptor.version, waits.descriptor.version, waits.digest
    );
    Problem::new(StatusCode::BAD_REQUEST, "bad-connection", detail)
}

/// The version of its connector that is granted by applying a new connection.
fn current(app: &App, spec: &ConnectionSpec) -> Result<Arc<Connector>, Problem> {
    let catalogue = app.plugins.catalogue();
    let found = catalogue.get(&spec.connector).and_then(Shelf::current).cloned();
    found.ok_or_else(|| {
        let detail = not_loaded(&catalogue, &spec.connector);
        Problem::new(StatusCode::BAD_REQUEST, "bad-connection", detail)
    })
}

/// A grant that the connector never asked for is a typing mistake or a misunderstanding; both are worth an answer.
pub(crate) fn check_against_connector(app: &App, spec: &ConnectionSpec, connector: &Connector) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, "bad-connection", detail));
    for (name, grant) in &spec.upstreams {
        let Some(asked) = connector.descriptor.upstream(name) else {
            return bad(format!(
                "connector {} does not ask for an upstream {name}",
                spec.connector
            ));
        };
        let slot = grant.attach.as_ref().unwrap_or(&asked.credential);
        match (*slot == CredentialSlot::Hmac, grant.signature.is_some()) {
            (true, false) => {
                return bad(format!(
                    "connector {} asks for upstream {name} to be signed by HMAC: say in [upstreams.{name}.signature] what is \
                     signed and where the signature goes",
                    spec.connector
                ));
            }
            (false, true) => {
                return bad(format!(
                    "upstreams.{name}.signature means nothing: its credential is attached as `{slot}` and not as `hmac`"
                ));
            }
            (true, true) | (false, false) => {}
        }
        match (slot.is_oauth2(), &grant.oauth2) {
            (true, None) => {
                return bad(format!(
                    "upstream {name} takes OAuth 2.0 tokens, and nothing says how they are obtained: add \
                     [upstreams.{name}.oauth2], or attach another kind of credential with `attach`"
                ));
            }
            (false, Some(_)) => {
                return bad(format!(
                    "upstream {name} has a table `oauth2`, and its connector attaches the credential as `{slot}`: add \
                     attach = \"oauth2\""
                ));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    if !spec.subscribe.is_empty() && !connector.exports.sink {
        return bad(format!(
            "connector {} takes no events, so it cannot subscribe to any",
            spec.connector
        ));
    }
    if spec.inbound.is_some() && !connector.exports.source {
        return bad(format!(
            "connector {} takes no incoming requests, so it can have no [inbound]",
            spec.connector
        ));
    }
    check_kept(app, spec, connector)
}

/// What is said of a connector that is not there: it may be on its way.
fn not_loaded(catalogue: &Catalogue, wanted: &ConnectorName) -> String {
    let known: Vec<_> = catalogue
        .shelves()
        .filter(|shelf| shelf.current().is_some())
        .map(|shelf| shelf.record.name.to_string())
        .collect();
    let loading = match catalogue.loading().len() {
        0 => String::new(),
        files => format!("; {files} of the plugins folder are being loaded, so try again"),
    };
    format!(
        "no connector {wanted} is loaded; there are: {}{loading}",
        known.join(", ")
    )
}

/// Whether the connector asks for the state and the schedule that it is granted.
fn check_kept(app: &App, spec: &ConnectionSpec, connector: &Connector) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, "bad-connection", detail));
    if let Some(state) = &spec.state {
        if !connector.descriptor.wants_state {
            return bad(format!(
                "connector {} does not ask for state, so it can have no [state]",
                spec.connector
            ));
        }
        if state.bytes_max > app.state_bytes_max {
            return bad(format!(
                "state.bytes_max is {}; this server allows {} (host.maximum.state_bytes of its configuration)",
                state.bytes_max, app.state_bytes_max
            ));
        }
    }
    if let Some(poll) = &spec.poll {
        if !connector.exports.poller {
            return bad(format!(
                "connector {} cannot be polled, so it can have no [poll]",
                spec.connector
            ));
        }
        if let Err(problem) = Schedule::new(poll, connector.descriptor.poll_every_s, String::new()) {
            return bad(problem.to_string());
        }
    }
    Ok(())
}

pub(super) async fn enable(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::toggle(&app, &caller, &name, true).await?;
    view(&app, &connection).await
}

pub(super) async fn disable(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::toggle(&app, &caller, &name, false).await?;
    view(&app, &connection).await
}

/// Clears park, back-off, breaker and flag: what waits is tried now.
pub(super) async fn release(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::release(&app, &caller, &name).await?;
    view(&app, &connection).await
}

/// Which version, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    digest: Digest,
    #[serde(default)]
    reason: Option<String>,
}

/// Lets it run a version of its connector.
pub(super) async fn grant(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Json(decided): Json<Decided>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = grants::grant(&app, &caller, &name, decided.digest).await?;
    view(&app, &connection).await
}

/// Does not let it run a version of its connector.
pub(super) async fn refuse(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Json(decided): Json<Decided>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = grants::refuse(&app, &caller, &name, decided.digest, decided.reason).await?;
    view(&app, &connection).await
}

async fn view(app: &App, connection: &Connection) -> Result<Json<ConnectionView>, Problem> {
    let view = views::connection_view(app, connection).await;
    view.map(Json)
        .map_err(|error| Problem::internal("reading the connection", &error))
}
