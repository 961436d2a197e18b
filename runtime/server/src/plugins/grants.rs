//! Granting and refusing a version of its connector to a connection: a decision of a person, durable with who, when, and what it
//! asked for beyond what was granted before.
//!
//! Each holds [`super::Standings::changing`] from the reading to the commit, also when who asked for it hangs up, so that no refusal,
//! quarantine or deletion that comes in between is undone by it.

use std::sync::Arc;

use axum::http::StatusCode;
use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::grant::{Asks, Grant};
use cofferdam_domain::{Connection, Digest, WorkspaceName};
use cofferdam_host::Connector;
use cofferdam_store::Batch;

use super::choice::{choose, difference, may};
use super::record::VersionRecord;
use super::standing::Standing;
use super::{Decision, DecisionKind, Shelf, rollback};
use crate::admin::actions::{connection as named, connection_problem, to_its_end};
use crate::admin::check_against_connector;
use crate::app::App;
use crate::connections::{Allowance, Granted};
use crate::problem::Problem;
use crate::tokens::Principal;

/// Lets a connection run this version of its connector, with all that it asks for. It ends a refusal and a quarantine of it.
pub(crate) async fn grant(app: &App, by: &Principal, name: &str, digest: Digest) -> Result<Arc<Connection>, Problem> {
    let connection = named(app, &by.workspace, name)?;
    version(app, &connection, digest)?;
    // Before anything is held: it may have to be compiled.
    let loaded = app.plugins.load(&connection.spec.connector, digest).await;
    let connector = loaded.map_err(|reason| {
        let detail = format!(
            "version {digest} of connector {} cannot be loaded: {reason}",
            connection.spec.connector
        );
        Problem::new(StatusCode::CONFLICT, "version-unusable", detail)
    })?;
    let (app, by, name) = (app.clone(), by.clone(), name.to_owned());
    let change = async move { grant_loaded(&app, &by, &name, &connector).await };
    to_its_end("granting the version", change).await
}

async fn grant_loaded(
    app: &App,
    by: &Principal,
    name: &str,
    connector: &Connector,
) -> Result<Arc<Connection>, Problem> {
    let digest = connector.digest;
    let _changing = app.plugins.standings.changing().await;
    let connection = named(app, &by.workspace, name)?;
    let (shelf, version) = version(app, &connection, digest)?;
    check_against_connector(app, &connection.spec, connector)?;
    let mut batch = Batch::new();
    let mut decision = decided(DecisionKind::Granted, by, &connection.spec, digest);
    decision.difference = difference(&shelf.record, &version, &connection);
    app.plugins.decisions.add(&mut batch, &by.workspace, decision);
    app.plugins.standings.let_go(&mut batch, &connection, digest);
    let changed = app
        .connections
        .grant(
            &by.workspace,
            &connection.spec.name,
            allowance(connector, version.signer),
            batch,
        )
        .await
        .map_err(connection_problem)?;
    tracing::info!(
        connection = name,
        digest = digest.short(),
        by = by.name,
        "version granted"
    );
    Ok(changed)
}

/// Does not let a connection run this version, however little it asks for, until it is granted.
pub(crate) async fn refuse(
    app: &App,
    by: &Principal,
    name: &str,
    digest: Digest,
    reason: Option<String>,
) -> Result<Arc<Connection>, Problem> {
    let (app, by, name) = (app.clone(), by.clone(), name.to_owned());
    let change = async move { refuse_kept(&app, &by, &name, digest, reason).await };
    to_its_end("refusing the version", change).await
}

