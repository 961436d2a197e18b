//! Redrives: jobs that replay or discard many dead letters, step by step, with a brake.
//!
//! What a redrive promises: it touches only letters that had died when it was made, and none of them twice, however often
//! the process dies and whatever the clock does. Each step's changes and the job's own progress are one batch, so a crash
//! leaves both or neither. A person who replays, discards or cancels meanwhile wins: the step is planned anew.
//!
//! What it does not do: it runs nothing by itself and knows no rate. Whoever calls [`StoreQueue::step_redrive`] says how many
//! letters it may change now, and which lanes have room.

mod record;
mod step;

use std::collections::BTreeSet;

use cofferdam_domain::{DeliveryId, Timestamp, WorkspaceName};
use cofferdam_store::{Key, Keyspace, SCAN_RECORDS_MAX, Scan};

use crate::error::QueueError;
use crate::keys;
use crate::record as stored;
use crate::step::{STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

pub use record::{Redrive, RedriveId, RedriveKind, RedriveOrder, RedriveScope, RedriveState, Skipped};
pub use step::{REDRIVE_CHANGES_PER_STEP_MAX, RedriveStep, Room};

/// Most redrives of a workspace that run at once.
pub const REDRIVES_RUNNING_MAX: usize = 4;

/// Most redrives of a workspace that are remembered, running or not; the oldest that has ended makes room.
pub const REDRIVES_KEPT_MAX: usize = 100;

/// Most letters that a redrive names one by one.
pub const REDRIVE_IDS_MAX: usize = 1000;

/// Letters a second, unless somebody says otherwise.
pub const REDRIVE_RATE_DEFAULT: u32 = 50;

/// Most letters a second.
pub const REDRIVE_RATE_MAX: u32 = 10_000;

/// Why a redrive is not made, or not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// As many run as may.
    #[error("{REDRIVES_RUNNING_MAX} redrives are running already; wait for one to end, or cancel one")]
    Busy,
    /// Nothing is named.
    #[error("a redrive names at least one dead letter")]
    NoIds,
    /// Too much is named.
    #[error("a redrive names at most {REDRIVE_IDS_MAX} dead letters, and this one names {0}; use a filter")]
    TooManyIds(usize),
    /// No rate of ours.
    #[error("the rate is 1 to {REDRIVE_RATE_MAX} letters a second, and not {0}")]
    Rate(u32),
    /// There is none in this workspace.
    #[error("there is no redrive {0}")]
    NotFound(RedriveId),
    /// It is over.
    #[error("redrive {id} is {}, and only a running one is cancelled", state.as_str())]
    Ended {
        /// Which.
        id: RedriveId,
        /// How it ended.
        state: RedriveState,
    },
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl StoreQueue {
    /// Makes a redrive, durably; nothing is changed yet. A letter that is named twice counts once.
    ///
    /// # Errors
    /// [`RedriveError::Busy`] when [`REDRIVES_RUNNING_MAX`] run in this workspace; the order's own bounds.
    pub async fn begin_redrive(
        &self,
        workspace: &WorkspaceName,
        order: RedriveOrder,
        now: Timestamp,
    ) -> Result<Redrive, RedriveError> {
        if !(1..=REDRIVE_RATE_MAX).contains(&order.rate_per_s) {
            return Err(RedriveError::Rate(order.rate_per_s));
        }
        let ids = named_once(order.ids.as_deref())?;
        for _ in 0..STEP_TRIES {
            // The number is read before those that run are counted: whoever is made in between has it, and the step is planned anew.
            let id = RedriveId(self.last_redrive(workspace)?.saturating_add(1));
            let kept = self.redrives(workspace)?;
            let running = kept.iter().filter(|kept| kept.state == RedriveState::Running);
            if running.count() >= REDRIVES_RUNNING_MAX {
                return Err(RedriveError::Busy);
            }
            let redrive = Redrive::new(id, workspace.clone(), &order, ids.as_ref().map(Vec::len), now);
            let mut step = Step::default();
            let key = keys::redrive(workspace, id.0);
            step.batch.expect_absent(key.clone()).put(key, stored::encode(&redrive));
            if let Some(ids) = &ids {
                step.batch.put(keys::redrive_ids(workspace, id.0), stored::encode(ids));
            }
            let ended = kept.iter().filter(|kept| kept.state != RedriveState::Running);
            for old in ended.skip(REDRIVES_KEPT_MAX - 1 - REDRIVES_RUNNING_MAX) {
                step.batch
                    .delete(keys::redrive(workspace, old.id.0))
                    .delete(keys::redrive_ids(workspace, old.id.0));
            }
            if self.commit(step).await? == Stepped::Done {
                tracing::info!(%workspace, redrive = %id, what = redrive.what.as_str(), by = redrive.by, "redrive made");
                return Ok(redrive);
            }
        }
        Err(QueueError::Contended("make a redrive").into())
    }

    /// The redrive.
    pub fn redrive(&self, workspace: &WorkspaceName, id: RedriveId) -> Result<Option<Redrive>, QueueError> {
        Ok(self.found_redrive(workspace, id)?.map(|(redrive, _)| redrive))
    }

    /// Those of the workspace, the latest first, at most [`REDRIVES_KEPT_MAX`]. One that cannot be read is logged and left
    /// out.
    pub fn redrives(&self, workspace: &WorkspaceName) -> Result<Vec<Redrive>, QueueError> {
        let latest = Scan::prefix(keys::in_workspace(Keyspace::Redrive, workspace), REDRIVES_KEPT_MAX).reversed();
        Ok(self
            .store
            .scan(&latest)?
            .iter()
            .filter_map(|(key, raw)| readable(key, raw))
            .collect())
    }

    /// Those that run, in all workspaces.
    pub fn running_redrives(&self) -> Result<Vec<Redrive>, QueueError> {
        let mut running = Vec::new();
        let mut scan = Scan::prefix(Key::of(Keyspace::Redrive), SCAN_RECORDS_MAX);
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else {
                return Ok(running);
            };
            scan = scan.after(last.clone());
            let redrives = page.iter().filter_map(|(key, raw)| readable(key, raw));
            running.extend(redrives.filter(|redrive| redrive.state == RedriveState::Running));
        }
    }

    /// Ends a redrive that runs, durably: what it has changed stays changed, and it changes nothing more.
    ///
    /// # Errors
    /// [`RedriveError::NotFound`], and [`RedriveError::Ended`] for one that is over.
    pub async fn cancel_redrive(
        &self,
        workspace: &WorkspaceName,
        id: RedriveId,
        now: Timestamp,
        by: &str,
    ) -> Result<Redrive, RedriveError> {
        for _ in 0..STEP_TRIES {
            let (mut redrive, raw) = self.found_redrive(workspace, id)?.ok_or(RedriveError::NotFound(id))?;
            if redrive.state != RedriveState::Running {
                return Err(RedriveError::Ended {
                    id,
                    state: redrive.state,
                });
            }
            redrive.end(RedriveState::Cancelled, now);
            redrive.cancelled_by = Some(by.to_owned());
            if self.keep_redrive(Step::default(), &redrive, raw).await? == Stepped::Done {
                tracing::info!(%workspace, redrive = %id, by, "redrive cancelled");
                return Ok(redrive);
            }
        }
        Err(QueueError::Contended("cancel a redrive").into())
    }

    fn found_redrive(
        &self,
        workspace: &WorkspaceName,
        id: RedriveId,
    ) -> Result<Option<(Redrive, Vec<u8>)>, QueueError> {
        let Some(raw) = self.store.get(keys::redrive(workspace, id.0))? else {
            return Ok(None);
        };
        let redrive = stored::decode("redrive", &raw)?;
        Ok(Some((redrive, raw)))
    }

    /// Commits the step with the redrive as it is now, provided that it is still as it was read.
    async fn keep_redrive(&self, mut step: Step, redrive: &Redrive, before: Vec<u8>) -> Result<Stepped, QueueError> {
        let key = keys::redrive(&redrive.workspace, redrive.id.0);
        step.batch.expect(key.clone(), before).put(key, stored::encode(redrive));
        self.commit(step).await
    }

    /// The highest number that was given out; the latest redrive is never forgotten, so no number is given out twice.
    fn last_redrive(&self, workspace: &WorkspaceName) -> Result<u64, QueueError> {
        let latest = Scan::prefix(keys::in_workspace(Keyspace::Redrive, workspace), 1).reversed();
        let found = self.store.scan(&latest)?;
        Ok(found
            .first()
            .and_then(|(key, _)| key.last_chunk().copied())
            .map_or(0, u64::from_be_bytes))
    }
}

fn readable(key: &[u8], raw: &[u8]) -> Option<Redrive> {
    match stored::decode("redrive", raw) {
        Ok(redrive) => Some(redrive),
        Err(error) => {
            tracing::error!(
                key = %key.escape_ascii(),
                error = &error as &dyn std::error::Error,
                "a redrive cannot be read; it is left alone"
            );
            None
        }
    }
}

/// The letters that are named, each once, in the order of their names, which is that of their making.
fn named_once(ids: Option<&[DeliveryId]>) -> Result<Option<Vec<DeliveryId>>, RedriveError> {
    let Some(ids) = ids else { return Ok(None) };
    let ids: BTreeSet<_> = ids.iter().copied().collect();
    match ids.len() {
        0 => Err(RedriveError::NoIds),
        1..=REDRIVE_IDS_MAX => Ok(Some(ids.into_iter().collect())),
        many => Err(RedriveError::TooManyIds(many)),
    }
}
