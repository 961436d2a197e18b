//! The handle that everybody else holds.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::batch::Batch;
use crate::committer::{Committer, Request, WAITING_BATCHES_MAX, failed};
use crate::engine::Engine;
use crate::error::{CommitError, OpenError, StoreError};
use crate::open::{self, OpenOptions};
use crate::record::{Record, is_reserved};
use crate::scan::Scan;

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

/// Fields are dropped in this order: the engine must be gone before the lock is.
struct Inner {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    engine: Arc<dyn Engine>,
    _lock: File,
}

impl Store {
    /// Opens the store of a directory, or makes one.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        open::open(options)
    }

    pub(crate) fn start(engine: Arc<dyn Engine>, committer: Committer, lock: File) -> io::Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING_BATCHES_MAX);
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run(waiting))?;
        let inner = Inner {
            requests: Mutex::new(Some(requests)),
            committer: Mutex::new(Some(thread)),
            engine,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
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

    /// Commits the batch; durable when this returns `Ok`.
    ///
    /// A future that is dropped before it ends may or may not leave the batch committed; its hooks run if it is.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check()?;
        let (answer, answered) = oneshot::channel();
        let requests = self.requests()?;
        requests
            .send(Request { batch, answer })
            .await
            .map_err(|_| CommitError::Closed)?;
        answered.await.unwrap_or(Err(CommitError::Closed))
    }

    /// As [`Store::commit`], for threads that run no executor; panics on one that does.
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check()?;
        let (answer, answered) = oneshot::channel();
        let requests = self.requests()?;
        requests
            .blocking_send(Request { batch, answer })
            .map_err(|_| CommitError::Closed)?;
        answered.blocking_recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Takes no more batches, for all clones, and returns when those that were asked for are done. Reads go on.
    pub fn close(&self) {
        self.inner.stop();
    }

    fn requests(&self) -> Result<mpsc::Sender<Request>, CommitError> {
        let requests = self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone().ok_or(CommitError::Closed)
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

impl Inner {
    fn stop(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(committer) = committer {
            // The last handle may go in a hook, which runs on the committer: it cannot wait for itself.
            if committer.thread().id() != thread::current().id() && committer.join().is_err() {
                tracing::error!("the store's committer panicked");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
