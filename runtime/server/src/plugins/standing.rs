//! How the versions of its connector have done for a connection: which have delivered, and which are in quarantine.
//!
//! The rule: when `plugins.quarantine_faults` attempts of one connection in a row, with no other verdict between, end in a fault
//! of the same version, and another version has delivered for this connection, is kept, and may run, then the faulting version is
//! put in quarantine for this connection, and that other one runs from the next attempt on. It stays there until somebody grants
//! it again. If the last good version faults as well, nothing is switched: what it fails at is retried and dies as ever, and the
//! one in quarantine never comes back by itself, so no event can make two versions take turns.
//!
//! A version that has not delivered yet is on probation where there is one to fall back on: its faults are not charged to the
//! deliveries that they happen to, at most [`SPARED_MAX`] of them.
//!
//! So many are remembered: one more in quarantine, and nothing but what was granted itself runs for the connection until the next
//! grant, so that none comes back because it was forgotten.
//!
//! Runs of faults are counted in memory: a restart begins afresh. What has delivered, and what is in quarantine, is durable.

mod observe;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cofferdam_domain::grant::DECIDED_MAX;
use cofferdam_domain::{Connection, ConnectionName, Digest, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key, Keyspace, Scan, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::observe::{Ended, observe, spares};
use crate::connections::CONNECTIONS_MAX;

/// Most versions that are remembered as good of one connection; the oldest go first.
const GOOD_MAX: usize = 16;

/// Most versions that are remembered as quarantined of one connection: more than can have been granted, so there is always one to
/// forget that was not.
const QUARANTINED_MAX: usize = 2 * DECIDED_MAX;

/// Faults of one version on probation that are not charged to the deliveries of a connection.
pub(super) const SPARED_MAX: u32 = 100;

/// How the versions of its connector have done for a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Those that have delivered, the latest first.
    pub(crate) good: Vec<Digest>,
    /// Those that do not run for it, the latest first.
    pub(crate) quarantined: Vec<Quarantined>,
    /// More were put in quarantine than are remembered: until the next grant nothing runs but what was granted itself.
    #[serde(default)]
    pub(crate) only_granted: bool,
}

/// A version that kept faulting for a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Which.
    pub digest: Digest,
    /// Since when.
    pub at: Timestamp,
    /// After so many faults in a row.
    pub faults: u32,
    /// The last of them.
    pub reason: String,
    /// What ran instead from then on.
    pub instead: Digest,
}

type Name = (WorkspaceName, ConnectionName);

/// Those of every connection.
pub(crate) struct Standings {
    known: Arc<RwLock<HashMap<Name, Arc<Standing>>>>,
    runs: Mutex<HashMap<Name, Run>>,
    /// See [`Standings::changing`].
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// Faults of one version in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    of: Digest,
    faults: u32,
    spared: u32,
}

impl Standing {
    /// Whether this version is in quarantine.
    pub(crate) fn is_quarantined(&self, digest: Digest) -> bool {
        self.quarantined.iter().any(|quarantined| quarantined.digest == digest)
    }

    fn with_good(&self, digest: Digest) -> Self {
        let mut next = self.clone();
        next.good.retain(|good| *good != digest);
        next.good.insert(0, digest);
        next.good.truncate(GOOD_MAX);
        next
    }

    /// `granted` are those that were granted themselves: they would run again if they were forgotten.
    fn with_quarantined(&self, quarantined: Quarantined, granted: impl Fn(Digest) -> bool) -> Self {
        let mut next = self.clone();
        next.quarantined.retain(|other| other.digest != quarantined.digest);
        next.quarantined.insert(0, quarantined);
        while next.quarantined.len() > QUARANTINED_MAX {
            let oldest = next.quarantined.iter().rposition(|other| !granted(other.digest));
            let Some(oldest) = oldest else {
                break;
            };
            next.quarantined.remove(oldest);
            next.only_granted = true;
        }
        next
    }

    /// After a grant of this version.
    fn granting(&self, digest: Digest) -> Self {
        let mut next = self.clone();
        next.quarantined.retain(|quarantined| quarantined.digest != digest);
        next.only_granted = false;
        next
    }
}

impl Standings {
    /// Reads all of them. One that cannot be read is forgotten: it is earned again.
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let mut known = HashMap::new();
        for (key, value) in store.scan(&Scan::prefix(Key::of(Keyspace::Standing), CONNECTIONS_MAX))? {
            match (read_key(&key), serde_json::from_slice::<Standing>(&value)) {
                (Some(name), Ok(standing)) => {
                    known.insert(name, Arc::new(standing));
                }
                (None, _) | (_, Err(_)) => tracing::error!("how a connection's versions have done cannot be read"),
            }
        }
        Ok(Self {
            known: Arc::new(RwLock::new(known)),
            runs: Mutex::default(),
            changing: Arc::default(),
        })
    }

    /// That of one connection.
    pub(crate) fn of(&self, connection: &Connection) -> Arc<Standing> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&named(connection)).cloned().unwrap_or_default()
    }

    /// Held by whoever changes what one of them says, or what its connection is granted, from the reading to the commit: so no
    /// change is made of what another one has changed meanwhile.
    ///
    /// A commit goes on when the one who asked for it has gone, and this is to be held until it has come to its end: by a task of
    /// its own ([`crate::admin::actions::to_its_end`]), or by the batch.
    pub(crate) async fn changing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    /// With the batch, what a grant of this version means: it is in quarantine no more; seen by all once the batch is durable.
    pub(crate) fn let_go(&self, batch: &mut Batch, connection: &Connection, digest: Digest) {
        self.runs().remove(&named(connection));
        let standing = self.of(connection);
        let next = standing.granting(digest);
        if next != *standing {
            self.put(batch, named(connection), next);
        }
    }

    /// With the batch, forgets a connection that is deleted.
    pub(crate) fn forget(&self, batch: &mut Batch, workspace: &WorkspaceName, name: &ConnectionName) {
        let name = (workspace.clone(), name.clone());
        self.runs().remove(&name);
        let known = Arc::clone(&self.known);
        batch.delete(key(&name)).then(move || {
            known.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
    }

    /// Shows it at once: what it says is decided, and is earned again if a crash comes before it is durable.
    fn show(&self, name: Name, standing: Arc<Standing>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name, standing);
    }

    fn put(&self, batch: &mut Batch, name: Name, standing: Standing) {
        let value = serde_json::to_vec(&standing).expect("a standing has text keys only, and a Vec takes every write");
        let known = Arc::clone(&self.known);
        batch.put(key(&name), value).then(move || {
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(name, Arc::new(standing));
        });
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Name, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(connection: &Connection) -> Name {
    (connection.workspace.clone(), connection.spec.name.clone())
}

fn key((workspace, name): &Name) -> Key {
    Key::of(Keyspace::Standing).text(workspace.as_str()).text(name.as_str())
}

fn read_key(key: &[u8]) -> Option<Name> {
    let mut reader = cofferdam_store::KeyReader::of(Keyspace::Standing, key).ok()?;
    let workspace = String::from_utf8(reader.text().ok()?).ok()?.parse().ok()?;
    let name = String::from_utf8(reader.text().ok()?).ok()?.parse().ok()?;
    reader.end().ok()?;
    Some((workspace, name))
}

#[cfg(test)]
mod tests;
