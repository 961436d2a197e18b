//! sled 0.34.7 as the engine.
//!
//! sled's own `flush` does not reach the disk on Linux: it asks for `sync_file_range`, and only a background thread calls
//! fsync, every 500 ms. Here that thread is off and each sync calls fsync on sled's data file itself. That holds for
//! records up to 4 KiB; larger ones may become blob files, which sled never syncs, so the layer above splits them.
//!
//! Damage in the middle of its log sled takes for the log's end: it opens, and what came after is gone. The layer above
//! notices by its watermark.
//!
//! At each opening sled writes a snapshot of where everything is under a name ending in `.generating` and moves it. One that
//! was left under that name by a kill or a power loss it takes for a whole one, finds it damaged and does not open: such
//! files are removed before.
//!
//! Space stays at its high-water mark: what is deleted is used again, not given back to the file system.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::engine::{EngineOpenError, OpenEngine, RawRecord, Writes, guarded, io_error, panic_text};
use crate::error::EngineError;
use crate::scan::KeyRange;

/// A store of this process that was closed a moment ago may hold sled's own lock for as long as its last background job
/// runs: so often, and so long apart, it is asked for again.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// What sled calls its snapshots, and those that it is still writing.
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";

/// One sled tree and the file that it lives in.
pub(crate) struct SledEngine {
    tree: ::sled::Tree,
    db: ::sled::Db,
    file: File,
}

impl SledEngine {
    /// Opens or makes a store in `path`. sled panics on some kinds of damage; a panic counts as damage.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        remove_unfinished_snapshots(path).map_err(|error| EngineOpenError::Failed(io_error(error)))?;
        let db = catch_unwind(AssertUnwindSafe(|| open_locked(&config)))
            .map_err(|panic| EngineOpenError::Corrupt(panic_text(panic.as_ref())))?
            .map_err(|error| match error {
                ::sled::Error::Corruption { at, .. } => EngineOpenError::Corrupt(format!("corruption at {at:?}")),
                ::sled::Error::Unsupported(text) | ::sled::Error::ReportableBug(text) => EngineOpenError::Corrupt(text),
                ::sled::Error::CollectionNotFound(_) => EngineOpenError::Corrupt("the main tree is missing".to_owned()),
                error @ ::sled::Error::Io(_) => EngineOpenError::Failed(shared(error)),
            })?;
        let made_durable = || -> io::Result<File> {
            let file = File::options().write(true).open(path.join("db"))?;
            file.sync_all()?;
            for entry in fs::read_dir(path)? {
                File::open(entry?.path())?.sync_all()?;
            }
            File::open(path)?.sync_all()?;
            Ok(file)
        };
        let file = made_durable().map_err(|error| EngineOpenError::Failed(io_error(error)))?;
        Ok(Self {
            tree: (*db).clone(),
            db,
            file,
        })
    }
}

/// The log holds everything that is in them.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let unfinished = |name: &str| name.starts_with(SNAPSHOT_PREFIX) && name.ends_with(UNFINISHED_SUFFIX);
        if name.to_str().is_some_and(unfinished) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How many lengths of the log a damaged store is opened with.
pub(crate) const CUTS: usize = 8;

/// sled's log is a row of segments of this size.
const SEGMENT_BYTES: u64 = 512 * 1024;

/// Opens a copy of a damaged store from its log alone: sled's snapshots of where everything is are removed, and it reads the
/// log from its beginning. Of the log the last `cut` eighths are taken away: damage that sled does not get past may lie there.
pub(crate) fn open_cut_log(path: &Path, cache_bytes: u64, cut: usize) -> Result<Box<dyn OpenEngine>, EngineOpenError> {
    let prepared = || -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"snap") {
                fs::remove_file(entry.path())?;
            }
        }
        if cut > 0 {
            let file = File::options().write(true).open(path.join("db"))?;
            let kept = file.metadata()?.len() / CUTS as u64 * (CUTS - cut) as u64;
            file.set_len(kept.next_multiple_of(SEGMENT_BYTES))?;
        }
        Ok(())
    };
    prepared().map_err(|error| EngineOpenError::Failed(io_error(error)))?;
    Ok(Box::new(SledEngine::open(path, cache_bytes)?))
}

fn open_locked(config: &::sled::Config) -> ::sled::Result<::sled::Db> {
    let mut tries = 0;
    loop {
        tries += 1;
        match config.open() {
            Err(::sled::Error::Io(error)) if tries < LOCK_TRIES && error.to_string().contains("acquire lock") => {
                thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
}

fn shared(error: ::sled::Error) -> EngineError {
    match error {
        ::sled::Error::Io(error) => io_error(error),
        error @ (::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_)
        | ::sled::Error::Corruption { .. }) => Arc::new(error),
    }
}

impl OpenEngine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        guarded(|| Ok(self.tree.get(key).map_err(shared)?.map(|value| value.to_vec())))
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        let owned = |record: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
            record
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .map_err(shared)
        };
        guarded(|| {
            let records = self.tree.range(range);
            if reverse {
                records.rev().take(limit).map(owned).collect()
            } else {
                records.take(limit).map(owned).collect()
            }
        })
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch).map_err(shared)?;
        self.db.flush().map_err(shared)?;
        self.file.sync_all().map_err(io_error)
    }
}
