//! Order: deliveries of one connection that share a key are made one after the other, in the order of acceptance.
//!
//! Accepting one costs no contention: it takes the next place and is listed as due like any other. Whose turn it is in a
//! key is a record of its own, which every step that builds on it expects to be as it was read. A delivery that comes up for
//! a lease when it is not its turn is *moved behind*: it leaves the due index, so it is looked at once and not again and
//! again, and other keys of the lane are never held up by it for longer. When the delivery whose turn it is comes to an end
//! (delivered, a dead letter), the same step passes the turn on to the first of the key, and lists that one as due. A dead
//! letter thus frees its key; a replay takes a new place, at the end.
//!
//! No delivery is left behind nobody: moving behind changes the turn's record, and so does passing the turn on, so of two
//! that race one plans anew and sees the other. Should an index be damaged all the same, the next lease in the key or the
//! next start puts it right.

mod start;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, Digest, OrderPlace, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key, Scan};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;
use crate::keys::{self, OrderEntry};
use crate::lanes::Move;
use crate::record;
use crate::standing::Standing;
use crate::step::{Found, Step, is_behind, is_undone, ordered_bytes};
use crate::store_queue::StoreQueue;

/// Entries of a key that are read at once to find its first.
const ELECTION_ENTRIES: usize = 16;

/// Bits below a place's time: so many places fit into a millisecond before places run ahead of the clock.
const PLACE_BITS: u32 = 20;

/// Hexadecimal digits of the key's hash that name it.
const KEY_DIGITS: usize = 32;

/// Gives out places, which only ever rise among what is undone.
#[derive(Default)]
pub(crate) struct Places(AtomicU64);

impl Places {
    /// Later places than this one, and than those of earlier times.
    fn raise(&self, highest: u64, now: Timestamp) {
        // A clock that stands absurdly late must leave places to come.
        let by_clock = now.as_millis().min(u64::MAX >> (PLACE_BITS + 1)) << PLACE_BITS;
        let least = highest.saturating_add(1).max(by_clock);
        self.0.fetch_max(least, Ordering::Relaxed);
    }

