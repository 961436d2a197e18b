//! What is durable about a connector: which file provides it, which of its versions runs, and which others are kept. One record
//! for each name, so that a switch from one version to another is one write, and a crash leaves the one or the other.

use cofferdam_domain::grant::Asks;
use cofferdam_domain::{ConnectorName, Digest, Timestamp};
use cofferdam_host::Exports;
use cofferdam_store::{Batch, Key, Keyspace, Scan, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Most connectors that are remembered, those whose file has gone included.
pub(super) const SHELVES_MAX: usize = 2_000;

/// Longest reason that is kept of anything, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 512;

/// A connector, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShelfRecord {
    pub(crate) name: ConnectorName,
    /// The file that provides it; none once that has gone.
    pub(crate) file: Option<String>,
    /// What that file holds, or held before it became unusable.
    pub(crate) offered: Option<Digest>,
    /// Somebody has rolled back.
    #[serde(default)]
    pub(crate) held: Option<Held>,
    /// Every version that is kept, the latest offered first.
    pub(crate) versions: Vec<VersionRecord>,
    /// When any of it changed last.
    pub(crate) updated_at: Timestamp,
}

/// A version that runs although its file says otherwise, until another file is dropped or somebody lets go.
///
/// The file that it was rolled back from says nothing new by coming back: the hold goes on. While that file is gone nothing runs,
/// as ever when a file was removed, unless it had gone before somebody rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What runs.
    pub digest: Digest,
    /// Who rolled back.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What the file held then, or held last: what runs no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Digest>,
    /// There was no file then, and none has come since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_file: bool,
}

/// A version, as it is kept beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    pub(crate) digest: Digest,
    /// As its descriptor says.
    pub(crate) version: String,
    pub(crate) bytes: u64,
    pub(crate) first_seen: Timestamp,
    /// The name of the file that it came in.
    pub(crate) file: String,
    pub(crate) exports: Exports,
    pub(crate) asks: Asks,
    /// What proves who made it, as it came in the file beside it.
    #[serde(default)]
    pub(crate) signature: Option<String>,
    /// The key that has signed it, of those that were trusted when it was taken up.
    #[serde(default)]
    pub(crate) signer: Option<String>,
    /// Why it cannot be run, as far as this process knows.
    #[serde(skip)]
    pub(crate) unusable: Option<String>,
}

impl ShelfRecord {
    /// The version that is to run for those who were granted it.
    pub(crate) fn current(&self) -> Option<Digest> {
        // One that was kept before it was kept from what says nothing of a file.
        let holds = |held: &&Held| self.offered.is_some() || held.without_file || held.instead_of.is_none();
        let held = self.held.as_ref().filter(holds);
        held.map(|held| held.digest).or(self.offered)
    }

    /// With this version running instead of what its file holds.
    #[must_use]
    pub(super) fn holding(&self, digest: Digest, by: &str, at: Timestamp) -> Self {
        let held = Held {
            digest,
            by: by.to_owned(),
            at,
            // The latest offered is the first: what its file held last, if that has gone.
            instead_of: self.offered.or(self.versions.first().map(|version| version.digest)),
            without_file: self.offered.is_none(),
        };
        Self {
            held: Some(held),
            updated_at: at,
            ..self.clone()
        }
    }

    /// With what the file holds running again.
    #[must_use]
    pub(super) fn released(&self, at: Timestamp) -> Self {
        Self {
            held: None,
            updated_at: at,
            ..self.clone()
        }
    }

    /// With the file gone. A rollback is not over: it holds again should the file come back.
    #[must_use]
    pub(super) fn without_file(&self, at: Timestamp) -> Self {
        Self {
            file: None,
            offered: None,
            updated_at: at,
            ..self.clone()
        }
    }

    /// As it was when the server stopped. A connector whose file held another one by then, and that no other file had brought yet,
    /// has none: nothing would come any more that says so.
    #[must_use]
    pub(super) fn at_start(self) -> Self {
        if self.file.is_none() && self.offered.is_some() {
            let at = self.updated_at;
            self.without_file(at)
        } else {
            self
        }
    }

