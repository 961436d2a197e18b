//! Reading what the queue holds. Every read is of one workspace and bounded.

use std::time::Duration;

use cofferdam_domain::{
    Attempt, ConnectionName, CorrelationId, Delivery, DeliveryId, Event, EventId, Timestamp, WorkspaceName,
};
use cofferdam_store::{Key, Keyspace, SCAN_RECORDS_MAX, Scan};

use crate::accept::FAN_OUT_MAX;
use crate::error::QueueError;
use crate::keys;
use crate::lanes::Depth;
use crate::record;
use crate::standing::Standing;
use crate::store_queue::StoreQueue;

/// Most items of one page, and most events of one answer.
pub const PAGE_MAX: usize = 1000;

/// Most attempts of one answer: a record with all its log lines may take half a megabyte.
pub const ATTEMPTS_MAX: usize = 100;

/// Some items, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, Cursor> {
    /// Newest first. There may be fewer than asked for although there are more: a filter is only ever applied to so many.
    pub items: Vec<T>,
    /// Set while there may be more: pass it to get what follows.
    pub next: Option<Cursor>,
}

/// Which deliveries; none matches any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// To whom.
    pub connection: Option<ConnectionName>,
    /// Where it stands.
    pub standing: Option<Standing>,
}

impl StoreQueue {
    /// The event.
    pub fn event(&self, workspace: &WorkspaceName, id: EventId) -> Result<Option<Event>, QueueError> {
        let raw = self.store.get(keys::event(workspace, id))?;
        Ok(raw.map(|raw| record::decode("event", &raw)).transpose()?)
    }

    /// The delivery.
    pub fn delivery(&self, workspace: &WorkspaceName, id: DeliveryId) -> Result<Option<Delivery>, QueueError> {
        Ok(self.found(workspace, id)?.map(|found| found.delivery))
    }

    /// The latest attempts of a delivery, at most [`ATTEMPTS_MAX`], in the order in which they were made.
    pub fn attempts(&self, workspace: &WorkspaceName, delivery: DeliveryId) -> Result<Vec<Attempt>, QueueError> {
        let latest = Scan::prefix(keys::attempts(workspace, delivery), ATTEMPTS_MAX).reversed();
        let records = self.store.scan(&latest)?;
        let attempts = records.iter().rev().map(|(_, raw)| record::decode("attempt", raw));
        Ok(attempts.collect::<Result<_, _>>()?)
    }

    /// Every delivery of an event.
    pub fn deliveries_of(&self, workspace: &WorkspaceName, event: EventId) -> Result<Vec<Delivery>, QueueError> {
        let entries = self
            .store
            .scan(&Scan::prefix(keys::fan_out(workspace, event), FAN_OUT_MAX))?;
        let mut deliveries = Vec::with_capacity(entries.len());
        for (key, _) in entries {
            deliveries.extend(self.delivery(workspace, DeliveryId::from_bytes(keys::last_id(&key)?))?);
        }
        Ok(deliveries)
    }

    /// Events that share a correlation id, oldest first, at most `limit` and [`PAGE_MAX`].
    pub fn events_by_correlation(
        &self,
        workspace: &WorkspaceName,
        correlation: &CorrelationId,
        limit: usize,
    ) -> Result<Vec<Event>, QueueError> {
        let entries = self.store.scan(&Scan::prefix(
            keys::correlated(workspace, correlation),
            limit.min(PAGE_MAX),
        ))?;
        let mut events = Vec::with_capacity(entries.len());
        for (key, _) in entries {
            events.extend(self.event(workspace, EventId::from_bytes(keys::last_id(&key)?))?);
        }
        Ok(events)
    }

    /// The latest events, newest first, at most `limit` and [`PAGE_MAX`]; only those older than `before`.
    pub fn recent_events(
        &self,
        workspace: &WorkspaceName,
        limit: usize,
        before: Option<EventId>,
    ) -> Result<Vec<Event>, QueueError> {
        let latest = Scan::prefix(keys::in_workspace(Keyspace::Event, workspace), limit.min(PAGE_MAX)).reversed();
        let latest = from(latest, before.map(|id| keys::event(workspace, id)));
        let records = self.store.scan(&latest)?;
        let events = records.iter().map(|(_, raw)| record::decode("event", raw));
        Ok(events.collect::<Result<_, _>>()?)
    }

    /// Deliveries, newest first, at most `limit` and [`PAGE_MAX`].
    pub fn deliveries(
        &self,
        workspace: &WorkspaceName,
        filter: &DeliveryFilter,
        limit: usize,
        before: Option<DeliveryId>,
    ) -> Result<Page<Delivery, DeliveryId>, QueueError> {
        let newest = Scan::prefix(keys::in_workspace(Keyspace::Delivery, workspace), SCAN_RECORDS_MAX).reversed();
        let newest = from(newest, before.map(|id| keys::delivery(workspace, id)));
        let examined = self.store.scan(&newest)?;
        let exhausted = examined.len() < SCAN_RECORDS_MAX;
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        for (_, raw) in examined {
            let delivery: Delivery = record::decode("delivery", &raw)?;
            if page.items.len() == limit.min(PAGE_MAX) {
                return Ok(page);
            }
            page.next = Some(delivery.id);
            if filter.matches(&delivery) {
                page.items.push(delivery);
            }
        }
        page.next = page.next.filter(|_| !exhausted);
        Ok(page)
    }

    /// How many deliveries wait in all lanes together; from memory.
    pub fn pending_total(&self) -> u64 {
        self.lanes.pending_total()
    }

    /// Body bytes of what waits in all lanes together; from memory. An event that several lanes wait for counts in each.
    pub fn pending_bytes_total(&self) -> u64 {
        self.lanes.pending_bytes_total()
    }

    /// How long the head of a lane has been due, zero if nothing in it is; from memory. It may be too long until the lane is
    /// next leased from, or [`expire_leases`](crate::Queue::expire_leases) is called, and is never too short by more.
    pub fn lag(&self, workspace: &WorkspaceName, connection: &ConnectionName, now: Timestamp) -> Duration {
        self.lanes.lag(workspace, connection, now)
    }

    /// Lanes in which something waits; from memory.
    pub fn lanes_waiting(&self) -> Vec<(WorkspaceName, ConnectionName)> {
        self.lanes.waiting()
    }

    /// How many deliveries of a lane stand where; from memory.
    pub fn depth(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Depth {
        self.lanes.depth(workspace, connection)
    }
}

fn from(scan: Scan, key: Option<Key>) -> Scan {
    match key {
        Some(key) => scan.after(key),
        None => scan,
    }
}

impl DeliveryFilter {
    fn matches(&self, delivery: &Delivery) -> bool {
        self.connection
            .as_ref()
            .is_none_or(|wanted| *wanted == delivery.connection)
            && self
                .standing
                .is_none_or(|wanted| wanted == Standing::of(&delivery.state))
    }
}
