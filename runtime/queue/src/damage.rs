//! Damage: what is done about index entries that lie and records that are missing or cannot be read.
//!
//! One of them stops neither its lane nor others. A delivery that can no longer be made becomes a dead letter that says why,
//! and can be replayed should its records be restored; an index entry that no delivery stands behind goes. Nothing else is
//! removed. A delivery that another version of the product has written is not damage: whoever meets one stops, and touches
//! nothing.

use cofferdam_domain::classify::Failure;
use cofferdam_domain::{Delivery, DeliveryState, FailureClass, Timestamp};

use crate::error::QueueError;
use crate::keys::{self, LaneEntry, LaneIndex};
use crate::step::{Found, Step, listed_order};
use crate::store_queue::StoreQueue;

/// The failure code of a delivery whose event or body is gone.
const RECORD_DAMAGED: &str = "record-damaged";

/// A part of what is owed, or why there is none.
pub(crate) type Part<T> = Result<T, Failure>;

impl StoreQueue {
    /// Reads an index key; one that cannot be read goes with the step.
    pub(crate) fn entry(&self, step: &mut Step, index: LaneIndex, key: &[u8]) -> Option<LaneEntry> {
        let entry = index.read(key);
        if entry.is_err() {
            tracing::error!(key = %key.escape_ascii(), "an index entry cannot be read; it is removed");
            step.batch.delete(key);
        }
        entry.ok()
    }

    /// The delivery that the entry lists; none if it is somewhere else by now. An entry that nothing stands behind, and
    /// that is still there, goes with the step.
    pub(crate) fn listed(
        &self,
        step: &mut Step,
        index: LaneIndex,
        entry: &LaneEntry,
    ) -> Result<Option<Found>, QueueError> {
        // What the commit is conditional on; nobody changes a record that nobody can read.
        let as_found = match self.found(&entry.workspace, entry.delivery) {
            Ok(Some(found)) if stands_in(index, &found.delivery, entry.at) => return Ok(Some(found)),
            Ok(found) => Some(found.map(|found| found.raw)),
            Err(error) if error.is_damage() && !error.is_of_another_version() => {
                tracing::error!(
                    workspace = %entry.workspace,
                    connection = %entry.connection,
                    delivery = %entry.delivery,
                    error = &error as &dyn std::error::Error,
                    "a delivery cannot be read; it is taken off its lane, and its record is kept as it is"
                );
                None
            }
            Err(error) => return Err(error),
        };
        // Read after the delivery: whoever moves a delivery moves its entry in the same batch, so an entry that is still
        // there now is not merely a step behind.
        let Some(value) = self.store.get(entry.key(index))? else {
            return Ok(None);
        };
        let record = keys::delivery(&entry.workspace, entry.delivery);
        match as_found {
            Some(Some(raw)) => {
                step.batch.expect(record, raw);
            }
            Some(None) => {
                step.batch.expect_absent(record);
            }
            None => {}
        }
        if index == LaneIndex::Due
            && let Some(order_key) = listed_order(&value)
        {
            self.leave(step, &entry.workspace, &entry.connection, order_key, entry.delivery)?;
        }
        step.unlist(&self.lanes, index, entry, value);
        Ok(None)
    }

    /// A delivery that cannot be made becomes a dead letter, with no attempt.
    pub(crate) fn stage_damaged(
        &self,
        step: &mut Step,
        found: Found,
        why: Failure,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let delivery = &found.delivery;
        tracing::error!(
            workspace = %delivery.workspace,
            connection = %delivery.connection,
            delivery = %delivery.id,
            event = %delivery.event,
            reason = why.message,
            "a delivery cannot be made; it is a dead letter"
        );
        self.stage_dead(step, found, why, now)
    }

    /// A delivery becomes a dead letter, with no attempt.
    pub(crate) fn stage_dead(
        &self,
        step: &mut Step,
        found: Found,
        why: Failure,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let mut after: Delivery = found.delivery.clone();
        after.state = DeliveryState::Dead {
            at: now,
            class: why.class,
        };
        after.last_failure = Some(why);
        if let Some(order) = &mut after.order {
            // Whoever asks for it again must not find it waiting behind another.
            order.behind = false;
        }
        self.stage_change(step, found, &after)
    }
}

/// The part, or the failure that a delivery without it dies of; an error if the store as a whole is to blame.
pub(crate) fn part<T>(what: &'static str, read: Result<Option<T>, QueueError>) -> Result<Part<T>, QueueError> {
    let problem = match read {
        Ok(Some(part)) => return Ok(Ok(part)),
        Ok(None) => format!("the {what} of this delivery is missing from the store"),
        Err(error) if error.is_damage() => {
            format!("the {what} of this delivery cannot be read from the store: {error}")
        }
        Err(error) => return Err(error),
    };
    Ok(Err(Failure {
        class: FailureClass::DataQuality,
        code: Some(RECORD_DAMAGED.to_owned()),
        message: problem,
        ambiguous: false,
        retry_after_ms: None,
    }))
}

fn stands_in(index: LaneIndex, delivery: &Delivery, at: Timestamp) -> bool {
    match &delivery.state {
        DeliveryState::Pending { due_at } => {
            let behind = delivery.order.as_ref().is_some_and(|order| order.behind);
            index == LaneIndex::Due && *due_at == at && !behind
        }
        DeliveryState::Leased { until } => index == LaneIndex::Lease && *until == at,
        DeliveryState::Delivered { at: delivered_at, .. } => index == LaneIndex::Delivered && *delivered_at == at,
        DeliveryState::Dead { .. } | DeliveryState::Discarded { .. } => false,
    }
}
