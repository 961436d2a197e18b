//! Going back to an earlier version of a connector, and letting go of that.

use std::sync::Arc;

use axum::http::StatusCode;
use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::Connector;
use tokio::sync::oneshot;

use super::{Command, Decision, DecisionKind, NotDone};
use crate::app::App;
use crate::problem::Problem;
use crate::tokens::Principal;

/// Has a connector run an earlier version: this one, or else the one before the current. It is loaded first, so the switch is one
/// moment. It holds until another file is dropped than the one that it was rolled back from, or somebody lets go.
pub(crate) async fn roll_back(
    app: &App,
    by: &Principal,
    name: &str,
    digest: Option<Digest>,
) -> Result<ConnectorName, Problem> {
    let name = named(app, name)?;
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(&name).ok_or_else(|| unknown(name.as_str()))?;
    let to = match digest {
        Some(digest) => digest,
        None => shelf.record.before().ok_or_else(|| {
            let detail = format!("connector {name} has no version before the current one; see which are kept with `cofferdam plugin versions {name}`");
            Problem::new(StatusCode::CONFLICT, "no-earlier-version", detail)
        })?,
    };
    if shelf.record.version(to).is_none() {
        return Err(not_kept(&name, to));
    }
    let before = shelf.record.current();
    let loaded = app.plugins.load(&name, to).await;
    let loaded = loaded.map_err(|reason| {
        let detail = format!("version {to} of connector {name} cannot be loaded: {reason}");
        Problem::new(StatusCode::CONFLICT, "version-unusable", detail)
    })?;
    let mut decision = Decision::new(DecisionKind::RolledBack, &by.name, &name);
    decision.digest = Some(to);
    decision.reason = before.map(|before| format!("instead of {before}"));
    hold(app, by, &name, Some(loaded), decision).await?;
    tracing::info!(%name, digest = to.short(), by = by.name, "connector rolled back");
    Ok(name)
}

/// Ends a rollback: what the file holds runs again.
pub(crate) async fn release(app: &App, by: &Principal, name: &str) -> Result<ConnectorName, Problem> {
    let name = named(app, name)?;
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(&name).ok_or_else(|| unknown(name.as_str()))?;
    if shelf.record.held.is_none() {
        return Ok(name);
    }
    let mut decision = Decision::new(DecisionKind::Released, &by.name, &name);
    decision.digest = shelf.record.offered;
    hold(app, by, &name, None, decision).await?;
    tracing::info!(%name, by = by.name, "rollback of a connector ended");
    Ok(name)
}

async fn hold(
    app: &App,
    by: &Principal,
    name: &ConnectorName,
    to: Option<Arc<Connector>>,
    decision: Decision,
) -> Result<(), Problem> {
    let (answer, answered) = oneshot::channel();
    let digest = to.as_ref().map(|to| to.digest);
    let command = Command::Hold {
        name: name.clone(),
        to,
        workspace: by.workspace.clone(),
        decision: Box::new(decision),
        answer,
    };
    let done = match app.plugins.commands.send(command).await {
        Ok(()) => answered.await.unwrap_or(Err(NotDone::Stopping)),
        Err(_closed) => Err(NotDone::Stopping),
    };
    done.map_err(|not_done| match not_done {
        NotDone::Unknown => unknown(name.as_str()),
        NotDone::NotKept => not_kept(name, digest.unwrap_or_else(|| Digest::of(&[]))),
        NotDone::NotDurable => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store-failed",
            "the change could not be made durable; the log says why".to_owned(),
        ),
        NotDone::Stopping => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the server is stopping".to_owned(),
        ),
    })
}

/// A connector that is there, or was.
pub(crate) fn named(app: &App, name: &str) -> Result<ConnectorName, Problem> {
    let parsed: ConnectorName = name.parse().map_err(|_| unknown(name))?;
    let is_known = app.plugins.catalogue().get(&parsed).is_some();
    is_known.then_some(parsed).ok_or_else(|| unknown(name))
}

pub(crate) fn not_kept(name: &ConnectorName, digest: Digest) -> Problem {
    Problem::not_found(format_args!("version {digest} of connector {name}"))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format_args!("connector {name}"))
}
