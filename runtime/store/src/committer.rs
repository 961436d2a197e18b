//! The one thread that writes.
//!
//! It takes what is waiting and has its turn ([`Turns`]), judges each batch's preconditions against everything before it, hands the engine one batch
//! with the net effect, waits until that is durable, and only then answers, conflicts included: whoever learns of a
//! record from here may rely on it after a power loss.
//!
//! When the engine fails, what is on disk is unknown until the next start, so everybody in the group is told and every
//! later commit is refused.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Hook};
use crate::engine::{OpenEngine, Writes, panic_text};
use crate::error::{CommitError, EngineError, StoreError};
use crate::record::{Head, Record, encode};
use crate::turns::{Next, Turns};
use crate::watermark::Watermark;

/// Batches that may wait for the committer, and as many on the way to it; further callers wait for room.
pub(crate) const WAITING_BATCHES_MAX: usize = 1024;

/// A batch and who waits for it.
pub(crate) struct Request {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<(), CommitError>>,
}

/// The state of the committer thread.
pub(crate) struct Committer {
    engine: Arc<dyn OpenEngine>,
    next_generation: u64,
    watermark: Watermark,
    poisoned: Option<String>,
}

/// A batch whose preconditions have been judged.
struct Judged {
    verdict: Result<Vec<Hook>, CommitError>,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

impl Committer {
    /// A committer over an engine in which no chunk has this generation or a later one.
    pub(crate) fn new(engine: Arc<dyn OpenEngine>, next_generation: u64, watermark: Watermark) -> Self {
        Self {
            engine,
            next_generation,
            watermark,
            poisoned: None,
        }
    }

    /// Commits until nobody can ask any more and everything that was asked is done. `timer` is what large batches rest by.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>, timer: &Runtime) {
        let mut turns = Turns::default();
        let mut closing = false;
        loop {
            while turns.waiting() < WAITING_BATCHES_MAX {
                match requests.try_recv() {
                    Ok(request) => turns.add(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        closing = true;
                        break;
                    }
                }
            }
            let began = Instant::now();
            // Who cannot come in while large ones rest would rest with them.
            let full = turns.waiting() >= WAITING_BATCHES_MAX;
            let came = match turns.next(began, closing || full) {
                Next::Commit(group) => {
                    self.commit(group.requests);
                    turns.committed(group.sizes, began, Instant::now());
                    continue;
                }
                Next::RestUntil(until) => {
                    let rest = timer.block_on(async { tokio::time::timeout_at(until.into(), requests.recv()).await });
                    let Ok(came) = rest else { continue };
                    came
                }
                Next::Idle if closing => break,
                Next::Idle => requests.blocking_recv(),
            };
            match came {
                Some(request) => turns.add(request),
                None => closing = true,
            }
        }
        if self.poisoned.is_none() {
            self.watermark.close();
        }
    }

    /// Commits a group and answers everybody in it.
    pub(crate) fn commit(&mut self, group: Vec<Request>) {
        let (batches, answers): (Vec<_>, Vec<_>) = group.into_iter().map(|it| (it.batch, it.answer)).unzip();
        // sled panics on some kinds of damage; that must not leave callers without an answer.
        let result = match &self.poisoned {
            Some(reason) => Err(StoreError::Poisoned { reason: reason.clone() }),
            None => catch_unwind(AssertUnwindSafe(|| self.write(batches))).unwrap_or_else(|panic| {
                let source: EngineError = Arc::from(Box::from(panic_text(panic.as_ref())));
                Err(StoreError::Engine {
                    operation: "commit",
                    source,
                })
            }),
        };
        let verdicts = match result {
            Ok(verdicts) => verdicts,
            Err(error) => {
                if self.poisoned.is_none() {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a commit failed; no more are taken"
                    );
                    self.poisoned = Some(reason_of(&error));
                }
                answers.iter().map(|_| Err(CommitError::Store(error.clone()))).collect()
            }
        };
        // All hooks of the group run before anybody is answered, so that one who was answered finds them done.
        let judged: Vec<_> = verdicts
            .into_iter()
            .zip(answers)
            .map(|(verdict, answer)| Judged { verdict, answer })
            .map(Judged::run_hooks)
            .collect();
        for (verdict, answer) in judged {
            // A caller that has gone does not take its batch back.
            let _ = answer.send(verdict);
        }
    }

    /// Judges and writes a group; an error means that the engine failed, and what is there is unknown.
    fn write(&mut self, group: Vec<Batch>) -> Result<Vec<Result<Vec<Hook>, CommitError>>, StoreError> {
        let mut staged = Staged {
            engine: self.engine.as_ref(),
            writes: BTreeMap::new(),
        };
        let mut verdicts = Vec::with_capacity(group.len());
        for batch in group {
            verdicts.push(match staged.first_conflict(&batch) {
                Ok(Some(key)) => Err(CommitError::Conflict { key }),
                Ok(None) => Ok(staged.take(batch, &mut self.next_generation)?),
                // Whoever builds on a damaged record is told; the others in the group have nothing to do with it.
                Err(damaged @ StoreError::Corrupt { .. }) => Err(CommitError::Store(damaged)),
                Err(failed @ (StoreError::Engine { .. } | StoreError::Poisoned { .. } | StoreError::Busy { .. })) => {
                    return Err(failed);
                }
            });
        }
        let mut writes = staged.writes;
        if !writes.is_empty() {
            let (counter, commits) = self.watermark.next();
            writes.insert(counter, Some(commits));
            self.engine.commit(writes).map_err(failed("commit"))?;
            self.watermark.committed();
        }
        Ok(verdicts)
    }
}