    /// The place at the end, for a key as the fan-out names it.
    pub(crate) fn end_of(&self, order_key: &str) -> OrderPlace {
        let mut key = Digest::of(order_key.as_bytes()).to_string();
        key.truncate(KEY_DIGITS);
        OrderPlace {
            key,
            place: self.next(),
            behind: false,
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The stored form of a turn.
#[derive(Debug, Serialize, Deserialize)]
struct TurnRecord {
    holder: DeliveryId,
    /// Makes each change of the turn, and each move behind its holder, visible to whoever has read it before.
    changes: u64,
}

/// Whose turn it is in a key, as a step knows it.
pub(crate) struct Turn {
    workspace: WorkspaceName,
    connection: ConnectionName,
    order_key: String,
    /// As it was read.
    raw: Option<Vec<u8>>,
    changes: u64,
    holder: Option<DeliveryId>,
    /// Come to an end with this step.
    left: HashSet<DeliveryId>,
    /// Are moved behind with this step, unless the turn comes to them.
    waiting: Vec<Found>,
    changed: bool,
}

impl Turn {
    /// Whether the step would not change it.
    pub(crate) fn is_settled(&self) -> bool {
        !self.changed && self.waiting.is_empty() && self.left.is_empty()
    }

    pub(crate) fn write(self, key: Key, batch: &mut Batch) {
        match self.raw {
            Some(raw) => batch.expect(key.clone(), raw),
            None => batch.expect_absent(key.clone()),
        };
        if self.changed {
            match self.holder {
                Some(holder) => {
                    let changes = self.changes.wrapping_add(1);
                    batch.put(key, record::encode(&TurnRecord { holder, changes }))
                }
                None => batch.delete(key),
            };
        }
    }

    /// Whose turn it is, if that one has not come to its end.
    fn holder(&self) -> Option<DeliveryId> {
        self.holder.filter(|holder| !self.left.contains(holder))
    }
}

impl StoreQueue {
    /// Adds the change to the step. A delivery that comes to its end with it leaves the order of its key.
    pub(crate) fn stage_change(&self, step: &mut Step, found: Found, after: &Delivery) -> Result<(), QueueError> {
        if let Some(order) = &found.delivery.order
            && is_undone(&found.delivery.state)
            && !is_undone(&after.state)
        {
            self.leave(step, &after.workspace, &after.connection, &order.key, after.id)?;
        }
        step.change(&self.lanes, found, after);
        Ok(())
    }

    /// The delivery is no longer among those of its key.
    pub(crate) fn leave(
        &self,
        step: &mut Step,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        order_key: &str,
        delivery: DeliveryId,
    ) -> Result<(), QueueError> {
        let key = self.read_turn(step, workspace, connection, order_key)?;
        if let Some(turn) = step.turns.get_mut(&key) {
            turn.left.insert(delivery);
        }
        Ok(())
    }

    /// The delivery, if it may be leased as far as its order is concerned; otherwise it is moved behind with the step.
    pub(crate) fn admit(&self, step: &mut Step, found: Found) -> Result<Option<Found>, QueueError> {
        let delivery = &found.delivery;
        let Some(order) = &delivery.order else {
            return Ok(Some(found));
        };
        let key = self.read_turn(step, &delivery.workspace, &delivery.connection, &order.key)?;
        self.elect_if_vacant(step, &key)?;
        match step.turns.get_mut(&key) {
            Some(turn) if turn.holder != Some(delivery.id) => {
                turn.waiting.push(found);
                Ok(None)
            }
            _ => Ok(Some(found)),
        }
    }

    /// Decides what the step leaves open: who is next in keys whose holder comes to its end, and who is moved behind.
    pub(crate) fn settle_turns(&self, step: &mut Step) -> Result<(), QueueError> {
        let keys: Vec<Key> = step.turns.keys().cloned().collect();
        for key in keys {
            let Some(turn) = step.turns.get(&key) else { continue };
            // Behind a turn that was held others may wait; one that never was is taken by whoever comes up first.
            if turn.raw.is_some() || turn.holder.is_some() {
                self.elect_if_vacant(step, &key)?;
            }
            let Some(turn) = step.turns.get_mut(&key) else { continue };
            let holder = turn.holder;
            let waiting = std::mem::take(&mut turn.waiting);
            for found in waiting {
                if holder == Some(found.delivery.id) {
                    continue;
                }
                if let Some(turn) = step.turns.get_mut(&key) {
                    turn.changed = true;
                }
                let after = placed(&found.delivery, true);
                step.change(&self.lanes, found, &after);
            }
        }
        Ok(())
    }

    /// Reads the turn into the step, unless it is there.
    fn read_turn(
        &self,
        step: &mut Step,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        order_key: &str,
    ) -> Result<Key, QueueError> {
        let key = keys::turn(workspace, connection, order_key);
        if step.turns.contains_key(&key) {
            return Ok(key);
        }
        let raw = self.store.get(&key)?;
        let read = raw.as_deref().and_then(|raw| {
            let read = record::decode::<TurnRecord>("turn", raw);
            if let Err(error) = &read {
                tracing::error!(
                    %workspace, %connection, order_key,
                    error = error as &dyn std::error::Error,
                    "whose turn it is in an order cannot be read; the first of its key is next"
                );
            }
            read.ok()
        });
        let mut holder = None;
        if let Some(record) = &read
            && let Some(found) = self.undone_of(workspace, order_key, record.holder)?
            && !found.delivery.order.as_ref().is_some_and(|order| order.behind)
        {
            holder = Some(record.holder);
        }
        let turn = Turn {
            workspace: workspace.clone(),
            connection: connection.clone(),
            order_key: order_key.to_owned(),
            raw,
            changes: read.map_or(0, |record| record.changes),
            holder,
            left: HashSet::new(),
            waiting: Vec::new(),
            changed: false,
        };
        step.turns.insert(key.clone(), turn);
        Ok(key)
    }

    /// The delivery, if it is still undone and of this key.
    fn undone_of(
        &self,
        workspace: &WorkspaceName,
        order_key: &str,
        id: DeliveryId,
    ) -> Result<Option<Found>, QueueError> {
        match self.found(workspace, id) {
            Ok(found) => Ok(found.filter(|found| {
                let same_key = found
                    .delivery
                    .order
                    .as_ref()
                    .is_some_and(|order| order.key == order_key);
                same_key && is_undone(&found.delivery.state)
            })),
            Err(error) if error.is_damage() && !error.is_of_another_version() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the turn to the first of its key, if nobody who goes on holds it.
    fn elect_if_vacant(&self, step: &mut Step, key: &Key) -> Result<(), QueueError> {
        let Some(turn) = step.turns.get(key) else {
            return Ok(());
        };
        if turn.holder().is_some() {
            return Ok(());
        }
        let (workspace, order_key) = (turn.workspace.clone(), turn.order_key.clone());
        let left = turn.left.clone();
        let mut scan = Scan::prefix(
            keys::ordered_by(&workspace, &turn.connection, &order_key),
            ELECTION_ENTRIES,
        );
        let mut first = None;
        'search: loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { break };
            scan = scan.after(last.clone());
            for (entry_key, value) in page {
                let Ok(entry) = OrderEntry::read(&entry_key) else {
                    tracing::error!(key = %entry_key.escape_ascii(), "an order entry cannot be read; it is removed");
                    step.batch.delete(entry_key);
                    continue;
                };
                if left.contains(&entry.delivery) {
                    continue;
                }
                let found = self.undone_of(&workspace, &order_key, entry.delivery)?;
                let stands = |found: &Found| found.delivery.order.as_ref().is_some_and(|it| it.place == entry.place);
                match found.filter(stands) {
                    Some(found) => {
                        first = Some(found);
                        break 'search;
                    }
                    None => self.unlist_ordered(step, &entry, value),
                }
            }
        }
        let elected = first.as_ref().map(|found| found.delivery.id);
        if let Some(found) = first {
            if found.delivery.order.as_ref().is_some_and(|order| order.behind) {
                let after = placed(&found.delivery, false);
                step.change(&self.lanes, found, &after);
            } else {
                // It must not come to its end unseen while the turn comes to it.
                step.batch
                    .expect(keys::delivery(&workspace, found.delivery.id), found.raw);
            }
        }
        if let Some(turn) = step.turns.get_mut(key) {
            turn.holder = elected;
            turn.changed = turn.raw.is_some() || elected.is_some();
        }
        Ok(())
    }

    /// An entry that nothing stands behind goes, provided that it is still as it was read.
    fn unlist_ordered(&self, step: &mut Step, entry: &OrderEntry, value: Vec<u8>) {
        tracing::error!(
            workspace = %entry.workspace,
            connection = %entry.connection,
            delivery = %entry.delivery,
            "an order entry has no delivery; it is removed"
        );
        if is_behind(&value) {
            step.count(Move {
                lane: self.lanes.lane(&entry.workspace, &entry.connection),
                from: Some(Standing::Pending),
                to: None,
                body_bytes: ordered_bytes(&value),
                due_at: None,
            });
        }
        step.batch.expect(entry.key(), value).delete(entry.key());
    }
}

/// The delivery, behind another or not.
fn placed(delivery: &Delivery, behind: bool) -> Delivery {
    let mut after = delivery.clone();
    if let Some(order) = &mut after.order {
        order.behind = behind;
    }
    after
}
