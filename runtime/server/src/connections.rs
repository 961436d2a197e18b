//! Connections: durable in the store, read from memory.
//!
//! A change is durable before it is visible. Lanes are told by [`Connections::changed`].

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cofferdam_domain::connection::{Connection, ConnectionSpec};
use cofferdam_domain::grant::{Asks, Grant};
use cofferdam_domain::{ConnectionName, Digest, WorkspaceName};
use cofferdam_store::{Batch, CommitError, Key, Keyspace, Scan, Store, StoreError};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::clock::now;
use crate::schedule::turn::Followed;
use crate::subscriptions::{Filter, FilterFault};

/// Most connections of one server.
///
/// One event may be owed to all of them, so this is the queue's own bound on a fan-out.
pub const CONNECTIONS_MAX: usize = cofferdam_queue::FAN_OUT_MAX;

/// A connection and its filter, compiled.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The connection.
    pub connection: Arc<Connection>,
    /// None if it has none, or if this version cannot compile it: see [`Connections::open`].
    pub filter: Option<Arc<Filter>>,
    /// What its lane follows of its schedule.
    pub(crate) followed: Arc<Followed>,
}

/// A version of a connector, and what is granted with it.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Which.
    pub digest: Digest,
    /// What it asks for.
    pub asks: Asks,
    /// The trusted key that has signed it.
    pub signer: Option<String>,
}

/// What a connection is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The version that was granted last.
    pub digest: Option<Digest>,
    /// What was granted with it, and what else was decided.
    pub grant: Grant,
}

impl Granted {
    /// What a connection is granted now.
    pub fn of(connection: &Connection) -> Self {
        Self {
            digest: connection.granted,
            grant: connection.grant.clone(),
        }
    }

    /// After this version was granted.
    #[must_use]
    pub fn with(self, allowed: Allowance) -> Self {
        let Allowance { digest, asks, signer } = allowed;
        Self {
            grant: self.grant.granting(digest, self.digest, asks, signer),
            digest: Some(digest),
        }
    }

    /// After this version was refused.
    #[must_use]
    pub fn without(self, refused: Digest) -> Self {
        Self {
            grant: self.grant.refusing(refused, self.digest),
            ..self
        }
    }
}

type Named = BTreeMap<(WorkspaceName, ConnectionName), Subscriber>;

/// Every connection of every workspace.
pub struct Connections {
    store: Store,
    visible: Arc<Visible>,
    /// Held while a change is made durable, so that two changes cannot overtake each other. The change itself holds it, not who
    /// asked for it, for it goes on when the caller has gone.
    changing: Arc<Mutex<()>>,
}

/// What everybody sees. It changes with the commit itself: a caller that hangs up leaves no connection that is one thing on
/// disk and another in memory.
struct Visible {
    named: RwLock<Arc<Named>>,
    changed: watch::Sender<u64>,
}

