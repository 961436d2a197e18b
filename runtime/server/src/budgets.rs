//! Budgets of upstreams: what each connection is given of one that it shares, and how all of them stand.
//!
//! The gate counts and holds; here is only what takes every connection of a workspace to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::budget::{Limits, Standing};
use cofferdam_domain::{Connection, ConnectionName, ShareName, Timestamp, UpstreamGrant, UpstreamName, WorkspaceName};
use cofferdam_egress::BudgetKey;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::connections::Connections;

/// A budget and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// Its name, if connections share it.
    #[serde(default)]
    pub share: Option<ShareName>,
    /// Who uses it.
    pub used_by: Vec<BudgetUser>,
    /// What limits it: of all who share it the strictest of each. Without limits only the upstream's own word holds it.
    pub limits: Limits,
    /// How it stands. What nothing has used since the server's start is full.
    #[serde(flatten)]
    pub standing: Standing,
}

/// One upstream of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUser {
    /// The connection.
    pub connection: ConnectionName,
    /// The upstream, as its connector calls it.
    pub upstream: UpstreamName,
}

type Merged = BTreeMap<(WorkspaceName, ShareName), Limits>;

/// What limits each budget that is shared.
#[derive(Default)]
pub(crate) struct Shares {
    /// With the count of changes that it was made at.
    known: Mutex<Option<(u64, Arc<Merged>)>>,
}

impl Shares {
    /// The strictest of what the connections of the workspace say of this share.
    pub(crate) fn limits(&self, connections: &Connections, workspace: &WorkspaceName, share: &ShareName) -> Limits {
        let merged = self.merged(connections);
        let limits = merged.get(&(workspace.clone(), share.clone()));
        limits.copied().unwrap_or_default()
    }

    fn merged(&self, connections: &Connections) -> Arc<Merged> {
        // Read before the connections are: what is made of newer ones is made once more, and never kept too long.
        let changes = *connections.changed().borrow();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, merged)) = known.as_ref()
            && *at == changes
        {
            return Arc::clone(merged);
        }
        let merged = Arc::new(merge(&connections.all()));
        *known = Some((changes, Arc::clone(&merged)));
        merged
    }
}

fn merge(connections: &[Arc<Connection>]) -> Merged {
    let mut merged = Merged::new();
    for connection in connections {
        for grant in connection.spec.upstreams.values() {
            if let Some(share) = &grant.budget.share {
                let limits = merged.entry((connection.workspace.clone(), share.clone())).or_default();
                *limits = limits.strictest(grant.budget.limits());
            }
        }
    }
    merged
}

/// What limits this upstream of this connection.
pub(crate) fn limits(app: &App, connection: &Connection, grant: &UpstreamGrant) -> Limits {
    match &grant.budget.share {
        Some(share) => app.shares.limits(&app.connections, &connection.workspace, share),
        None => grant.budget.limits(),
    }
}

/// Every budget of the workspace: the shared ones, and one for each other upstream that is granted.
pub(crate) fn list(app: &App, workspace: &WorkspaceName) -> Vec<BudgetView> {
    let mut budgets: BTreeMap<BudgetKey, BudgetView> = BTreeMap::new();
    for connection in app.connections.of(workspace) {
        for (upstream, grant) in &connection.spec.upstreams {
            let user = BudgetUser {
                connection: connection.spec.name.clone(),
                upstream: upstream.clone(),
            };
            let budget = budgets
                .entry(key(&connection, upstream, grant))
                .or_insert_with_key(|key| view(app, &connection, grant, key));
            budget.used_by.push(user);
        }
    }
    budgets.into_values().collect()
}

/// Those that this connection uses.
pub(crate) fn of(app: &App, connection: &Connection) -> Vec<BudgetView> {
    let mut budgets = list(app, &connection.workspace);
    budgets.retain(|budget| {
        budget
            .used_by
            .iter()
            .any(|user| user.connection == connection.spec.name)
    });
    budgets
}

/// Ends what upstreams have made this connection wait for; who shares a budget with it goes on too.
pub(crate) fn release(app: &App, connection: &Connection) {
    for (upstream, grant) in &connection.spec.upstreams {
        app.gate.release_budget(&key(connection, upstream, grant));
    }
}

/// The longest time for which an upstream still holds a budget of this connection.
pub(crate) fn held(app: &App, connection: &Connection, now: Timestamp) -> Duration {
    let upstreams = connection.spec.upstreams.iter();
    let standing = upstreams.filter_map(|(upstream, grant)| app.gate.budget(&key(connection, upstream, grant)));
    let held = standing.filter_map(|standing| Some(standing.hold?.until.since(now)));
    held.max().unwrap_or_default()
}

fn key(connection: &Connection, upstream: &UpstreamName, grant: &UpstreamGrant) -> BudgetKey {
    let share = grant.budget.share.as_ref();
    BudgetKey::new(&connection.workspace, &connection.spec.name, upstream, share)
}

fn view(app: &App, connection: &Connection, grant: &UpstreamGrant, key: &BudgetKey) -> BudgetView {
    let limits = limits(app, connection, grant);
    let standing = app.gate.budget(key);
    BudgetView {
        share: grant.budget.share.clone(),
        used_by: Vec::new(),
        limits,
        standing: standing.unwrap_or_else(|| Standing::fresh(limits)),
    }
}
