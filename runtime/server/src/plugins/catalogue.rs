//! What the plugins folder has come to, at one moment. It never changes: a new one takes its place, so whoever looks sees one
//! whole, and an attempt keeps the connector that it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::{Connector, LoadProblem};

/// Who may be called, and what else there is in the folder.
#[derive(Clone, Default)]
pub(crate) struct Catalogue {
    pub(super) shelves: BTreeMap<ConnectorName, Shelf>,
    /// Why a file is not in use.
    pub(super) problems: BTreeMap<String, Problem>,
    /// Why the folder, or a part of it, is not looked at.
    pub(super) folder: Option<String>,
    /// Files that are being loaded.
    pub(super) loading: BTreeSet<String>,
    /// Whether everything has been dealt with that was there when the server started.
    pub(super) is_read: bool,
}

/// A name, and what provides it.
#[derive(Clone)]
pub(crate) struct Shelf {
    /// The file.
    pub(crate) file: String,
    /// Which of several files with this name it is that provides it: the one that came first, and of those that came
    /// together the first by name.
    pub(super) claim: Claim,
    /// What runs.
    pub(crate) connector: Arc<Connector>,
}

/// By the look at which a file was taken up.
pub(super) type Claim = (u64, String);

/// Why a file is not in use.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) reason: String,
    /// It goes when this name is free.
    pub(super) taken: Option<ConnectorName>,
}

impl Catalogue {
    /// The connector of this name.
    pub(crate) fn get(&self, name: &ConnectorName) -> Option<&Shelf> {
        self.shelves.get(name)
    }

    /// By name.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.values()
    }

    /// The connector of this digest, if it is loaded.
    pub(super) fn loaded(&self, digest: Digest) -> Option<Arc<Connector>> {
        let mut connectors = self.shelves.values().map(|shelf| &shelf.connector);
        connectors.find(|connector| connector.digest == digest).cloned()
    }

    /// The name that a file provides.
    pub(super) fn provided_by(&self, file: &str) -> Option<ConnectorName> {
        let mut shelves = self.shelves.iter();
        let found = shelves.find(|(_, shelf)| shelf.file == file);
        found.map(|(name, _)| name.clone())
    }

    /// Files that are not in use, and why.
    pub(crate) fn problems(&self, dir: &Path) -> Vec<LoadProblem> {
        let of_folder = self.folder.iter().map(|reason| LoadProblem {
            path: dir.to_owned(),
            reason: reason.clone(),
        });
        let of_files = self.problems.iter().map(|(file, problem)| LoadProblem {
            path: dir.join(file),
            reason: problem.reason.clone(),
        });
        of_folder.chain(of_files).collect()
    }

    /// Whether everything has been dealt with that was there when the server started.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Files that are being loaded.
    pub(crate) fn loading(&self) -> Vec<String> {
        self.loading.iter().cloned().collect()
    }
}
