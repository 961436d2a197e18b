//! What can go wrong, in words for the person who has to do something about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::BATCH_BYTES_MAX;
use crate::engine::{Engine, is_disk_full};
use crate::record::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The engine's own error, shared by everybody whose batch was in the group that met it.
pub(crate) type EngineError = Arc<dyn Error + Send + Sync>;

/// Why a store cannot be opened. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error("data directory {} is in use by another process: stop it, or choose another directory", dir.display())]
    InUse {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// There is no store, and none was to be made.
    #[error("there is no store in {}: name the data directory of a server", dir.display())]
    Missing {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// The store was made with another engine.
    #[error(
        "the store in {} was made with {found}, and {asked} is configured: set store.engine = \"{found}\", or convert it with \
         `cofferdam store compact --data {} --engine {asked}`",
        dir.display(),
        dir.display()
    )]
    OtherEngine {
        /// The directory that was asked for.
        dir: PathBuf,
        /// The engine that made it.
        found: Engine,
        /// The engine that was asked for.
        asked: Engine,
    },
    /// The directory cannot be made, read or written.
    #[error("data directory {} is not writable: check that it exists and belongs to this user", dir.display())]
    NotWritable {
        /// The directory that was asked for.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is on disk is not a store that this version can read.
    #[error(
        "the store in {} is damaged ({detail}): restore the directory from a backup, or see what is left with \
         `cofferdam store check` and take it over with `cofferdam store salvage`",
        dir.display()
    )]
    Corrupt {
        /// The directory that was asked for.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The files are sound as far as can be seen, but reading or writing them failed.
    #[error("the store in {} cannot be opened: check the disk and its free space", dir.display())]
    Engine {
        /// The directory that was asked for.
        dir: PathBuf,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
}

/// Why a record cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store failed to {operation}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// An earlier commit failed, so what a further one would build on is unknown. The process must be restarted.
    #[error("the store takes no more writes since an earlier commit failed ({reason}): fix the cause and restart")]
    Poisoned {
        /// What the earlier commit met.
        reason: String,
    },
    /// A record does not follow the format.
    #[error("a record under key {} is damaged: {problem}", key.escape_ascii())]
    Corrupt {
        /// The record's key.
        key: Vec<u8>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A large value was overwritten again and again while it was being read.
    #[error("the record under key {} changes faster than it can be read", key.escape_ascii())]
    Busy {
        /// The record's key.
        key: Vec<u8>,
    },
}

/// Why a batch was not committed. Nothing of it is there unless the variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold; read again and decide again.
    #[error("the record under key {} is not what the batch expects", key.escape_ascii())]
    Conflict {
        /// The key of the first precondition that does not hold.
        key: Vec<u8>,
    },
    /// A key, a value or the whole is over its limit.
    #[error(
        "a batch takes keys of 1 to {KEY_BYTES_MAX} bytes, values up to {VALUE_BYTES_MAX} bytes and {BATCH_BYTES_MAX} bytes in all"
    )]
    TooLarge,
    /// The key is one that the store keeps for itself.
    #[error("the key {} is reserved by the store", key.escape_ascii())]
    Reserved {
        /// The key.
        key: Vec<u8>,
    },
    /// The engine failed. Whether the batch is there shows after a restart.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store was closed. A batch that was under way may be there.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the engine failed because the disk is full, or the user's quota is.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Engine { source, .. } => is_disk_full(source),
            Self::Poisoned { .. } | Self::Corrupt { .. } | Self::Busy { .. } => false,
        }
    }
}