    pub(crate) fn version(&self, digest: Digest) -> Option<&VersionRecord> {
        self.versions.iter().find(|version| version.digest == digest)
    }

    /// What its versions take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.versions.iter().map(|version| version.bytes).sum()
    }

    /// The current version and those before it, the latest first.
    pub(crate) fn current_and_before(&self) -> &[VersionRecord] {
        let at = self.current().and_then(|current| self.position(current));
        at.map_or(&[], |at| &self.versions[at..])
    }

    fn position(&self, digest: Digest) -> Option<usize> {
        self.versions.iter().position(|version| version.digest == digest)
    }

    /// The version before the current one, if it can be run.
    pub(crate) fn before(&self) -> Option<Digest> {
        let usable = |version: &&VersionRecord| version.unusable.is_none();
        let held = self.held.as_ref().and_then(|held| self.position(held.digest));
        let before = if self.current().is_some() {
            self.current_and_before().get(1..).unwrap_or_default()
        } else {
            // Its file has gone: what it held last, or what ran instead of that.
            &self.versions[held.unwrap_or(0)..]
        };
        before.iter().find(usable).map(|version| version.digest)
    }

    /// With this version as the one that the file offers.
    #[must_use]
    pub(super) fn offering(&self, file: &str, version: VersionRecord, at: Timestamp) -> Self {
        let mut next = self.clone();
        let present = next.versions.iter().position(|known| known.digest == version.digest);
        let first_seen = present.map(|at| next.versions.remove(at).first_seen);
        let is_another = self.offered != Some(version.digest);
        next.held = next.held.filter(|held| {
            // What was rolled back from, or still is what the file holds, changes nothing.
            held.digest != version.digest && (!is_another || held.instead_of == Some(version.digest))
        });
        if let Some(held) = &mut next.held {
            held.without_file = false;
        }
        next.file = Some(file.to_owned());
        next.offered = Some(version.digest);
        next.versions.insert(
            0,
            VersionRecord {
                first_seen: first_seen.unwrap_or(version.first_seen),
                ..version
            },
        );
        next.updated_at = at;
        next
    }

    /// Without those of the oldest versions that are over the bound and not in use.
    #[must_use]
    pub(super) fn within(&self, kept_max: usize, in_use: impl Fn(Digest) -> bool) -> (Self, Vec<Digest>) {
        let (mut next, mut gone) = (self.clone(), Vec::new());
        for version in self.versions.iter().rev() {
            if next.versions.len() <= kept_max {
                break;
            }
            let digest = version.digest;
            let is_named = self.offered == Some(digest) || self.held.as_ref().is_some_and(|held| held.digest == digest);
            if !is_named && !in_use(digest) {
                next.versions.retain(|kept| kept.digest != digest);
                gone.push(digest);
            }
        }
        (next, gone)
    }
}

/// Every connector that is remembered.
pub(super) fn read_all(store: &Store) -> Result<Vec<ShelfRecord>, StoreError> {
    let entries = store.scan(&Scan::prefix(Key::of(Keyspace::Connector), SHELVES_MAX))?;
    let read = entries.into_iter().filter_map(|(_, value)| {
        let record = serde_json::from_slice::<ShelfRecord>(&value);
        record
            .inspect_err(|error| {
                tracing::error!(%error, "what was kept of a connector cannot be read; its file is taken up as a new one");
            })
            .ok()
    });
    Ok(read.collect())
}

/// Writes it with the batch.
pub(super) fn put(batch: &mut Batch, record: &ShelfRecord) {
    let value = serde_json::to_vec(record).expect("a record has text keys only, and a Vec takes every write");
    batch.put(key(&record.name), value);
}

/// Removes it with the batch.
pub(super) fn delete(batch: &mut Batch, name: &ConnectorName) {
    batch.delete(key(name));
}

fn key(name: &ConnectorName) -> Key {
    Key::of(Keyspace::Connector).text(name.as_str())
}

#[cfg(test)]
mod tests;
