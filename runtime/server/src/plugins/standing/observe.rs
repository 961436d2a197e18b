//! What an attempt says about the version that it ran.

use std::sync::Arc;

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::Failure;
use cofferdam_domain::limits::one_line;
use cofferdam_domain::retry::{DRAINED, POISON};
use cofferdam_domain::{Connection, Digest, FailureClass, FaultKind};
use cofferdam_store::Batch;

use super::super::choice::fallback;
use super::super::decisions::{Decision, DecisionKind, THE_HOST};
use super::super::record::REASON_BYTES_MAX;
use super::{Quarantined, Run, SPARED_MAX, named};
use crate::app::App;
use crate::clock::now;
use crate::problem::chain;

/// How an attempt ended, as far as the version goes that it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It delivered.
    Well,
    /// It broke the contract.
    Fault(String),
    /// It says nothing about the version.
    Otherwise,
}

impl Ended {
    /// Of an attempt that was settled.
    pub(crate) fn of(end: &AttemptEnd) -> Self {
        match &end.failure {
            None => Self::Well,
            Some(failure) => Self::failed(failure),
        }
    }

    /// Of a call that failed.
    pub(crate) fn failed(failure: &Failure) -> Self {
        if Self::is_fault(failure) {
            let code = failure.code.as_deref().unwrap_or_default();
            Self::Fault(format!("{code}: {}", failure.message))
        } else {
            Self::Otherwise
        }
    }

    /// Whether the version broke the contract. That the process ended, or the connector was not there, is not its doing.
    pub(crate) fn is_fault(failure: &Failure) -> bool {
        let code = failure.code.as_deref().unwrap_or_default();
        let is_ours = [POISON, DRAINED, FaultKind::NotRunnable.code()].contains(&code);
        failure.class == FailureClass::ConnectorFault && !is_ours
    }
}

/// Whether a fault of this version is not charged to the delivery that it happens to: nobody has seen it deliver for this
/// connection, and there is another one that has.
pub(crate) fn spares(app: &App, connection: &Connection, digest: Digest) -> bool {
    let standings = &app.plugins.standings;
    let standing = standings.of(connection);
    if standing.good.is_empty() || standing.good.contains(&digest) || falls_back(app, connection, digest).is_none() {
        return false;
    }
    let spared = standings.runs().get(&named(connection)).map_or(0, |run| run.spared);
    spared < SPARED_MAX
}

/// Takes note of an attempt that was settled, and puts its version in quarantine when the rule says so.
pub(crate) async fn observe(app: &App, connection: &Connection, digest: Digest, ended: Ended) {
    match ended {
        Ended::Well => well(app, connection, digest).await,
        Ended::Otherwise => {
            if let Some(run) = app.plugins.standings.runs().get_mut(&named(connection)) {
                run.faults = 0;
            }
        }
        Ended::Fault(reason) => {
            let faults = count(app, connection, digest);
            if faults >= app.plugins.config.quarantine_faults && falls_back(app, connection, digest).is_some() {
                let (app, connection) = (app.clone(), connection.clone());
                let reason = one_line(&reason, REASON_BYTES_MAX);
                // A task of its own: the sender of a request may hang up half-way.
                let put = tokio::spawn(async move { quarantine(&app, &connection, digest, reason).await });
                if let Err(error) = put.await {
                    tracing::error!(error = chain(&error), "putting a version in quarantine broke down");
                }
            }
        }
    }
}

fn falls_back(app: &App, connection: &Connection, from: Digest) -> Option<Digest> {
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(&connection.spec.connector)?;
    let standing = app.plugins.standings.of(connection);
    fallback(&shelf.record, connection, &standing, app.plugins.config.updates, from)
}

/// Faults in a row of this version, as far as nothing has ended the row since.
fn faults_of(app: &App, connection: &Connection, digest: Digest) -> u32 {
    let runs = app.plugins.standings.runs();
    let run = runs.get(&named(connection)).filter(|run| run.of == digest);
    run.map_or(0, |run| run.faults)
}

/// Faults in a row, this one included.
fn count(app: &App, connection: &Connection, digest: Digest) -> u32 {
    let mut runs = app.plugins.standings.runs();
    let fresh = Run {
        of: digest,
        faults: 0,
        spared: 0,
    };
    let run = runs.entry(named(connection)).or_insert(fresh);
    if run.of != digest {
        *run = fresh;
    }
    run.faults = run.faults.saturating_add(1);
    run.spared = run.spared.saturating_add(1);
    run.faults
}

async fn well(app: &App, connection: &Connection, digest: Digest) {
    let standings = &app.plugins.standings;
    if let Some(run) = standings.runs().get_mut(&named(connection)) {
        run.faults = 0;
    }
    if standings.of(connection).good.first() == Some(&digest) {
        return;
    }
    // An attempt that began before a switch says nothing about who is the latest.
    let runs = app.plugins.running(connection);
    if !runs.is_ok_and(|running| running.digest == digest) {
        return;
    }
    let changing = standings.changing().await;
    if app
        .connections
        .get(&connection.workspace, &connection.spec.name)
        .is_none()
    {
        return;
    }
    let mut batch = Batch::new();
    standings.put(
        &mut batch,
        named(connection),
        standings.of(connection).with_good(digest),
    );
    // Held by the batch, which goes on when the one who waits for it has gone.
    batch.then(move || drop(changing));
    if let Err(error) = app.store.commit(batch).await {
        tracing::warn!(
            error = chain(&error),
            "that a version has delivered could not be noted; the next delivery notes it"
        );
    }
}

/// What the rule said is asked again once nobody else changes anything: a grant may have ended the row, and a refusal or another
/// file may have taken away what there was to fall back on.
async fn quarantine(app: &App, connection: &Connection, digest: Digest, reason: String) {
    let standings = &app.plugins.standings;
    let _changing = standings.changing().await;
    let standing = standings.of(connection);
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let Some(present) = app.connections.get(workspace, name) else {
        return;
    };
    let faults = faults_of(app, &present, digest);
    if standing.is_quarantined(digest)
        || faults < app.plugins.config.quarantine_faults
        || present.spec.connector != connection.spec.connector
    {
        return;
    }
    let Some(instead) = falls_back(app, &present, digest) else {
        return;
    };
    let mut batch = Batch::new();
    let mut decision = Decision::new(DecisionKind::Quarantined, THE_HOST, &connection.spec.connector);
    decision.connection = Some(name.clone());
    decision.digest = Some(digest);
    decision.reason = Some(format!("{faults} faults in a row; the last: {reason}"));
    app.plugins.decisions.add(&mut batch, workspace, decision);
    let quarantined = Quarantined {
        digest,
        at: now(),
        faults,
        reason: reason.clone(),
        instead,
    };
    let is_granted = |digest: Digest| present.granted == Some(digest) || present.grant.earlier.contains(&digest);
    let next = standing.with_quarantined(quarantined, is_granted);
    // The next attempt begins before this is durable.
    standings.show(named(connection), Arc::new(next.clone()));
    standings.put(&mut batch, named(connection), next);
    match app.store.commit(batch).await {
        Ok(()) => {
            standings.runs().remove(&named(connection));
            app.metrics.quarantined.inc();
            tracing::warn!(
                connection = %name,
                digest = digest.short(),
                instead = instead.short(),
                faults,
                reason,
                "a version keeps faulting and is in quarantine for this connection; the last good one runs"
            );
            app.connections.wake();
        }
        Err(error) => {
            standings.show(named(connection), standing);
            tracing::error!(error = chain(&error), "a version could not be put in quarantine");
        }
    }
}
