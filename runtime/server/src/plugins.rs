//! The plugins folder, alive: what is dropped, replaced and removed there is noticed, and who runs is decided anew with every
//! attempt.
//!
//! One task ([`keeper`]) looks at the folder and changes what is known of it; everybody else reads a [`Catalogue`] that is
//! replaced as a whole. Nothing here waits for a file: the server answers before any is loaded, lanes whose connector is not there
//! yet wait as for one that is missing, and a file that takes long to compile, or is no connector, delays nobody but itself.

mod catalogue;
mod file;
mod folder;
mod keeper;
mod loader;
mod tracker;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use cofferdam_domain::Connection;
use cofferdam_host::Connector;

pub(crate) use self::catalogue::{Catalogue, Shelf};
pub(crate) use self::keeper::keep;
use crate::config::PluginsConfig;

/// What the server knows of its plugins folder.
pub(crate) struct Plugins {
    dir: PathBuf,
    config: PluginsConfig,
    /// Files that are compiled at once.
    compiles: u32,
    /// Held for as long as it takes to clone or replace an `Arc`.
    catalogue: RwLock<Arc<Catalogue>>,
}

/// Why a connection's connector cannot be called now. Deliveries wait, uncharged, until it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hold {
    /// It is not loaded.
    #[error("it is not loaded")]
    NotLoaded,
    /// The file has changed since an admin granted the connection what the connector asked for then.
    #[error(
        "its file has changed since the connection was applied; look at what it asks for and apply the connection again"
    )]
    Changed,
}

impl Plugins {
    /// Nothing is known of the folder yet: [`keep`] begins to look at it.
    pub(crate) fn new(dir: &Path, config: PluginsConfig, compiles: u32) -> Self {
        Self {
            dir: dir.to_owned(),
            config,
            compiles,
            catalogue: RwLock::default(),
        }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is known now.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connector that runs this connection: exactly the code that was granted, by its digest. Another file that takes the
    /// name, or a new version that asks for more, gets nothing.
    pub(crate) fn running(&self, connection: &Connection) -> Result<Arc<Connector>, Hold> {
        let catalogue = self.catalogue();
        let shelf = catalogue.get(&connection.spec.connector).ok_or(Hold::NotLoaded)?;
        if connection.granted != Some(shelf.connector.digest) {
            return Err(Hold::Changed);
        }
        Ok(Arc::clone(&shelf.connector))
    }

    /// For people's eyes: the connector that runs this connection, or else the one that has its name.
    pub(crate) fn shown(&self, connection: &Connection) -> Option<Arc<Connector>> {
        let named = || Some(Arc::clone(&self.catalogue().get(&connection.spec.connector)?.connector));
        self.running(connection).ok().or_else(named)
    }

    fn publish(&self, catalogue: Catalogue) {
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }
}
