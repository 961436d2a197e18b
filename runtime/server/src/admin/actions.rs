//! What a person may do, the same for the API and the panel: who did it is logged here, once.

use std::sync::Arc;

use axum::http::StatusCode;
use cofferdam_domain::{Connection, ConnectionName, DeliveryId, DeliveryState, WorkspaceName};
use cofferdam_queue::{Queue, ReplayError};
use tracing::Instrument as _;

use crate::app::App;
use crate::budgets;
use crate::clock::steady;
use crate::connections::ConnectionError;
use crate::problem::Problem;
use crate::tokens::Principal;

/// The code of the answer to a replay or discard of what is not dead, or no longer.
pub(crate) const NOT_DEAD: &str = "not-dead";

/// A connection of the workspace.
pub(crate) fn connection(app: &App, workspace: &WorkspaceName, name: &str) -> Result<Arc<Connection>, Problem> {
    let missing = || Problem::not_found(format_args!("connection {name}"));
    let parsed: ConnectionName = name.parse().map_err(|_| missing())?;
    app.connections.get(workspace, &parsed).ok_or_else(missing)
}

/// Runs a change to its end, also when the caller hangs up half-way: what it holds while its batch is being committed, so that
/// no other change overtakes it, it holds until then, and what follows from the commit is done.
pub(crate) async fn to_its_end<T: Send + 'static>(
    operation: &'static str,
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change.in_current_span()).await {
        Ok(done) => done,
        Err(error) => Err(Problem::internal(operation, &error)),
    }
}

/// Turns a connection on or off.
pub(crate) async fn toggle(app: &App, by: &Principal, name: &str, enabled: bool) -> Result<Arc<Connection>, Problem> {
    let present = connection(app, &by.workspace, name)?;
    let changed = app
        .connections
        .set_enabled(&by.workspace, &present.spec.name, enabled)
        .await;
    let changed = changed.map_err(connection_problem)?;
    tracing::info!(connection = name, enabled, by = by.name, "connection toggled");
    Ok(changed)
}

/// Clears park, back-off, breaker, flag, and what upstreams have made its budgets wait for: what waits is tried now.
pub(crate) async fn release(app: &App, by: &Principal, name: &str) -> Result<Arc<Connection>, Problem> {
    let connection = connection(app, &by.workspace, name)?;
    let released = app
        .queue
        .release_lane(&by.workspace, &connection.spec.name, steady())
        .await;
    released.map_err(|error| Problem::internal("releasing the lane", &error))?;
    // Else the next request would only put the wait back.
    budgets::release(app, &connection);
    tracing::info!(connection = name, by = by.name, "lane released");
    Ok(connection)
}

/// The answer to a replay for a connection that no longer exists.
pub(crate) fn connection_gone(name: &ConnectionName) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "connection-gone",
        format!("connection {name} no longer exists; apply one of that name, and then replay to it"),
    )
}

/// Begins a new series of attempts for a dead letter, under the same correlation id and idempotency key. Refused when its
/// connection is gone: it would only wait to become a dead letter again.
pub(crate) async fn replay(app: &App, by: &Principal, id: DeliveryId) -> Result<(), Problem> {
    let letter = app.queue.delivery(&by.workspace, id);
    let letter = letter.map_err(|error| Problem::internal("reading the dead letter", &error))?;
    if let Some(letter) = letter.filter(|letter| matches!(letter.state, DeliveryState::Dead { .. }))
        && app.connections.get(&by.workspace, &letter.connection).is_none()
    {
        return Err(connection_gone(&letter.connection));
    }
    app.queue
        .replay(&by.workspace, id, steady(), &by.name)
        .await
        .map_err(|error| replay_problem(&error))
}

/// Gives a dead letter up.
pub(crate) async fn discard(app: &App, by: &Principal, id: DeliveryId) -> Result<(), Problem> {
    app.queue
        .discard(&by.workspace, id, steady(), &by.name)
        .await
        .map_err(|error| replay_problem(&error))
}

pub(crate) fn connection_problem(error: ConnectionError) -> Problem {
    match error {
        ConnectionError::Unknown(name) => Problem::not_found(format_args!("connection {name}")),
        ConnectionError::Filter(_) => Problem::new(StatusCode::BAD_REQUEST, "bad-connection", error.to_string()),
        ConnectionError::Full => Problem::new(StatusCode::CONFLICT, "too-many-connections", error.to_string()),
        ConnectionError::Record(_) | ConnectionError::Store(_) | ConnectionError::Commit(_) => {
            Problem::internal("changing the connection", &error)
        }
    }
}

/// 404 for one that is not there, 409 for one that is not dead.
fn replay_problem(error: &ReplayError) -> Problem {
    match error {
        ReplayError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not-found", error.to_string()),
        ReplayError::NotDead { .. } => Problem::new(StatusCode::CONFLICT, NOT_DEAD, error.to_string()),
        ReplayError::Queue(_) => Problem::internal("changing the dead letter", error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_goes_on_to_its_end_when_its_caller_hangs_up() {
        let (go_on, told) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let change = to_its_end("changing", async move {
            told.await.unwrap();
            done.send(()).unwrap();
            Ok(())
        });
        tokio::select! {
            biased;
            _ = change => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
        go_on.send(()).unwrap();
        ended.await.unwrap();
    }
}
