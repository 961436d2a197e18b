//! Dead letters found: by connection, class, time and event type, a bounded part of them at a time.
//!
//! They lie in the order in which they died, all connections of a workspace together. Which connection a letter belongs to
//! stands in the index; for its class and its type the delivery is read, so that is what the bounds are on. A letter whose
//! record cannot be read is passed over here and logged; it does not hide the others.

use cofferdam_domain::{
    Attempt, ConnectionName, Delivery, DeliveryId, DeliveryState, FailureClass, Timestamp, TypePattern, WorkspaceName,
};
use cofferdam_store::{Entry, Key, SCAN_RECORDS_MAX, Scan};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;
use crate::keys;
use crate::lanes::Depth;
use crate::read::{PAGE_MAX, Page};
use crate::record;
use crate::step::Found;
use crate::store_queue::StoreQueue;

/// Most dead letters that one count looks at.
pub const COUNT_EXAMINED_MAX: usize = 32 * 1024;

/// Which dead letters; what is none matches any.
///
/// A field that is not known is refused wherever this is read, in records too: leaving it out would match more than was
/// asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadFilter {
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// The event's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<TypePattern>,
    /// Died then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Died before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A place among dead letters; it stays good when those before it are replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadCursor {
    /// When the last one seen died.
    pub at: Timestamp,
    /// The last one seen.
    pub delivery: DeliveryId,
}

/// How many dead letters match, as far as was looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadCount {
    /// Those that were seen.
    pub count: u64,
    /// Whether the bound on looking was reached, so that there may be more.
    pub at_least: bool,
    /// The first of them: those that died first.
    pub sample: Vec<Delivery>,
}

/// In which direction to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those that died first come first.
    OldestFirst,
    /// Those that died last come first.
    LatestFirst,
}

/// An entry of the index, and what stands behind it.
pub(crate) struct Listed {
    /// Where the entry lies.
    pub(crate) cursor: DeadCursor,
    /// The letter; none if the filter does not take it, an error if its record cannot be read.
    pub(crate) letter: Result<Option<Found>, QueueError>,
}

impl StoreQueue {
    /// Dead letters, the latest first, at most `limit` and [`PAGE_MAX`]. At most 4096 are looked at for one page, so a page
    /// may be short, or empty, although `next` says that there may be more.
    pub fn dead_letters(
        &self,
        workspace: &WorkspaceName,
        filter: &DeadFilter,
        limit: usize,
        after: Option<DeadCursor>,
    ) -> Result<Page<Delivery, DeadCursor>, QueueError> {
        let limit = limit.min(PAGE_MAX);
        let entries = self.dead_entries(workspace, filter, Order::LatestFirst, after, SCAN_RECORDS_MAX)?;
        let exhausted = entries.len() < SCAN_RECORDS_MAX;
        let mut page = Page {
            items: Vec::new(),
            next: after,
        };
        for entry in entries {
            if page.items.len() == limit {
                return Ok(page);
            }
            let listed = self.listed_dead(workspace, filter, &entry)?;
            page.next = Some(listed.cursor);
            page.items.extend(readable(&listed.cursor, listed.letter)?);
        }
        page.next = page.next.filter(|_| !exhausted);
        Ok(page)
    }

    /// Counts what matches, and hands back the first `sample` of it; looks at no more than [`COUNT_EXAMINED_MAX`]. It reads
    /// that many records one after the other: not for an async task's own thread.
    pub fn count_dead_letters(
        &self,
        workspace: &WorkspaceName,
        filter: &DeadFilter,
        sample: usize,
    ) -> Result<DeadCount, QueueError> {
        let mut counted = DeadCount::default();
        let (mut after, mut examined) = (None, 0);
        while examined < COUNT_EXAMINED_MAX {
            let entries = self.dead_entries(workspace, filter, Order::OldestFirst, after, SCAN_RECORDS_MAX)?;
            if entries.is_empty() {
                return Ok(counted);
            }
            examined += entries.len();
            for entry in entries {
                let listed = self.listed_dead(workspace, filter, &entry)?;
                after = Some(listed.cursor);
                let Some(letter) = readable(&listed.cursor, listed.letter)? else {
                    continue;
                };
                counted.count += 1;
                if counted.sample.len() < sample {
                    counted.sample.push(letter);
                }
            }
        }
        counted.at_least = !self
            .dead_entries(workspace, filter, Order::OldestFirst, after, 1)?
            .is_empty();
        Ok(counted)
    }

    /// The latest attempt of a delivery; none if there was none.
    pub fn last_attempt(&self, workspace: &WorkspaceName, delivery: DeliveryId) -> Result<Option<Attempt>, QueueError> {
        let latest = Scan::prefix(keys::attempts(workspace, delivery), 1).reversed();
        let found = self.store.scan(&latest)?;
        let attempt = found.first().map(|(_, raw)| record::decode("attempt", raw));
        Ok(attempt.transpose()?)
    }