async fn refuse_kept(
    app: &App,
    by: &Principal,
    name: &str,
    digest: Digest,
    reason: Option<String>,
) -> Result<Arc<Connection>, Problem> {
    let _changing = app.plugins.standings.changing().await;
    let connection = named(app, &by.workspace, name)?;
    let (shelf, version) = version(app, &connection, digest)?;
    let mut batch = Batch::new();
    let mut decision = decided(DecisionKind::Refused, by, &connection.spec, digest);
    decision.difference = difference(&shelf.record, &version, &connection);
    decision.reason = reason;
    app.plugins.decisions.add(&mut batch, &by.workspace, decision);
    let changed = app
        .connections
        .refuse(&by.workspace, &connection.spec.name, digest, batch)
        .await
        .map_err(connection_problem)?;
    tracing::info!(
        connection = name,
        digest = digest.short(),
        by = by.name,
        "version refused"
    );
    Ok(changed)
}

/// What applying a connection's file means for its grant.
///
/// The file of a new connection grants the current version of its connector, with all that it asks for: that is what was looked
/// at. So does one of which no version of this connector was granted yet. Otherwise a file that has changed grants the current
/// version only if that may run already. What waits for a person, was refused or is in quarantine stays so, and no file that is
/// applied again, by whatever program, ends it.
pub(crate) struct Applied {
    app: App,
    workspace: WorkspaceName,
    granted: Granted,
    /// What runs by that: what the file has to fit.
    runs: Arc<Connector>,
    /// The record of who did; none if no other version is granted with it.
    decision: Option<Decision>,
}

impl Applied {
    /// Of this file, while [`super::Standings::changing`] is held.
    pub(crate) fn of(
        app: &App,
        by: &Principal,
        present: Option<&Connection>,
        spec: &ConnectionSpec,
        current: Arc<Connector>,
    ) -> Self {
        let catalogue = app.plugins.catalogue();
        let shelf = catalogue.get(&spec.connector);
        let version = shelf.and_then(|shelf| shelf.record.version(current.digest));
        let allowance = allowance(&current, version.and_then(|version| version.signer.clone()));
        let standing = present.map(|present| app.plugins.standings.of(present));
        let standing = standing.unwrap_or_default();
        let updates = app.plugins.config.updates;
        let file = File { present, spec };
        let mut granted = file.granted(&allowance, &standing, |candidate| {
            let (shelf, version) = (shelf?, version?);
            may(&shelf.record, version, candidate, &standing, updates).ok()
        });
        if file.changes_what_it_allows() {
            let asks = |digest| {
                let shelf = shelf.filter(|_| file.is_of_the_same_connector())?;
                Some(shelf.record.version(digest)?.asks.clone())
            };
            granted.grant = granted.grant.narrowed(asks);
        }
        let is_other = granted.digest != present.and_then(|present| present.granted);
        let decision = granted.digest.filter(|_| is_other).map(|digest| {
            let mut decision = decided(DecisionKind::Granted, by, spec, digest);
            decision.difference = match (shelf, version, present) {
                (Some(shelf), Some(version), Some(present)) if file.is_of_the_same_connector() => {
                    difference(&shelf.record, version, present)
                }
                _ => allowance.asks.beyond(&Asks::default()),
            };
            decision.reason = Some("the connection was applied".to_owned());
            decision
        });
        let runs = shelf.zip(file.candidate(&granted)).and_then(|(shelf, candidate)| {
            let runs = choose(&shelf.record, &candidate, &standing, updates).runs?;
            shelf.connector(runs).cloned()
        });
        Self {
            app: app.clone(),
            workspace: by.workspace.clone(),
            granted,
            runs: runs.unwrap_or(current),
            decision,
        }
    }

    /// What is granted with it.
    pub(crate) fn granted(&self) -> Granted {
        self.granted.clone()
    }

    /// The version that the file has to fit: what runs with it, or the current one if none does.
    pub(crate) fn runs(&self) -> &Connector {
        &self.runs
    }

    /// With the batch of the change: who did.
    pub(crate) fn tell(&mut self, batch: &mut Batch) {
        if let Some(decision) = self.decision.take() {
            self.app.plugins.decisions.add(batch, &self.workspace, decision);
        }
    }
}

/// A connection's file, and the connection that it is of; none if that is new.
struct File<'a> {
    present: Option<&'a Connection>,
    spec: &'a ConnectionSpec,
}

