//! One step of one or more deliveries: the batch under construction, and what it means for the counts.
//!
//! A delivery is changed here and nowhere else, so that its record and its places in the indexes cannot part. Where a key's
//! order is concerned the step also holds whose turn it is; `order.rs` decides that before the step is committed.

use std::collections::BTreeMap;

use cofferdam_domain::{Delivery, DeliveryState, Timestamp};
use cofferdam_store::{Batch, Key};

use crate::keys::{self, LaneEntry, LaneIndex, OrderEntry};
use crate::lanes::{Lanes, Move};
use crate::order::Turn;
use crate::record;
use crate::standing::Standing;

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
    /// By their keys in the store.
    pub(crate) turns: BTreeMap<Key, Turn>,
    moves: Vec<Move>,
}

impl Step {
    /// A delivery that is new.
    pub(crate) fn create(&mut self, lanes: &Lanes, delivery: &Delivery) {
        self.batch.put(
            keys::delivery(&delivery.workspace, delivery.id),
            record::encode(delivery),
        );
        for (key, value) in entries(delivery) {
            self.batch.put(key, value);
        }
        self.moves.push(lanes.transition(None, delivery, listed_at(delivery)));
    }

    /// A delivery that becomes `after`, provided that it is still as it was found. Its order, if it has one, is not looked
    /// at: see `StoreQueue::stage_change`.
    pub(crate) fn change(&mut self, lanes: &Lanes, found: Found, after: &Delivery) {
        let key = keys::delivery(&after.workspace, after.id);
        let (former, present) = (entries(&found.delivery), entries(after));
        for (former_key, _) in &former {
            if present.iter().all(|(key, _)| key != former_key) {
                self.batch.delete(former_key.clone());
            }
        }
        for entry in present {
            if !former.contains(&entry) {
                self.batch.put(entry.0, entry.1);
            }
        }
        self.batch
            .expect(key.clone(), found.raw)
            .put(key, record::encode(after));
        let from = Standing::of(&found.delivery.state);
        let due_at = listed_at(after).filter(|_| listed_at(&found.delivery) != listed_at(after));
        self.moves.push(lanes.transition(Some(from), after, due_at));
    }

    /// A delivery that goes with everything that lists it, provided that it is still as it was found.
    pub(crate) fn remove(&mut self, lanes: &Lanes, found: Found) {
        let delivery = &found.delivery;
        for (key, _) in entries(delivery) {
            self.batch.delete(key);
        }
        let key = keys::delivery(&delivery.workspace, delivery.id);
        self.moves.push(Move {
            lane: lanes.lane(&delivery.workspace, &delivery.connection),
            from: Some(Standing::of(&delivery.state)),
            to: None,
            body_bytes: delivery.body_bytes,
            due_at: None,
        });
        self.batch.expect(key.clone(), found.raw).delete(key);
    }

    /// An index entry behind which no delivery stands goes, provided that it is still there, and is counted no more.
    pub(crate) fn unlist(&mut self, lanes: &Lanes, index: LaneIndex, entry: &LaneEntry, value: Vec<u8>) {
        let key = entry.key(index);
        self.moves.push(Move {
            lane: lanes.lane(&entry.workspace, &entry.connection),
            from: Some(index.standing()),
            to: None,
            body_bytes: listed_bytes(&value),
            due_at: None,
        });
        self.batch.expect(key.clone(), value).delete(key);
    }

    /// Counts something once the step is durable.
    pub(crate) fn count(&mut self, counted: Move) {
        self.moves.push(counted);
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.bytes() == 0 && self.turns.values().all(Turn::is_settled)
    }

    /// The batch, which counts its moves once it is durable.
    pub(crate) fn into_batch(mut self) -> Batch {
        for (key, turn) in self.turns {
            turn.write(key, &mut self.batch);
        }
        let moves = self.moves;
        self.batch.then(move || moves.iter().for_each(Move::apply));
        self.batch
    }
}

/// The body's size as an entry of the due index holds it; entries from before it was kept, and those of the lease and
/// delivered indexes, are empty.
pub(crate) fn listed_bytes(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The order key as an entry of the due index holds it, behind the size.
pub(crate) fn listed_order(value: &[u8]) -> Option<&str> {
    let order_key = value.get(size_of::<u64>()..).filter(|rest| !rest.is_empty())?;
    std::str::from_utf8(order_key).ok()
}

/// What an entry of the order index holds: whether the delivery waits behind another, and is in no other index, and the
/// body's size.
pub(crate) fn is_behind(value: &[u8]) -> bool {
    value.first() == Some(&1)
}

/// See [`is_behind`].
pub(crate) fn ordered_bytes(value: &[u8]) -> u64 {
    listed_bytes(value.get(1..).unwrap_or_default())
}

/// Whether the delivery has yet to come to an end.
pub(crate) const fn is_undone(state: &DeliveryState) -> bool {
    match state {
        DeliveryState::Pending { .. } | DeliveryState::Leased { .. } => true,
        DeliveryState::Delivered { .. } | DeliveryState::Dead { .. } | DeliveryState::Discarded { .. } => false,
    }
}

/// When it is listed as due; none while it waits behind another, and when it does not wait.
fn listed_at(delivery: &Delivery) -> Option<Timestamp> {
    let behind = delivery.order.as_ref().is_some_and(|order| order.behind);
    match &delivery.state {
        DeliveryState::Pending { due_at } if !behind => Some(*due_at),
        DeliveryState::Pending { .. }
        | DeliveryState::Leased { .. }
        | DeliveryState::Delivered { .. }
        | DeliveryState::Dead { .. }
        | DeliveryState::Discarded { .. } => None,
    }
}

/// Everything that lists a delivery in this state. Values hold what counting at open needs, so that it reads no delivery
/// records: the dead index spans connections, and what waits is counted in bytes too.
fn entries(delivery: &Delivery) -> Vec<(Key, Vec<u8>)> {
    let entry = |at| LaneEntry {
        workspace: delivery.workspace.clone(),
        connection: delivery.connection.clone(),
        at,
        delivery: delivery.id,
    };
    let bytes = delivery.body_bytes.to_be_bytes();
    let mut entries = Vec::with_capacity(2);
    match &delivery.state {
        DeliveryState::Pending { .. } => {
            if let Some(due_at) = listed_at(delivery) {
                let order_key = delivery.order.as_ref().map_or("", |order| order.key.as_str());
                let value = [&bytes, order_key.as_bytes()].concat();
                entries.push((entry(due_at).key(LaneIndex::Due), value));
            }
        }
        DeliveryState::Leased { until } => entries.push((entry(*until).key(LaneIndex::Lease), Vec::new())),
        DeliveryState::Delivered { at, .. } => entries.push((entry(*at).key(LaneIndex::Delivered), Vec::new())),
        DeliveryState::Dead { at, .. } => {
            let value = delivery.connection.as_str().as_bytes().to_vec();
            entries.push((keys::dead(&delivery.workspace, *at, delivery.id), value));
        }
        DeliveryState::Discarded { .. } => {}
    }
    if let Some(order) = delivery.order.as_ref().filter(|_| is_undone(&delivery.state)) {
        let key = OrderEntry {
            workspace: delivery.workspace.clone(),
            connection: delivery.connection.clone(),
            order_key: order.key.clone(),
            place: order.place,
            delivery: delivery.id,
        };
        entries.push((key.key(), [&[u8::from(order.behind)][..], &bytes].concat()));
    }
    entries
}
