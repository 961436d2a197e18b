//! What the tools for a store that no server has open share: how they fail and how they say how far they are.

use std::io;
use std::path::PathBuf;

use crate::error::{CommitError, EngineError, OpenError};

/// The engine's cache while a tool works.
pub(crate) const TOOL_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What a tool is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The engine's files are copied; counted in bytes.
    Copying,
    /// The copy is opened, which may take a while and is not counted.
    Opening,
    /// Records are read; counted in records.
    Reading,
    /// Records are written elsewhere; counted in records.
    Writing,
    /// What was written is read back; counted in records.
    Verifying,
}

/// How far a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// At what.
    pub step: Step,
    /// So many bytes or records of it are done.
    pub done: u64,
}

/// Why a tool did not come to its end. The store that it works on is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A copy of the store's files has no room.
    #[error("a copy of the store needs {need} bytes and {} has {free}: make room", dir.display())]
    NoRoom {
        /// Where the copy would go.
        dir: PathBuf,
        /// Bytes that it would take.
        need: u64,
        /// Bytes that are free there.
        free: u64,
    },
    /// The store's files cannot be copied.
    #[error("the store's files cannot be copied to {}", dir.display())]
    Copy {
        /// Where the copy would go.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A new store must not mix with what is there.
    #[error("{} holds something already: name a directory that is empty or not there", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// Nothing can be read at all.
    #[error("nothing of the store in {} can be read ({detail}): restore it from a backup", dir.display())]
    NothingLeft {
        /// The store's directory.
        dir: PathBuf,
        /// What was met at the last try.
        detail: String,
    },
    /// A record cannot be read, so a rewrite would lose it.
    #[error("the store in {} cannot be read to its end: see `cofferdam store check`, and use `cofferdam store salvage`", dir.display())]
    Unreadable {
        /// The store's directory.
        dir: PathBuf,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// The new store cannot be written.
    #[error("the new store in {} cannot be written", dir.display())]
    Write {
        /// The new store's directory.
        dir: PathBuf,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// A record cannot be committed to the new store.
    #[error("the new store in {} does not take what was read", dir.display())]
    Commit {
        /// The new store's directory.
        dir: PathBuf,
        /// What it says.
        #[source]
        source: CommitError,
    },
    /// What was read back is not what was written.
    #[error(
        "the rewritten store does not hold what the old one does, so it was thrown away: check the disk and its memory"
    )]
    Differs,
}