    /// Every lane of the workspace that was ever heard of, also of connections that are gone; from memory.
    pub fn depths(&self, workspace: &WorkspaceName) -> Vec<(ConnectionName, Depth)> {
        self.lanes.of(workspace)
    }

    /// The entries of the index between the filter's times.
    pub(crate) fn dead_entries(
        &self,
        workspace: &WorkspaceName,
        filter: &DeadFilter,
        order: Order,
        after: Option<DeadCursor>,
        limit: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let of = |time| keys::dead_from(workspace, time);
        let (since, until) = (filter.since.map(of), filter.until.map(of));
        let cursor = after.map(|cursor| keys::dead(workspace, cursor.at, cursor.delivery));
        let all = keys::in_workspace(cofferdam_store::Keyspace::Dead, workspace);
        let scan = Scan::prefix(all, limit);
        let (scan, begin, end) = match order {
            Order::OldestFirst => (scan, latest(since, cursor), until),
            Order::LatestFirst => (scan.reversed(), earliest(until, cursor), since),
        };
        let scan = match begin {
            Some(key) => scan.after(key),
            None => scan,
        };
        let scan = match end {
            Some(key) => scan.until(key),
            None => scan,
        };
        Ok(self.store.scan(&scan)?)
    }

    pub(crate) fn listed_dead(
        &self,
        workspace: &WorkspaceName,
        filter: &DeadFilter,
        (key, connection): &(Vec<u8>, Vec<u8>),
    ) -> Result<Listed, QueueError> {
        let (_, at, delivery) = keys::read_dead(key)?;
        let elsewhere = filter
            .connection
            .as_ref()
            .is_some_and(|wanted| wanted.as_str().as_bytes() != connection.as_slice());
        let letter = if elsewhere {
            Ok(None)
        } else {
            self.dead_letter(workspace, filter, at, delivery)
        };
        Ok(Listed {
            cursor: DeadCursor { at, delivery },
            letter,
        })
    }

    fn dead_letter(
        &self,
        workspace: &WorkspaceName,
        filter: &DeadFilter,
        at: Timestamp,
        id: DeliveryId,
    ) -> Result<Option<Found>, QueueError> {
        let Some(found) = self.found(workspace, id)? else {
            return Ok(None);
        };
        // Replayed since the index was read, and dead again perhaps: that is another entry.
        if died(&found.delivery).is_none_or(|(died_at, _)| died_at != at) || !filter.matches(&found.delivery) {
            return Ok(None);
        }
        let of_type = match &filter.event_type {
            None => true,
            Some(pattern) if found.delivery.event_type.is_empty() => {
                // A record from before the type was kept with the delivery.
                let event = self.event(workspace, found.delivery.event)?;
                event.is_some_and(|event| pattern.matches(&event.kind))
            }
            Some(pattern) => pattern.matches(&found.delivery.event_type),
        };
        Ok(of_type.then_some(found))
    }
}

/// When and of what a delivery died; none if it is no dead letter.
pub(crate) fn died(delivery: &Delivery) -> Option<(Timestamp, FailureClass)> {
    match &delivery.state {
        DeliveryState::Dead { at, class } => Some((*at, *class)),
        DeliveryState::Pending { .. }
        | DeliveryState::Leased { .. }
        | DeliveryState::Delivered { .. }
        | DeliveryState::Discarded { .. } => None,
    }
}

/// The letter; one that cannot be read is logged and none.
fn readable(cursor: &DeadCursor, letter: Result<Option<Found>, QueueError>) -> Result<Option<Delivery>, QueueError> {
    match letter {
        Ok(found) => Ok(found.map(|found| found.delivery)),
        Err(error) if error.is_damage() => {
            tracing::error!(
                delivery = %cursor.delivery,
                error = &error as &dyn std::error::Error,
                "a dead letter cannot be read; it is not listed"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The bound that leaves less, walking up.
fn latest(bound: Option<Key>, cursor: Option<Key>) -> Option<Key> {
    bound.max(cursor)
}

/// The bound that leaves less, walking down.
fn earliest(bound: Option<Key>, cursor: Option<Key>) -> Option<Key> {
    match (bound, cursor) {
        (Some(bound), Some(cursor)) => Some(bound.min(cursor)),
        (bound, cursor) => bound.or(cursor),
    }
}

impl DeadFilter {
    /// By everything that the delivery's own record says for certain; its type is looked at apart.
    fn matches(&self, delivery: &Delivery) -> bool {
        let Some((at, died_of)) = died(delivery) else {
            return false;
        };
        self.connection
            .as_ref()
            .is_none_or(|wanted| *wanted == delivery.connection)
            && self.class.is_none_or(|wanted| wanted == died_of)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}