impl Judged {
    fn run_hooks(self) -> (Result<(), CommitError>, oneshot::Sender<Result<(), CommitError>>) {
        let verdict = self.verdict.map(|hooks| hooks.into_iter().for_each(|hook| hook()));
        (verdict, self.answer)
    }
}

/// What the engine will hold once the group is applied.
struct Staged<'a> {
    engine: &'a dyn OpenEngine,
    writes: Writes,
}

impl Staged<'_> {
    fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => self.engine.get(key).map_err(failed("read")),
        }
    }

    fn record(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.raw(key)?.map(|raw| Record::decode(key, raw)).transpose()
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.record(key)? {
            None => Ok(None),
            Some(Record::Inline(value)) => Ok(Some(value)),
            Some(Record::Chunked(head)) => match head.assemble(key, &|chunk| self.raw(chunk))? {
                Some(value) => Ok(Some(value)),
                None => Err(StoreError::Corrupt {
                    key: key.to_vec(),
                    problem: "a chunk is missing",
                }),
            },
        }
    }

    fn first_conflict(&self, batch: &Batch) -> Result<Option<Vec<u8>>, StoreError> {
        for condition in &batch.conditions {
            if self.value(&condition.key)? != condition.value {
                return Ok(Some(condition.key.clone()));
            }
        }
        Ok(None)
    }

    fn take(&mut self, batch: Batch, next_generation: &mut u64) -> Result<Vec<Hook>, StoreError> {
        for write in batch.writes {
            match self.record(&write.key) {
                Ok(Some(Record::Chunked(head))) => self.drop_chunks(head),
                // A damaged head does not say which chunks it had: they stay until the store is rewritten.
                Ok(Some(Record::Inline(_)) | None) | Err(StoreError::Corrupt { .. }) => {}
                Err(failed) => return Err(failed),
            }
            match write.value {
                None => {
                    self.writes.insert(write.key, None);
                }
                Some(value) => {
                    let generation = || {
                        let generation = *next_generation;
                        *next_generation += 1;
                        generation
                    };
                    let records = encode(write.key, &value, generation);
                    self.writes
                        .extend(records.into_iter().map(|(key, raw)| (key, Some(raw))));
                }
            }
        }
        Ok(batch.hooks)
    }

    fn drop_chunks(&mut self, head: Head) {
        self.writes.extend(head.chunk_keys().map(|key| (key, None)));
    }
}

/// Names what the engine could not do.
pub(crate) fn failed(operation: &'static str) -> impl Fn(EngineError) -> StoreError {
    move |source| StoreError::Engine { operation, source }
}

fn reason_of(error: &StoreError) -> String {
    match error {
        StoreError::Engine { operation, source } => format!("failed to {operation}: {source}"),
        StoreError::Poisoned { .. } | StoreError::Corrupt { .. } | StoreError::Busy { .. } => error.to_string(),
    }
}
