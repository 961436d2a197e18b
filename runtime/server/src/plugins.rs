//! The plugins folder, alive: what is dropped, replaced and removed there is noticed, every version is kept for a while, and who
//! runs is decided anew with every attempt ([`choice`]).
//!
//! One task ([`keeper`]) looks at the folder and changes what is known of it; everybody else reads a [`Catalogue`] that is
//! replaced as a whole. Nothing here waits for a file: the server answers before any is loaded, lanes whose connector is not there
//! yet wait as for one that is missing, and a file that takes long to compile, or is no connector, delays nobody but itself.
//!
//! Whoever can write to the folder decides which code runs, within what was granted. The folder is as trusted as its permissions,
//! unless signatures are required ([`trust`]) or every update is asked for.

mod catalogue;
mod choice;
mod decisions;
mod file;
mod folder;
pub(crate) mod grants;
mod keeper;
mod loader;
mod record;
pub(crate) mod rollback;
mod standing;
mod tracker;
mod trust;
mod versions;
pub(crate) mod views;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cofferdam_domain::{Connection, ConnectorName, Digest, WorkspaceName};
use cofferdam_host::Connector;
use cofferdam_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::catalogue::{Catalogue, Shelf};
pub use self::choice::{Waiting, Why};
pub(crate) use self::decisions::{DECISIONS_LISTED_MAX, DecisionQuery, Decisions};
pub use self::decisions::{Decision, DecisionKind};
pub use self::record::Held;
pub use self::standing::Quarantined;
pub(crate) use self::standing::{Ended, Standings, observe, spares};
use self::versions::Versions;
use crate::app::App;
use crate::config::PluginsConfig;

/// Requests of people that wait for the keeper.
const COMMANDS_MAX: usize = 16;

/// What the server knows of its plugins folder.
pub(crate) struct Plugins {
    dir: PathBuf,
    config: PluginsConfig,
    /// Files that are compiled at once.
    compiles: u32,
    /// Held for as long as it takes to clone or replace an `Arc`.
    catalogue: RwLock<Arc<Catalogue>>,
    /// How the versions of connectors have done for their connections.
    pub(crate) standings: Standings,
    /// Who decided what.
    pub(crate) decisions: Decisions,
    commands: mpsc::Sender<Command>,
    /// What the keeper begins with.
    beginning: Mutex<Option<(Versions, mpsc::Receiver<Command>)>>,
}

/// What the plugins folder needs to be known.
pub(crate) struct PluginsSettings<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) config: &'a PluginsConfig,
    /// Files that are compiled at once.
    pub(crate) compiles: u32,
    /// Where the bytes of versions are kept.
    pub(crate) versions: PathBuf,
    pub(crate) store: &'a Store,
}

/// The plugins folder cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// What is kept of it cannot be read.
    #[error("what is kept of connectors cannot be read")]
    Store(#[from] StoreError),
    /// The folder for versions cannot be used.
    #[error("the folder {} for versions of connectors cannot be used", path.display())]
    Versions {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Why a connection's connector cannot be called now. Deliveries wait, uncharged, until it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hold {
    /// It is not there.
    #[error("it is not loaded")]
    NotLoaded,
    /// It is on its way.
    #[error("it is being loaded")]
    Loading,
    /// None of its versions may run for this connection.
    #[error("its present version {}, and no earlier one may run; {}", .0.in_words(), .0.advice())]
    Changed(Why),
}

/// What people ask of the keeper.
pub(crate) enum Command {
    /// To load a version that is kept.
    Load {
        name: ConnectorName,
        digest: Digest,
        answer: oneshot::Sender<Result<Arc<Connector>, String>>,
    },
    /// To roll back to this version, which is loaded; or, without one, to let go of a rollback.
    Hold {
        name: ConnectorName,
        to: Option<Arc<Connector>>,
        workspace: WorkspaceName,
        decision: Box<Decision>,
        answer: oneshot::Sender<Result<(), NotDone>>,
    },
}

/// Why the keeper did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// There is no such connector.
    Unknown,
    /// There is no such version.
    NotKept,
    /// The store fails.
    NotDurable,
    /// The server stops.
    Stopping,
}

impl Plugins {
    /// Nothing is known of the folder yet: [`keep`] begins to look at it.
    pub(crate) fn open(settings: PluginsSettings<'_>) -> Result<Self, PluginsError> {
        let versions = Versions::open(settings.versions.clone()).map_err(|source| PluginsError::Versions {
            path: settings.versions,
            source,
        })?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        Ok(Self {
            dir: settings.dir.to_owned(),
            config: settings.config.clone(),
            compiles: settings.compiles,
            catalogue: RwLock::default(),
            standings: Standings::open(settings.store)?,
            decisions: Decisions::open(settings.store.clone())?,
            commands,
            beginning: Mutex::new(Some((versions, received))),
        })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is known now.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connector that runs this connection: a version that was granted, or that asks for no more.
    pub(crate) fn running(&self, connection: &Connection) -> Result<Arc<Connector>, Hold> {
        let catalogue = self.catalogue();
        let shelf = catalogue.get(&connection.spec.connector).ok_or(Hold::NotLoaded)?;
        let standing = self.standings.of(connection);
        let choice = choice::choose(&shelf.record, connection, &standing, self.config.updates);
        match (choice.runs, choice.waiting) {
            (Some(digest), _) => shelf.connector(digest).cloned().ok_or(Hold::Loading),
            (None, Some((_, why))) => Err(Hold::Changed(why)),
            (None, None) => Err(Hold::NotLoaded),
        }
    }

    /// For people's eyes: the connector that runs this connection, or else the one that has its name.
    pub(crate) fn shown(&self, connection: &Connection) -> Option<Arc<Connector>> {
        let named = || self.catalogue().get(&connection.spec.connector)?.current().cloned();
        self.running(connection).ok().or_else(named)
    }

    /// A version that is kept, loaded if it is not. The error is a sentence for people.
    pub(crate) async fn load(&self, name: &ConnectorName, digest: Digest) -> Result<Arc<Connector>, String> {
        let (answer, answered) = oneshot::channel();
        let name = name.clone();
        let stopping = || "the server is stopping".to_owned();
        let sent = self.commands.send(Command::Load { name, digest, answer }).await;
        sent.map_err(|_closed| stopping())?;
        answered.await.unwrap_or_else(|_dropped| Err(stopping()))
    }

    fn publish(&self, catalogue: Catalogue) {
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }
}

/// Keeps what is known of the folder true until the server stops.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    let beginning = app
        .plugins
        .beginning
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((versions, commands)) = beginning {
        keeper::keep(app, versions, commands, stop).await;
    }
}
