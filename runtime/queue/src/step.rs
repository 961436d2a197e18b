//! One step of one or more deliveries: the batch under construction, and what it means for the counts.
//!
//! A delivery is changed here and nowhere else, so that its record and its place in the indexes cannot part.

use cofferdam_domain::{Delivery, DeliveryState};
use cofferdam_store::{Batch, Key};

use crate::keys::{self, LaneEntry, LaneIndex};
use crate::lanes::{Lanes, Move};
use crate::record;

/// How often a step is planned anew because others changed what it builds on.
pub(crate) const STEP_TRIES: u32 = 64;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// It is durable.
    Done,
    /// What it builds on has changed: read and plan again.
    Conflict,
}

/// A delivery as it was read, with the bytes that a change of it is conditional on.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) delivery: Delivery,
    pub(crate) raw: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Step {
    pub(crate) batch: Batch,
    moves: Vec<Move>,
}

impl Step {
    /// A delivery that is new.
    pub(crate) fn create(&mut self, lanes: &Lanes, delivery: &Delivery) {
        self.batch.put(
            keys::delivery(&delivery.workspace, delivery.id),
            record::encode(delivery),
        );
        self.index(delivery);
        self.moves.push(lanes.transition(None, delivery));
    }

    /// A delivery that becomes `after`, provided that it is still as it was found.
    pub(crate) fn change(&mut self, lanes: &Lanes, found: Found, after: &Delivery) {
        let key = keys::delivery(&after.workspace, after.id);
        if let Some(former) = index_key(&found.delivery) {
            self.batch.delete(former);
        }
        self.batch
            .expect(key.clone(), found.raw)
            .put(key, record::encode(after));
        self.index(after);
        self.moves.push(lanes.transition(Some(&found.delivery.state), after));
    }

    /// An index entry behind which no delivery stands goes, provided that it is still there, and is counted no more.
    pub(crate) fn unlist(&mut self, lanes: &Lanes, index: LaneIndex, entry: &LaneEntry, value: Vec<u8>) {
        let key = entry.key(index);
        self.moves.push(Move {
            lane: lanes.lane(&entry.workspace, &entry.connection),
            from: Some(index.standing()),
            to: None,
            body_bytes: listed_bytes(&value),
        });
        self.batch.expect(key.clone(), value).delete(key);
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.bytes() == 0
    }

    /// The batch, which counts its moves once it is durable.
    pub(crate) fn into_batch(mut self) -> Batch {
        let moves = self.moves;
        self.batch.then(move || moves.iter().for_each(Move::apply));
        self.batch
    }

    fn index(&mut self, delivery: &Delivery) {
        if let Some(key) = index_key(delivery) {
            // Values hold what counting at open needs, so that it reads no delivery records: the dead index spans
            // connections, and what waits is counted in bytes too.
            let value = match delivery.state {
                DeliveryState::Dead { .. } => delivery.connection.as_str().as_bytes().to_vec(),
                DeliveryState::Pending { .. } => delivery.body_bytes.to_be_bytes().to_vec(),
                DeliveryState::Leased { .. } | DeliveryState::Delivered { .. } | DeliveryState::Discarded { .. } => {
                    Vec::new()
                }
            };
            self.batch.put(key, value);
        }
    }
}

/// The body's size as an entry of the due index holds it; entries from before it was kept, and those of the other indexes,
/// are empty.
pub(crate) fn listed_bytes(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_be_bytes)
}

/// Where a delivery in this state is listed; none when it is in no list.
fn index_key(delivery: &Delivery) -> Option<Key> {
    let entry = |at| LaneEntry {
        workspace: delivery.workspace.clone(),
        connection: delivery.connection.clone(),
        at,
        delivery: delivery.id,
    };
    match &delivery.state {
        DeliveryState::Pending { due_at } => Some(entry(*due_at).key(LaneIndex::Due)),
        DeliveryState::Leased { until } => Some(entry(*until).key(LaneIndex::Lease)),
        DeliveryState::Delivered { at, .. } => Some(entry(*at).key(LaneIndex::Delivered)),
        DeliveryState::Dead { at, .. } => Some(keys::dead(&delivery.workspace, *at, delivery.id)),
        DeliveryState::Discarded { .. } => None,
    }
}
