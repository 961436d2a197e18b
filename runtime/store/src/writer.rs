//! How a batch gets to the committer: through a thread of its own, or on the caller's.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::batch::Batch;
use crate::committer::{Committer, Request, WAITING_BATCHES_MAX};
use crate::error::CommitError;

/// Who runs the committer.
pub(crate) enum Writer {
    /// A thread that takes many callers' batches as one group.
    Thread(CommitterThread),
    /// Each caller, one after the other. Nothing is handed to another thread, so a simulation sees the same order, and the
    /// same moment on its clock, every time.
    Caller(Mutex<Option<Committer>>),
}

/// The thread, and the way to it. Either is gone once the store was closed.
pub(crate) struct CommitterThread {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the committer's thread.
    pub(crate) fn thread(committer: Committer) -> io::Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING_BATCHES_MAX);
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run(waiting, &timer))?;
        Ok(Self::Thread(CommitterThread {
            requests: Mutex::new(Some(requests)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Lets each caller run the committer.
    pub(crate) fn caller(committer: Committer) -> Self {
        Self::Caller(Mutex::new(Some(committer)))
    }

    /// Commits a batch that was checked. Not cancel-safe in the caller's favour: a batch that was handed over is committed.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        match self {
            Self::Thread(thread) => {
                let (answer, answered) = oneshot::channel();
                let requests = thread.requests()?;
                requests
                    .send(Request { batch, answer })
                    .await
                    .map_err(|_| CommitError::Closed)?;
                answered.await.unwrap_or(Err(CommitError::Closed))
            }
            Self::Caller(committer) => commit_here(committer, batch),
        }
    }

    /// As [`Writer::commit`], for threads that run no executor.
    pub(crate) fn commit_blocking(&self, batch: Batch) -> Result<(), CommitError> {
        match self {
            Self::Thread(thread) => {
                let (answer, answered) = oneshot::channel();
                let requests = thread.requests()?;
                requests
                    .blocking_send(Request { batch, answer })
                    .map_err(|_| CommitError::Closed)?;
                answered.blocking_recv().unwrap_or(Err(CommitError::Closed))
            }
            Self::Caller(committer) => commit_here(committer, batch),
        }
    }

    /// Takes no more batches and returns when those that were asked for are done.
    pub(crate) fn stop(&self) {
        match self {
            Self::Thread(thread) => thread.stop(),
            Self::Caller(committer) => {
                committer.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        }
    }
}

impl CommitterThread {
    fn requests(&self) -> Result<mpsc::Sender<Request>, CommitError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone().ok_or(CommitError::Closed)
    }

    fn stop(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The last handle may go in a hook, which runs on the committer: it cannot wait for itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the store's committer panicked");
            }
        }
    }
}

fn commit_here(committer: &Mutex<Option<Committer>>, batch: Batch) -> Result<(), CommitError> {
    let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
    let committer = committer.as_mut().ok_or(CommitError::Closed)?;
    let (answer, mut answered) = oneshot::channel();
    committer.commit(vec![Request { batch, answer }]);
    answered.try_recv().unwrap_or(Err(CommitError::Closed))
}
