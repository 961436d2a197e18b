//! redb 4 as the engine: one file, `db`, with one table.
//!
//! A group of writes is one transaction, durable when `commit` returns: redb writes pages beside those that are in use, calls
//! fsync and names the new root, with checksums that tell a torn commit from a whole one. Reads go through a snapshot that is
//! renewed after each commit, so they show durable records only, and cost no transaction of their own.
//!
//! Every opening verifies the checksum of every page. Without that redb would trust a file that was damaged while nobody had
//! it open, and answer with wrong records or a panic.
//!
//! Space that deleted records held is used again, and part of it is given back to the file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use ::redb::backends::FileBackend;
use ::redb::{
    AccessGuard, Builder, Database, Error, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase as _, StorageError,
    TableDefinition,
};

use crate::engine::{EngineOpenError, OpenEngine, RawRecord, Writes, guarded, io_error, panic_text};
use crate::error::EngineError;
use crate::files::make_dir;
use crate::scan::KeyRange;

/// The one file, in the engine's directory.
pub(crate) const FILE: &str = "db";

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("records");

type Snapshot = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// One redb database and the present state of its table. The snapshot goes first when this is dropped.
pub(crate) struct RedbEngine {
    snapshot: RwLock<Arc<Snapshot>>,
    db: Database,
}

impl RedbEngine {
    /// Opens or makes a database in `path`. redb may panic on some kinds of damage; a panic counts as damage.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, EngineOpenError> {
        let failed = |error| EngineOpenError::Failed(io_error(error));
        let file = open_file(path).map_err(failed)?;
        let engine = catch_unwind(AssertUnwindSafe(|| Self::over(file, cache_bytes)))
            .map_err(|panic| EngineOpenError::Corrupt(panic_text(panic.as_ref())))?
            .map_err(judged)?;
        // The file's own entry must outlast a power loss too.
        File::open(path).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(engine)
    }

    fn over(file: File, cache_bytes: u64) -> Result<Self, Error> {
        let db = Builder::new()
            .set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX))
            .set_check_integrity_on_open(true)
            .create_with_backend(FileBackend::new(file)?)?;
        let snapshot = match snapshot_of(&db) {
            Err(Error::TableDoesNotExist(_)) => {
                let transaction = db.begin_write()?;
                transaction.open_table(TABLE)?;
                transaction.commit()?;
                snapshot_of(&db)?
            }
            snapshot => snapshot?,
        };
        Ok(Self {
            snapshot: RwLock::new(snapshot),
            db,
        })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, writes: &Writes) -> Result<(), Error> {
        let transaction = self.db.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in writes {
                match value {
                    Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                    None => table.remove(key.as_slice())?,
                };
            }
        }
        transaction.commit()?;
        let snapshot = snapshot_of(&self.db)?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }
}

impl OpenEngine for RedbEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        get_in(&self.snapshot(), key)
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        scan_in(&self.snapshot(), &range, limit, reverse)
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        self.write(&writes).map_err(shared)
    }
}

/// A copy of a damaged database, read without a look at its checksums: what is read may be wrong.
pub(crate) struct UnverifiedRedb {
    snapshot: Snapshot,
    _db: ReadOnlyDatabase,
}

/// Where redb's header says, by one bit, that the file was not closed in order. Such a file is refused by a reader.
const FLAGS_AT: u64 = 9;
const NOT_CLOSED: u8 = 2;

impl UnverifiedRedb {
    /// Takes the flag away and opens the file for reading.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Box<dyn OpenEngine>, EngineOpenError> {
        let failed = |error| EngineOpenError::Failed(io_error(error));
        let file = path.join(FILE);
        clear_flag(&file).map_err(failed)?;
        let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Self, Error> {
            let db = Builder::new()
                .set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX))
                .open_read_only(&file)?;
            let snapshot = db.begin_read()?.open_table(TABLE)?;
            Ok(Self { snapshot, _db: db })
        }));
        let engine = opened
            .map_err(|panic| EngineOpenError::Corrupt(panic_text(panic.as_ref())))?
            .map_err(judged)?;
        Ok(Box::new(engine))
    }
}

fn clear_flag(file: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut flags = [0];
    file.read_exact_at(&mut flags, FLAGS_AT)?;
    file.write_all_at(&[flags[0] & !NOT_CLOSED], FLAGS_AT)
}

impl OpenEngine for UnverifiedRedb {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        get_in(&self.snapshot, key)
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        scan_in(&self.snapshot, &range, limit, reverse)
    }

    fn commit(&self, _: Writes) -> Result<(), EngineError> {
        Err(io_error(io::ErrorKind::ReadOnlyFilesystem.into()))
    }
}

fn get_in(snapshot: &Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    guarded(|| {
        let found = snapshot.get(key).map_err(shared)?;
        Ok(found.map(|value| value.value().to_vec()))
    })
}

fn scan_in(
    snapshot: &Snapshot,
    (low, high): &KeyRange,
    limit: usize,
    reverse: bool,
) -> Result<Vec<RawRecord>, EngineError> {
    type Guards = (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>);
    let owned = |record: Result<Guards, StorageError>| {
        let (key, value) = record.map_err(shared)?;
        Ok((key.value().to_vec(), value.value().to_vec()))
    };
    let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
    guarded(|| {
        let records = snapshot.range::<&[u8]>(bounds).map_err(shared)?;
        if reverse {
            records.rev().take(limit).map(owned).collect()
        } else {
            records.take(limit).map(owned).collect()
        }
    })
}

fn snapshot_of(db: &Database) -> Result<Arc<Snapshot>, Error> {
    Ok(Arc::new(db.begin_read()?.open_table(TABLE)?))
}

fn open_file(path: &Path) -> io::Result<File> {
    make_dir(path)?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(FILE))
}

fn shared(error: impl Into<Error>) -> EngineError {
    match error.into() {
        Error::Io(error) => io_error(error),
        error => Arc::new(error),
    }
}

/// Whether an error at opening means damage.
fn judged(error: Error) -> EngineOpenError {
    match error {
        Error::Corrupted(text) => EngineOpenError::Corrupt(text),
        Error::UpgradeRequired(version) => EngineOpenError::Corrupt(format!("its file has redb format {version}")),
        Error::TableTypeMismatch { .. } | Error::TypeDefinitionChanged { .. } | Error::TableIsMultimap(_) => {
            EngineOpenError::Corrupt(error.to_string())
        }
        Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            EngineOpenError::Corrupt(error.to_string())
        }
        error => EngineOpenError::Failed(shared(error)),
    }
}
