//! A connection's turns to be polled. Each is a delivery of its own event, made here in one batch with the record of the
//! schedule, which the batch expects as it was read: whoever makes one twice, after a crash or beside another, makes one.
//!
//! When a poll is due is not decided here.

use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, DeliveryState, Timestamp, WorkspaceName};
use serde::{Deserialize, Serialize};

use crate::accept::{Accept, Accepted};
use crate::error::QueueError;
use crate::keys::{self, KeptPart};
use crate::record;
use crate::replay::make_discarded;
use crate::step::{STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

/// Who gives up a poll that is a dead letter when the next one takes its place.
pub const SUPERSEDED_BY: &str = "the schedule";

/// How a connection's polls stand.
#[derive(Clone, Debug)]
pub struct PollStanding {
    /// When its schedule was first looked at.
    pub since: Timestamp,
    /// The latest time of the schedule for which a poll was made.
    pub last: Option<Timestamp>,
    /// The latest poll, whoever asked for it; none if there was none, or retention has taken it.
    pub latest: Option<Delivery>,
    pub(crate) raw: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct PollRecord {
    since: Timestamp,
    #[serde(default)]
    last: Option<Timestamp>,
    #[serde(default)]
    latest: Option<DeliveryId>,
}

impl PollStanding {
    /// Whether a poll waits or is under way.
    pub fn is_open(&self) -> bool {
        self.latest.as_ref().is_some_and(|latest| match latest.state {
            DeliveryState::Pending { .. } | DeliveryState::Leased { .. } => true,
            DeliveryState::Delivered { .. } | DeliveryState::Dead { .. } | DeliveryState::Discarded { .. } => false,
        })
    }
}

impl StoreQueue {
    /// How the connection's polls stand; none if its schedule was never looked at. A record that cannot be read says
    /// nothing, and is written anew by the next poll.
    pub fn poll_standing(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<Option<PollStanding>, QueueError> {
        let Some(raw) = self.store.get(keys::kept(workspace, connection, KeptPart::Schedule))? else {
            return Ok(None);
        };
        let record = record::decode::<PollRecord>("schedule", &raw).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%workspace, %connection, error, "the record of a schedule cannot be read; it begins anew");
            PollRecord {
                since: now,
                last: None,
                latest: None,
            }
        });
        let latest = record.latest.map(|id| self.delivery(workspace, id)).transpose()?;
        Ok(Some(PollStanding {
            since: record.since,
            last: record.last,
            latest: latest.flatten(),
            raw,
        }))
    }

    /// Notes that the schedule of this connection begins now, unless it has begun before.
    pub async fn begin_polls(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let key = keys::kept(workspace, connection, KeptPart::Schedule);
        let record = PollRecord {
            since: now,
            last: None,
            latest: None,
        };
        let mut step = Step::default();
        step.batch.expect_absent(key.clone()).put(key, record::encode(&record));
        self.commit(step).await.map(|_| ())
    }

    /// Makes a poll: `accept` owes its event to the connection, and to no other. `tick` is the time of the schedule that it
    /// is for, if it is for one. A former poll that is a dead letter is discarded with it: this one asks again for what that
    /// one did not get. None if the standing is no longer as it was read.
    pub async fn make_poll(
        &self,
        connection: &ConnectionName,
        standing: &PollStanding,
        accept: Accept,
        tick: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Accepted>, QueueError> {
        let workspace = accept.new.event.workspace.clone();
        let requests = self.prepare(vec![accept], now)?;
        let mut step = Step::default();
        let mut accepted = self.stage(&mut step, &requests, now)?;
        let Some(accepted) = accepted.pop() else {
            return Ok(None);
        };
        if let Some(former) = &standing.latest
            && let Some(found) = self.found(&workspace, former.id)?
            && matches!(found.delivery.state, DeliveryState::Dead { .. })
        {
            let mut superseded = found.delivery.clone();
            make_discarded(&mut superseded, now, SUPERSEDED_BY);
            self.stage_change(&mut step, found, &superseded)?;
        }
        let record = PollRecord {
            since: standing.since,
            last: tick.or(standing.last),
            latest: accepted.deliveries.first().copied(),
        };
        let key = keys::kept(&workspace, connection, KeptPart::Schedule);
        step.batch
            .expect(key.clone(), standing.raw.clone())
            .put(key, record::encode(&record));
        Ok(match self.commit(step).await? {
            Stepped::Done => Some(accepted),
            Stepped::Conflict => None,
        })
    }

    /// A poll that waits for its time is due now. False if it does not wait any more.
    pub async fn hasten_poll(
        &self,
        workspace: &WorkspaceName,
        poll: DeliveryId,
        now: Timestamp,
    ) -> Result<bool, QueueError> {
        for _ in 0..STEP_TRIES {
            let Some(found) = self.found(workspace, poll)? else {
                return Ok(false);
            };
            let DeliveryState::Pending { due_at } = found.delivery.state else {
                return Ok(false);
            };
            if due_at <= now {
                return Ok(true);
            }
            let mut sooner = found.delivery.clone();
            sooner.state = DeliveryState::Pending { due_at: now };
            let mut step = Step::default();
            self.stage_change(&mut step, found, &sooner)?;
            if self.commit(step).await? == Stepped::Done {
                return Ok(true);
            }
        }
        Err(QueueError::Contended("make a poll due"))
    }

    /// Notes the poll that an ending one asks for: it is the latest from then on.
    pub(crate) fn stage_again(
        &self,
        step: &mut Step,
        (workspace, connection): (&WorkspaceName, &ConnectionName),
        again: DeliveryId,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let key = keys::kept(workspace, connection, KeptPart::Schedule);
        let standing = self.poll_standing(workspace, connection, now)?;
        match &standing {
            Some(standing) => step.batch.expect(key.clone(), standing.raw.clone()),
            None => step.batch.expect_absent(key.clone()),
        };
        let record = PollRecord {
            since: standing.as_ref().map_or(now, |standing| standing.since),
            last: standing.as_ref().and_then(|standing| standing.last),
            latest: Some(again),
        };
        step.batch.put(key, record::encode(&record));
        Ok(())
    }
}