impl File<'_> {
    fn is_of_the_same_connector(&self) -> bool {
        self.present
            .is_some_and(|present| present.spec.connector == self.spec.connector)
    }

    /// Whether it leaves to the code that runs anything else than before.
    fn changes_what_it_allows(&self) -> bool {
        let spec = self.spec;
        self.present.is_some_and(|present| {
            let before = &present.spec;
            before.connector != spec.connector
                || before.upstreams != spec.upstreams
                || before.state != spec.state
                || before.poll != spec.poll
                || before.inbound != spec.inbound
        })
    }

    /// The connection as it is to be; none of a new one, for which nothing was decided yet.
    fn candidate(&self, granted: &Granted) -> Option<Connection> {
        Some(Connection {
            spec: self.spec.clone(),
            granted: granted.digest,
            grant: granted.grant.clone(),
            ..self.present?.clone()
        })
    }

    /// What is granted once it is applied, if this is the current version, and that may run already of which `may` says so.
    fn granted(
        &self,
        current: &Allowance,
        standing: &Standing,
        may: impl FnOnce(&Connection) -> Option<()>,
    ) -> Granted {
        let Some(present) = self.present else {
            return Granted::default().with(current.clone());
        };
        let before = Granted::of(present);
        if before.digest.is_none() || !self.is_of_the_same_connector() {
            let is_refused = before.grant.refused.contains(&current.digest);
            return if !is_refused && !standing.is_quarantined(current.digest) {
                by_file(before, current)
            } else if self.is_of_the_same_connector() {
                before
            } else {
                of_another_connector(before)
            };
        }
        if before.digest == Some(current.digest) {
            // What was kept of it stays: a signature that has gone since is no reason to take unsigned updates.
            let kept = before.grant;
            let grant = Grant {
                asks: kept.asks.or_else(|| Some(current.asks.clone())),
                signer: kept.signer.or_else(|| current.signer.clone()),
                ..kept
            };
            return Granted { grant, ..before };
        }
        let is_changed = present.spec != *self.spec;
        let may_run = is_changed
            && self
                .candidate(&before)
                .is_some_and(|candidate| may(&candidate).is_some());
        if !may_run {
            return before;
        }
        by_file(before, current)
    }
}

/// After this version was granted by a file. That there were more refusals than are remembered is ended by somebody who grants a
/// version, and not by a file.
fn by_file(before: Granted, current: &Allowance) -> Granted {
    let only_granted = before.grant.only_granted;
    let mut granted = before.with(current.clone());
    granted.grant.only_granted = only_granted;
    granted
}

/// What is left of it once the connection's file names another connector: what was granted says nothing about that one's versions,
/// and what was refused stays refused.
fn of_another_connector(before: Granted) -> Granted {
    Granted {
        digest: None,
        grant: Grant {
            refused: before.grant.refused,
            only_granted: before.grant.only_granted,
            ..Grant::default()
        },
    }
}

/// A decision about a version for one connection.
fn decided(kind: DecisionKind, by: &Principal, spec: &ConnectionSpec, digest: Digest) -> Decision {
    let mut decision = Decision::new(kind, &by.name, &spec.connector);
    decision.connection = Some(spec.name.clone());
    decision.digest = Some(digest);
    decision
}

fn allowance(connector: &Connector, signer: Option<String>) -> Allowance {
    Allowance {
        digest: connector.digest,
        asks: Asks::of(&connector.descriptor),
        signer,
    }
}

fn version(app: &App, connection: &Connection, digest: Digest) -> Result<(Shelf, VersionRecord), Problem> {
    let name = &connection.spec.connector;
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(name);
    let version = shelf.and_then(|shelf| Some((shelf.clone(), shelf.record.version(digest)?.clone())));
    version.ok_or_else(|| rollback::not_kept(name, digest))
}

#[cfg(test)]
mod tests;
