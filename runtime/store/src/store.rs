//! The handle that everybody else holds.

use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::Batch;
use crate::committer::failed;
use crate::engine::OpenEngine;
use crate::error::{CommitError, OpenError, StoreError};
use crate::layout::Directory;
use crate::open::{self, OpenOptions};
use crate::record::{Record, is_reserved};
use crate::scan::Scan;
use crate::writer::Writer;

/// How often a large value is read again because it was replaced in the middle.
const READ_TRIES: u32 = 64;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An open store. Clones share it; when the last one goes, what was asked is committed and the directory is free again.
///
/// Reads answer from memory or with a short read from disk and do not wait for commits. They may show a batch a moment
/// before it is durable: whoever tells somebody outside about a record commits something first, if only the precondition
/// that the record is still so.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: the engine must be gone before the directory's lock is.
struct Inner {
    writer: Writer,
    engine: Arc<dyn OpenEngine>,
    _directory: Option<Directory>,
}

impl Store {
    /// Opens the store of a directory, or makes one.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        open::open(options)
    }

    /// Opens the store that is in a directory, with the engine that made it; [`OpenError::Missing`] if there is none, and
    /// nothing is made then.
    pub fn open_existing(dir: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let dir = dir.into();
        let engine = open::engine_of(&dir)?;
        Self::open(&OpenOptions::new(dir).engine(engine))
    }

    /// A store in memory, for simulations and tests: nothing of it is durable, and it is gone with its last handle.
    ///
    /// It starts no thread: a commit is done, hooks included, on the caller's thread before the future is first pending, so a
    /// run with simulated time and seeded randomness is the same every time.
    pub fn in_memory() -> Self {
        open::in_memory()
    }

    pub(crate) fn new(engine: Arc<dyn OpenEngine>, writer: Writer, directory: Option<Directory>) -> Self {
        let inner = Inner {
            writer,
            engine,
            _directory: directory,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The value under this key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.as_ref();
        if is_reserved(key) {
            return Ok(None);
        }
        match self.raw(key)? {
            Some(raw) => self.resolve(key, raw),
            None => Ok(None),
        }
    }

    /// Records in key order, or against it. Each is as it is at the moment it is read; the page as a whole is no snapshot.
    pub fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let Some(range) = scan.range() else {
            return Ok(Vec::new());
        };
        let raw = self
            .inner
            .engine
            .scan(range, scan.limit, scan.reverse)
            .map_err(failed("scan"))?;
        let mut entries = Vec::with_capacity(raw.len());
        for (key, raw) in raw {
            if !is_reserved(&key)
                && let Some(value) = self.resolve(&key, raw)?
            {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// The keys that [`Store::scan`] would answer with: large values are not put together for it.
    pub fn keys(&self, scan: &Scan) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(range) = scan.range() else {
            return Ok(Vec::new());
        };
        let engine = &self.inner.engine;
        let raw = engine.scan(range, scan.limit, scan.reverse).map_err(failed("scan"))?;
        let keys = raw.into_iter().map(|(key, _)| key);
        Ok(keys.filter(|key| !is_reserved(key)).collect())
    }

    /// Commits the batch; durable when this returns `Ok`.
    ///
    /// A future that is dropped before it ends may or may not leave the batch committed; its hooks run if it is.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check()?;
        self.inner.writer.commit(batch).await
    }

    /// As [`Store::commit`], for threads that run no executor; panics on one that does.
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check()?;
        self.inner.writer.commit_blocking(batch)
    }

    /// Takes no more batches, for all clones, and returns when those that were asked for are done. Reads go on.
    pub fn close(&self) {
        self.inner.writer.stop();
    }

    fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.engine.get(key).map_err(failed("read"))
    }

    /// The value whose record, or whose head, was `raw` a moment ago.
    fn resolve(&self, key: &[u8], mut raw: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        for _ in 0..READ_TRIES {
            let head = match Record::decode(key, raw)? {
                Record::Inline(value) => return Ok(Some(value)),
                Record::Chunked(head) => head,
            };
            if let Some(value) = head.assemble(key, &|chunk| self.raw(chunk))? {
                return Ok(Some(value));
            }
            // A missing chunk means that the head was replaced meanwhile, or that the store is damaged.
            let Some(present) = self.raw(key)? else { return Ok(None) };
            if Record::decode(key, present.clone())? == Record::Chunked(head) {
                return Err(StoreError::Corrupt {
                    key: key.to_vec(),
                    problem: "a chunk is missing",
                });
            }
            raw = present;
        }
        Err(StoreError::Busy { key: key.to_vec() })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.stop();
    }
}
