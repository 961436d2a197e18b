//! The queue over the embedded store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_domain::classify::Failure;
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, LaneState, Timestamp, WorkspaceName};
use cofferdam_store::{CommitError, Store};
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::accept::{Accept, Accepted};
use crate::body::Bodies;
use crate::error::{QueueError, ReplayError, SettleError};
use crate::keys;
use crate::lanes::Lanes;
use crate::lease::{LeaseTerms, Leased};
use crate::order::Places;
use crate::queue::Queue;
use crate::record;
use crate::retention::{Retention, Retired, SharedWalks};
use crate::settle::{Settled, Settlement};
use crate::step::{Found, STEP_TRIES, Step, Stepped};

/// A [`Queue`] in a [`Store`]. Clones share it.
#[derive(Clone)]
pub struct StoreQueue {
    pub(crate) store: Store,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) places: Arc<Places>,
    pub(crate) walks: Arc<SharedWalks>,
    pub(crate) bodies: Bodies,
    rng: Arc<Mutex<StdRng>>,
}

impl StoreQueue {
    /// Opens the queue and takes over what a former process left: its leases are void, as by
    /// [`expire_leases`](Queue::expire_leases) at `now`.
    /// Delivery ids and attempt spans are drawn from `rng`. There must be one queue on a store. Bodies are kept as they came;
    /// see [`StoreQueue::open_with`].
    pub async fn open(store: Store, now: Timestamp, rng: StdRng) -> Result<Self, QueueError> {
        Self::open_with(store, Bodies::Plain, now, rng).await
    }

    /// As [`StoreQueue::open`], with bodies kept so from now on; the seal's keys lie in the same store.
    pub async fn open_with(store: Store, bodies: Bodies, now: Timestamp, rng: StdRng) -> Result<Self, QueueError> {
        let queue = Self {
            store,
            lanes: Arc::default(),
            places: Arc::default(),
            walks: Arc::default(),
            bodies,
            rng: Arc::new(Mutex::new(rng)),
        };
        queue.count()?;
        let contended = queue.count_ordered(now)?;
        queue.repair_order(contended).await?;
        let voided = queue.recover(now).await?;
        if voided > 0 {
            tracing::info!(
                deliveries = voided,
                "attempts of the former process were interrupted; they are due again"
            );
        }
        Ok(queue)
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn found(&self, workspace: &WorkspaceName, id: DeliveryId) -> Result<Option<Found>, QueueError> {
        let Some(raw) = self.store.get(keys::delivery(workspace, id))? else {
            return Ok(None);
        };
        let delivery = record::decode("delivery", &raw)?;
        Ok(Some(Found { delivery, raw }))
    }

    pub(crate) async fn commit(&self, mut step: Step) -> Result<Stepped, QueueError> {
        self.settle_turns(&mut step)?;
        match self.store.commit(step.into_batch()).await {
            Ok(()) => Ok(Stepped::Done),
            Err(CommitError::Conflict { .. }) => Ok(Stepped::Conflict),
            Err(error) => Err(QueueError::Commit(error)),
        }
    }

    /// Whatever the lane's state was, it goes: the batch has no precondition. A settle that read it before does.
    async fn clear_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let lane = self.lanes.lane(workspace, connection);
        let mut step = Step::default();
        step.batch
            .put(
                keys::lane(workspace, connection),
                record::encode(&LaneState::released(now)),
            )
            .then(move || lane.signal());
        match self.commit(step).await? {
            Stepped::Done => Ok(()),
            Stepped::Conflict => Err(QueueError::Contended("release the lane")),
        }
    }

    pub(crate) fn read_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<(Option<Vec<u8>>, LaneState), QueueError> {
        let raw = self.store.get(keys::lane(workspace, connection))?;
        let state = raw.as_deref().map(|raw| record::decode("lane", raw)).transpose()?;
        Ok((raw, state.unwrap_or_default()))
    }
}

impl Queue for StoreQueue {
    async fn accept(&self, requests: Vec<Accept>, now: Timestamp) -> Result<Vec<Accepted>, QueueError> {
        let requests = self.prepare(requests, now)?;
        for _ in 0..STEP_TRIES {
            let mut step = Step::default();
            let accepted = self.stage(&mut step, &requests, now)?;
            if self.commit(step).await? == Stepped::Done {
                return Ok(accepted);
            }
        }
        Err(QueueError::Contended("accept the events"))
    }

    async fn lease_many(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        terms: LeaseTerms,
    ) -> Result<Vec<Leased>, QueueError> {
        self.take_due(workspace, connection, terms).await
    }

    async fn next_due(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Timestamp>, QueueError> {
        self.head_of_lane(workspace, connection)
    }

    async fn look_up(&self, workspace: &WorkspaceName, delivery: DeliveryId) -> Result<Option<Delivery>, QueueError> {
        self.delivery(workspace, delivery)
    }

    async fn extend(&self, leased: &Leased, until: Timestamp) -> Result<(), SettleError> {
        self.move_lease(leased, until).await
    }

    async fn settle(&self, leased: Leased, settlement: Settlement) -> Result<Settled, SettleError> {
        self.end_attempt(&leased, settlement).await
    }

    async fn release(&self, leased: Leased) -> Result<(), SettleError> {
        self.give_back(&leased).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<usize, QueueError> {
        self.void_overdue(now).await
    }

    async fn lane_state(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<LaneState, QueueError> {
        Ok(self.read_lane(workspace, connection)?.1)
    }

    async fn release_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        self.clear_lane(workspace, connection, now).await
    }

    async fn replay(
        &self,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> Result<(), ReplayError> {
        self.revive(workspace, delivery, now, by).await
    }

    async fn discard(
        &self,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> Result<(), ReplayError> {
        self.give_up(workspace, delivery, now, by).await
    }

    async fn abandon(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
        failure: &Failure,
        max: usize,
    ) -> Result<usize, QueueError> {
        self.turn_dead(workspace, connection, now, failure, max).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, QueueError> {
        self.move_tallies_on(now).await;
        self.forget_dedupe_keys(now).await
    }

    async fn retire(&self, now: Timestamp, retention: &Retention) -> Result<Retired, QueueError> {
        self.retire_some(now, retention).await
    }

    fn subscribe(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> watch::Receiver<u64> {
        self.lanes.lane(workspace, connection).subscribe()
    }
}
