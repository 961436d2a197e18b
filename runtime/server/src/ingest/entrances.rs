//! Each connection's way in to the host for the requests that its connector is to read, so that nobody's webhook waits behind
//! those of another. In memory; one that is of a connection which is gone is forgotten when the next one comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cofferdam_domain::{Connection, ConnectionName, WorkspaceName};
use cofferdam_host::{Engine, Entrance};

use crate::connections::Connections;

/// One for each connection that was sent something.
#[derive(Default)]
pub(crate) struct Entrances(Mutex<HashMap<(WorkspaceName, ConnectionName), Entrance>>);

impl Entrances {
    /// The connection's.
    pub(crate) fn of(&self, connection: &Connection, engine: &Engine, connections: &Connections) -> Entrance {
        let key = (connection.workspace.clone(), connection.spec.name.clone());
        let mut entrances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entrance) = entrances.get(&key) {
            return entrance.clone();
        }
        // Each has a slot of its own, of which the engine has one for each connection.
        entrances
            .retain(|(workspace, name), entrance| entrance.is_in_use() || connections.get(workspace, name).is_some());
        entrances.entry(key).or_insert_with(|| engine.entrance()).clone()
    }

    /// Ends the instances that are kept for a connection's requests: it has changed, or is off.
    pub(crate) fn forget_kept(&self, workspace: &WorkspaceName, name: &ConnectionName, engine: &Engine) {
        let entrances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entrance) = entrances.get(&(workspace.clone(), name.clone())) {
            engine.forget_kept_of(entrance);
        }
    }
}
