//! What the plugins folder has come to, at one moment. It never changes: a new one takes its place, so whoever looks sees one
//! whole, and an attempt keeps the connector that it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::{Connector, LoadProblem};

use super::record::ShelfRecord;

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

/// A name, its versions, and those of them that are loaded.
#[derive(Clone)]
pub(crate) struct Shelf {
    /// What is durable about it.
    pub(crate) record: Arc<ShelfRecord>,
    /// Which of several files with this name it is that provides it: the one that came first, and of those that came
    /// together the first by name.
    pub(super) claim: Claim,
    /// What can be called now.
    pub(super) loaded: BTreeMap<Digest, Arc<Connector>>,
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

    /// By name; those whose file has gone included.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.values()
    }

    /// The connector of this digest, if it is loaded.
    pub(super) fn loaded(&self, digest: Digest) -> Option<Arc<Connector>> {
        self.shelves
            .values()
            .find_map(|shelf| shelf.loaded.get(&digest))
            .cloned()
    }

    /// The name that a file provides.
    pub(super) fn provided_by(&self, file: &str) -> Option<ConnectorName> {
        let mut shelves = self.shelves.iter();
        let found = shelves.find(|(_, shelf)| shelf.record.file.as_deref() == Some(file));
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

    /// Files that are not in use and say this name, or would have provided it.
    pub(crate) fn problems_of(&self, dir: &Path, name: &ConnectorName, file: Option<&str>) -> Vec<LoadProblem> {
        let of_name =
            |(at, problem): &(&String, &Problem)| problem.taken.as_ref() == Some(name) || file == Some(at.as_str());
        let found = self.problems.iter().filter(of_name);
        found
            .map(|(file, problem)| LoadProblem {
                path: dir.join(file),
                reason: problem.reason.clone(),
            })
            .collect()
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

impl Shelf {
    /// The current version, if it is loaded.
    pub(crate) fn current(&self) -> Option<&Arc<Connector>> {
        self.loaded.get(&self.record.current()?)
    }

    /// This version, if it is loaded.
    pub(crate) fn connector(&self, digest: Digest) -> Option<&Arc<Connector>> {
        self.loaded.get(&digest)
    }

    /// The name of the file that provides it.
    pub(crate) fn file(&self) -> &str {
        self.record.file.as_deref().unwrap_or_default()
    }
}