impl Visible {
    fn change(&self, change: impl FnOnce(&mut Named)) {
        {
            let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
            let mut next = Named::clone(&named);
            change(&mut next);
            *named = Arc::new(next);
        }
        self.changed.send_modify(|count| *count += 1);
    }
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No such connection.
    #[error("no connection {0}")]
    Unknown(ConnectionName),
    /// The server is full.
    #[error("there are {CONNECTIONS_MAX} connections already")]
    Full,
    /// Its filter cannot be compiled.
    #[error("filter: {0}")]
    Filter(#[from] FilterFault),
    /// A stored connection cannot be read.
    #[error("a stored connection cannot be read")]
    Record(#[from] serde_json::Error),
    /// The store fails.
    #[error("connections cannot be read")]
    Store(#[from] StoreError),
    /// The store fails.
    #[error("the change could not be made durable")]
    Commit(#[from] CommitError),
}

impl Connections {
    /// Reads all of them.
    ///
    /// A filter that cannot be compiled any more, since it was stored by another version, is logged and left away: what it
    /// would have held back is delivered, and nothing is lost by an upgrade.
    pub fn open(store: Store) -> Result<Self, ConnectionError> {
        let mut named = Named::new();
        for (_, value) in store.scan(&Scan::prefix(Key::of(Keyspace::Connection), CONNECTIONS_MAX))? {
            let connection: Connection = serde_json::from_slice(&value)?;
            named.insert(
                (connection.workspace.clone(), connection.spec.name.clone()),
                Subscriber {
                    filter: stored_filter(&connection),
                    connection: Arc::new(connection),
                    followed: Arc::default(),
                },
            );
        }
        Ok(Self {
            store,
            visible: Arc::new(Visible {
                named: RwLock::new(Arc::new(named)),
                changed: watch::channel(0).0,
            }),
            changing: Arc::default(),
        })
    }

    fn snapshot(&self) -> Arc<Named> {
        Arc::clone(&self.visible.named.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says when any connection has changed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.visible.changed.subscribe()
    }

    /// Has everybody look who waits for a change of connections: something else has changed that decides who runs.
    pub(crate) fn wake(&self) {
        self.visible.changed.send_modify(|count| *count += 1);
    }

    /// One connection.
    pub fn get(&self, workspace: &WorkspaceName, name: &ConnectionName) -> Option<Arc<Connection>> {
        let named = self.snapshot();
        let subscriber = named.get(&(workspace.clone(), name.clone()));
        subscriber.map(|subscriber| Arc::clone(&subscriber.connection))
    }

    /// What the lane of a connection follows of its schedule.
    pub(crate) fn followed(&self, workspace: &WorkspaceName, name: &ConnectionName) -> Option<Arc<Followed>> {
        let named = self.snapshot();
        let subscriber = named.get(&(workspace.clone(), name.clone()));
        subscriber.map(|subscriber| Arc::clone(&subscriber.followed))
    }

    /// Those of a workspace, by name.
    pub fn of(&self, workspace: &WorkspaceName) -> Vec<Arc<Connection>> {
        self.snapshot()
            .values()
            .map(|subscriber| &subscriber.connection)
            .filter(|connection| connection.workspace == *workspace)
            .cloned()
            .collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let named = self.snapshot();
        named
            .values()
            .map(|subscriber| Arc::clone(&subscriber.connection))
            .collect()
    }

    /// Who may be owed an event of this type; a filter has the last word. A disabled connection is owed too: its deliveries
    /// wait.
    pub fn subscribed(&self, workspace: &WorkspaceName, kind: &str) -> Vec<Subscriber> {
        self.snapshot()
            .values()
            .filter(|Subscriber { connection, .. }| connection.workspace == *workspace && connection.spec.wants(kind))
            .cloned()
            .collect()
    }

    /// Creates or replaces, with this granted; a new connection is enabled, and `fresh` goes with its first record. `tell` adds
    /// what is to be durable with the change, if there is one. The new spec applies from the next attempt on.
    pub async fn apply(
        &self,
        workspace: &WorkspaceName,
        spec: ConnectionSpec,
        granted: Granted,
        fresh: Batch,
        tell: impl FnOnce(&mut Batch),
    ) -> Result<Arc<Connection>, ConnectionError> {
        let changing = self.changing().await;
        let present = self.get(workspace, &spec.name);
        if present.is_none() && self.snapshot().len() >= CONNECTIONS_MAX {
            return Err(ConnectionError::Full);
        }
        let Granted { digest: granted, grant } = granted;
        if let Some(same) = present
            .as_ref()
            .filter(|present| present.spec == spec && present.granted == granted && present.grant == grant)
        {
            return Ok(Arc::clone(same));
        }
        let filter = self.compiled(workspace, &spec).await?;
        let mut batch = if present.is_none() { fresh } else { Batch::new() };
        tell(&mut batch);
        let connection = Connection {
            workspace: workspace.clone(),
            granted,
            grant,
            enabled: present.as_ref().is_none_or(|present| present.enabled),
            revision: present.map_or(1, |present| present.revision + 1),
            updated_at: now(),
            spec,
        };
        self.keep(connection, filter, batch, changing).await
    }

    /// Grants a version of its connector, together with what the batch holds.
    pub async fn grant(
        &self,
        workspace: &WorkspaceName,
        name: &ConnectionName,
        allowed: Allowance,
        batch: Batch,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let decide = |present: Granted| present.with(allowed);
        self.decide(workspace, name, decide, batch).await
    }

    /// Refuses a version of its connector, together with what the batch holds.
    pub async fn refuse(
        &self,
        workspace: &WorkspaceName,
        name: &ConnectionName,
        digest: Digest,
        batch: Batch,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let decide = |present: Granted| present.without(digest);
        self.decide(workspace, name, decide, batch).await
    }

    async fn decide(
        &self,
        workspace: &WorkspaceName,
        name: &ConnectionName,
        decide: impl FnOnce(Granted) -> Granted,
        batch: Batch,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let changing = self.changing().await;
        let present = self
            .get(workspace, name)
            .ok_or_else(|| ConnectionError::Unknown(name.clone()))?;
        let Granted { digest: granted, grant } = decide(Granted::of(&present));
        let connection = Connection {
            granted,
            grant,
            revision: present.revision + 1,
            updated_at: now(),
            ..(*present).clone()
        };
        let filter = self.filter_of(workspace, name);
        self.keep(connection, filter, batch, changing).await
    }

    /// Turns a connection on or off. Off, its deliveries wait, uncharged, and its hook answers 503.
    pub async fn set_enabled(
        &self,
        workspace: &WorkspaceName,
        name: &ConnectionName,
        enabled: bool,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let changing = self.changing().await;
        let present = self
            .get(workspace, name)
            .ok_or_else(|| ConnectionError::Unknown(name.clone()))?;
        if present.enabled == enabled {
            return Ok(present);
        }
        let filter = self.filter_of(workspace, name);
        let connection = Connection {
            enabled,
            updated_at: now(),
            ..(*present).clone()
        };
        self.keep(connection, filter, Batch::new(), changing).await
    }

    /// Takes a connection away, durably, together with what `batch` holds. From then on it is owed nothing, and its lane
    /// takes nothing more.
    pub async fn delete(
        &self,
        workspace: &WorkspaceName,
        name: &ConnectionName,
        mut batch: Batch,
    ) -> Result<(), ConnectionError> {
        let changing = self.changing().await;
        if self.get(workspace, name).is_none() {
            return Err(ConnectionError::Unknown(name.clone()));
        }
        let (visible, named) = (Arc::clone(&self.visible), (workspace.clone(), name.clone()));
        batch.delete(key(workspace, name)).then(move || {
            visible.change(|next| {
                next.remove(&named);
            });
            drop(changing);
        });
        Ok(self.store.commit(batch).await?)
    }

    async fn changing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    /// The compiled filter of a connection.
    fn filter_of(&self, workspace: &WorkspaceName, name: &ConnectionName) -> Option<Arc<Filter>> {
        let named = self.snapshot();
        named.get(&(workspace.clone(), name.clone()))?.filter.clone()
    }

    /// The filter of this spec, compiled off the executor unless it is the present one.
    async fn compiled(
        &self,
        workspace: &WorkspaceName,
        spec: &ConnectionSpec,
    ) -> Result<Option<Arc<Filter>>, ConnectionError> {
        let Some(source) = spec.filter.clone() else {
            return Ok(None);
        };
        if let Some(present) = self.filter_of(workspace, &spec.name)
            && present.source() == source
        {
            return Ok(Some(present));
        }
        match tokio::task::spawn_blocking(move || Filter::compile(&source)).await {
            Ok(filter) => Ok(Some(Arc::new(filter?))),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    async fn keep(
        &self,
        connection: Connection,
        filter: Option<Arc<Filter>>,
        mut batch: Batch,
        changing: OwnedMutexGuard<()>,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let (workspace, name) = (connection.workspace.clone(), connection.spec.name.clone());
        batch.put(key(&workspace, &name), serde_json::to_vec(&connection)?);
        let connection = Arc::new(connection);
        let subscriber = Subscriber {
            connection: Arc::clone(&connection),
            filter,
            followed: self.followed(&workspace, &name).unwrap_or_default(),
        };
        let visible = Arc::clone(&self.visible);
        batch.then(move || {
            visible.change(|next| {
                next.insert((workspace, name), subscriber);
            });
            drop(changing);
        });
        self.store.commit(batch).await?;
        Ok(connection)
    }
}

fn stored_filter(connection: &Connection) -> Option<Arc<Filter>> {
    match Filter::compile(connection.spec.filter.as_deref()?) {
        Ok(filter) => Some(Arc::new(filter)),
        Err(fault) => {
            let name = &connection.spec.name;
            tracing::error!(connection = %name, %fault, "a stored filter cannot be compiled; every event of the connection's types is delivered to it");
            None
        }
    }
}

/// Where a connection lies in the store.
fn key(workspace: &WorkspaceName, name: &ConnectionName) -> Key {
    Key::of(Keyspace::Connection)
        .text(workspace.as_str())
        .text(name.as_str())
}
