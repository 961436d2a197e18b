//! Granting and refusing a version of its connector to a connection: a decision of a person, durable with who, when, and what it
//! asked for beyond what was granted before.

use std::sync::Arc;

use axum::http::StatusCode;
use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::grant::Asks;
use cofferdam_domain::{Connection, Digest, WorkspaceName};
use cofferdam_host::Connector;
use cofferdam_store::Batch;

use super::choice::difference;
use super::record::VersionRecord;
use super::{Decision, DecisionKind, Shelf, rollback};
use crate::admin::actions::{connection as named, connection_problem};
use crate::admin::check_against_connector;
use crate::app::App;
use crate::connections::Allowance;
use crate::problem::Problem;
use crate::tokens::Principal;

/// Lets a connection run this version of its connector, with all that it asks for. It ends a refusal and a quarantine of it.
pub(crate) async fn grant(app: &App, by: &Principal, name: &str, digest: Digest) -> Result<Arc<Connection>, Problem> {
    let connection = named(app, &by.workspace, name)?;
    let (shelf, version) = version(app, &connection, digest)?;
    let loaded = app.plugins.load(&connection.spec.connector, digest).await;
    let connector = loaded.map_err(|reason| {
        let detail = format!(
            "version {digest} of connector {} cannot be loaded: {reason}",
            connection.spec.connector
        );
        Problem::new(StatusCode::CONFLICT, "version-unusable", detail)
    })?;
    check_against_connector(app, &connection.spec, &connector)?;
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
            allowance(&connector, version.signer),
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

/// What applying a connection grants: the current version of its connector, with all that it asks for.
pub(crate) struct Applied {
    app: App,
    workspace: WorkspaceName,
    present: Option<Arc<Connection>>,
    allowance: Allowance,
    /// The record of who did; none if it had been granted already.
    decision: Option<Decision>,
}

impl Applied {
    pub(crate) fn of(
        app: &App,
        by: &Principal,
        present: Option<Arc<Connection>>,
        spec: &ConnectionSpec,
        connector: &Connector,
    ) -> Self {
        let digest = connector.digest;
        let catalogue = app.plugins.catalogue();
        let shelf = catalogue.get(&spec.connector);
        let version = shelf.and_then(|shelf| shelf.record.version(digest));
        let allowance = allowance(connector, version.and_then(|version| version.signer.clone()));
        let is_new = present.as_ref().is_none_or(|present| present.granted != Some(digest));
        let decision = is_new.then(|| {
            let mut decision = decided(DecisionKind::Granted, by, spec, digest);
            decision.difference = match (shelf, version, &present) {
                (Some(shelf), Some(version), Some(present)) => difference(&shelf.record, version, present),
                _ => allowance.asks.beyond(&Asks::default()),
            };
            decision.reason = Some("the connection was applied".to_owned());
            decision
        });
        Self {
            app: app.clone(),
            workspace: by.workspace.clone(),
            present,
            allowance,
            decision,
        }
    }

    /// What is granted.
    pub(crate) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }

    /// With the batch of the change: who did, and the end of a quarantine.
    pub(crate) fn tell(&mut self, batch: &mut Batch) {
        if let Some(decision) = self.decision.take() {
            self.app.plugins.decisions.add(batch, &self.workspace, decision);
        }
        if let Some(present) = &self.present {
            self.app.plugins.standings.let_go(batch, present, self.allowance.digest);
        }
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
