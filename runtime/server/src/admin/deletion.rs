//! Deleting a connection, the same for the API and the panel.
//!
//! The connection, its credentials and what its connector keeps go in one batch, so that no crash leaves what a later
//! connection of the same name would find. What waits for it becomes dead letters after that, step by step
//! (`dispatch/abandon.rs`), also after a crash: a lane without a connection is what says that there is something to do.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use cofferdam_domain::ConnectionName;
use cofferdam_store::Batch;
use serde::{Deserialize, Serialize};

use super::actions;
use super::auth::Admin;
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;
use crate::tokens::Principal;

/// The code of the answer when deliveries wait and nobody has said what becomes of them.
pub(crate) const WAITING: &str = "deliveries-waiting";

/// A connection that is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionDeleted {
    /// Its name, which is free again.
    pub name: ConnectionName,
    /// Deliveries that waited or were under way; what is not delivered by the attempts under way becomes a dead letter.
    pub waiting: u64,
    /// Credentials that went with it.
    pub credentials: usize,
}

/// What becomes of what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing may wait: the answer is 409 otherwise.
    Refuse,
    /// It becomes dead letters.
    DeadLetter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    dead_letter: bool,
}

pub(super) async fn delete(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<ConnectionDeleted>, Problem> {
    let remains = if asked.dead_letter {
        Remains::DeadLetter
    } else {
        Remains::Refuse
    };
    deleted(&app, &caller, &name, remains).await.map(Json)
}

/// Deletes it, durably, with its credentials. An event that is being accepted at this very moment may still be owed to it:
/// that delivery becomes a dead letter too.
pub(crate) async fn deleted(
    app: &App,
    by: &Principal,
    name: &str,
    remains: Remains,
) -> Result<ConnectionDeleted, Problem> {
    let (app, by, name) = (app.clone(), by.clone(), name.to_owned());
    let change = async move { delete_named(&app, &by, &name, remains).await };
    actions::to_its_end("deleting the connection", change).await
}

async fn delete_named(app: &App, by: &Principal, name: &str, remains: Remains) -> Result<ConnectionDeleted, Problem> {
    let _changing = app.plugins.standings.changing().await;
    let connection = actions::connection(app, &by.workspace, name)?;
    let name = &connection.spec.name;
    let depth = app.queue.depth(&by.workspace, name);
    let waiting = depth.pending + depth.in_flight;
    match remains {
        Remains::Refuse if waiting > 0 => {
            let detail = format!(
                "{waiting} deliveries wait for connection {name} or are under way; let them be delivered, or delete it \
                 with dead_letter=true: what waits then becomes dead letters"
            );
            return Err(Problem::new(StatusCode::CONFLICT, WAITING, detail));
        }
        Remains::Refuse | Remains::DeadLetter => {}
    }
    let mut batch = Batch::new();
    app.plugins.standings.forget(&mut batch, &by.workspace, name);
    let credentials = app
        .vault
        .remove_all(&mut batch, &by.workspace, name, Some(&by.name), now());
    let credentials = credentials.map_err(|error| Problem::internal("deleting the credentials", &error))?;
    app.queue.forget_kept(&mut batch, &by.workspace, name);
    let deleted = app.connections.delete(&by.workspace, name, batch).await;
    deleted.map_err(actions::connection_problem)?;
    app.gate.forget(&by.workspace, name);
    app.consents.forget(&by.workspace, name);
    app.oauth2.forget(&by.workspace, name);
    tracing::info!(connection = %name, waiting, credentials, by = by.name, "connection deleted");
    Ok(ConnectionDeleted {
        name: name.clone(),
        waiting,
        credentials,
    })
}
