//! What the store needs from an embedded engine, which engines there are, and what their errors become.

pub(crate) mod memory;
pub(crate) mod redb;
pub(crate) mod sled;

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::EngineError;
use crate::scan::KeyRange;

/// Which embedded engine keeps the records of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// sled 0.34, the default.
    #[default]
    Sled,
    /// redb 4.
    Redb,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// Its name in configuration files, on the command line and on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no engine of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such engine: it is \"sled\" or \"redb\"")]
pub struct NoSuchEngine;

impl FromStr for Engine {
    type Err = NoSuchEngine;

    fn from_str(name: &str) -> Result<Self, NoSuchEngine> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or(NoSuchEngine)
    }
}

/// The net effect of a group of batches: the new record of each key, or none where the record goes.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A raw record as the engine holds it.
pub(crate) type RawRecord = (Vec<u8>, Vec<u8>);

/// An ordered map of small records. Reads may run beside the one writer and may see a write before it is durable.
pub(crate) trait OpenEngine: Send + Sync + 'static {
    /// The record under this key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// At most `limit` records of the range, in key order or against it. Each is as it is at the moment it is read.
    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError>;

    /// Applies every write, or none should the process or the machine stop; returns when they survive a power loss. After an
    /// error what is there is unknown until the engine is opened again.
    fn commit(&self, writes: Writes) -> Result<(), EngineError>;
}

impl Engine {
    /// Opens, or makes, what lies in this folder.
    pub(crate) fn open(self, folder: &Path, cache_bytes: u64) -> Result<Box<dyn OpenEngine>, EngineOpenError> {
        match self {
            Self::Sled => Ok(Box::new(sled::SledEngine::open(folder, cache_bytes)?)),
            Self::Redb => Ok(Box::new(redb::RedbEngine::open(folder, cache_bytes)?)),
        }
    }
}

impl Engine {
    /// Whether an attempt at [`Engine::open_damaged`] reads what the engine itself would refuse.
    pub(crate) fn is_past_its_checks(self, attempt: usize) -> bool {
        match self {
            // Without its snapshots sled reads the same log to the same end.
            Self::Sled => attempt > 1,
            Self::Redb => attempt > 0,
        }
    }

    /// Makes one change to a copy of this engine's files that may let more of a damaged store be read, and opens it; none when
    /// there is no further change to try. The first change is none at all.
    pub(crate) fn open_damaged(
        self,
        folder: &Path,
        cache_bytes: u64,
        attempt: usize,
    ) -> Option<Result<Box<dyn OpenEngine>, EngineOpenError>> {
        if attempt == 0 {
            return Some(self.open(folder, cache_bytes));
        }
        match self {
            Self::Sled if attempt <= sled::CUTS => Some(sled::open_cut_log(folder, cache_bytes, attempt - 1)),
            Self::Redb if attempt == 1 => Some(redb::UnverifiedRedb::open(folder, cache_bytes)),
            Self::Sled | Self::Redb => None,
        }
    }
}

impl OpenEngine for Box<dyn OpenEngine> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.as_ref().get(key)
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        self.as_ref().scan(range, limit, reverse)
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        self.as_ref().commit(writes)
    }
}

/// Why an engine does not open.
#[derive(Debug)]
pub(crate) enum EngineOpenError {
    /// What is on disk makes no sense to it.
    Corrupt(String),
    /// Anything else.
    Failed(EngineError),
}

/// The disk that holds the store is full, or the user's quota is.
#[derive(Debug, thiserror::Error)]
#[error("no space left on the disk that holds the store")]
pub(crate) struct DiskFull(#[source] io::Error);

/// Whether the system has answered that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The engine's error for what the system answered.
pub(crate) fn io_error(error: io::Error) -> EngineError {
    if is_full(&error) {
        Arc::new(DiskFull(error))
    } else {
        Arc::new(error)
    }
}

/// Whether a full disk is behind this error.
pub(crate) fn is_disk_full(error: &EngineError) -> bool {
    let error: &(dyn Error + 'static) = error.as_ref();
    error.is::<DiskFull>()
}

/// Runs a read of the engine. Engines panic on some kinds of damage, and a disk may rot while a store is open: what a read
/// panics with is its error.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(Arc::from(Box::from(panic_text(panic.as_ref())))))
}

/// The message of a panic, on one line.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the engine panicked");
    text.lines().next().unwrap_or_default().to_owned()
}
