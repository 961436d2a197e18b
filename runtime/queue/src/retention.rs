//! Retention: what is done goes after a while, in steps of bounded size.
//!
//! Five walks go through the store, each by keys in the order of time: bodies, attempts, whole events, newest first what is
//! over a bound in bytes, and the keys of sealed bodies. A walk remembers where it stands, in memory only, and starts again when it is through;
//! what it removed it does not meet again, so a walk costs what is kept too young for it to end at, and what is not done.
//!
//! What waits, is under lease, or shares its event with such a delivery stays. An event goes with its body, all its
//! deliveries and everything that lists them in one batch; attempts go before it, in batches of their own, so a crash leaves
//! an event without some of its attempts and never the other way round. A dead letter that is replayed meanwhile stays: the
//! batch expects it as it was judged.

mod body_keys;
mod judge;
mod walk;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::{DeliveryId, DeliveryState, EventId, Timestamp, WorkspaceName};
use cofferdam_store::{Keyspace, SCAN_RECORDS_MAX, Scan};
use serde::{Deserialize, Serialize};

use self::body_keys::KeyWalk;
use self::judge::{Ended, Judged};
use self::walk::{Walk, Weighed};
use crate::error::QueueError;
use crate::keys;
use crate::lanes::LaneName;
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// Records that one commit of retention removes, but for an event with more: its own go together.
pub const RETIRED_PER_COMMIT: usize = 256;

/// Records that each walk looks at in one call.
const EXAMINED_PER_CALL: usize = 256;

/// How often everything that is kept is weighed: that reads all of it, where the other walks meet only what is old.
const WEIGHING_PERIOD: Duration = Duration::from_hours(1);

const DAY: Duration = Duration::from_hours(24);

/// How long and how much is kept. A zero means for ever, or without bound. Ages are counted from the end of a delivery, and
/// of an event from that of its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Events whose deliveries are all delivered or discarded, with everything about them.
    pub delivered_days: u32,
    /// Bodies of such events; sooner than the events, if at all.
    pub bodies_days: u32,
    /// Attempts, with their trails and log lines, of deliveries that are delivered or discarded; sooner than the events, if
    /// at all.
    pub attempts_days: u32,
    /// Dead letters, with their events once nothing else of them is kept.
    pub dead_days: u32,
    /// Bodies of each workspace, in bytes: of what is done the oldest go when they are more. Weighed once an hour.
    pub bodies_bytes: u64,
    /// Attempts of each workspace, in bytes: of what is done the oldest go when they are more. Weighed once an hour.
    pub attempts_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            delivered_days: 30,
            bodies_days: 7,
            attempts_days: 30,
            dead_days: 90,
            bodies_bytes: 8 << 30,
            attempts_bytes: 8 << 30,
        }
    }
}

/// What one call of [`Queue::retire`](crate::Queue::retire) removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Events, whole.
    pub events: u64,
    /// Deliveries of theirs.
    pub deliveries: u64,
    /// Those among the deliveries that were dead letters.
    pub dead: u64,
    /// Bodies without their events.
    pub bodies: u64,
    /// Attempts.
    pub attempts: u64,
    /// Keys under which bodies were sealed that are all gone.
    pub body_keys: u64,
    /// Whether some walk is not through: the next call goes on where this one stopped. Once all are, they begin anew.
    pub more: bool,
}

/// Where the walks stand.
#[derive(Clone, Default)]
pub(crate) struct Walks {
    bodies: Walk,
    attempts: Walk,
    events: Walk,
    heavy_bodies: Weighed,
    heavy_attempts: Weighed,
    body_keys: KeyWalk,
    begun: bool,
    weighed_at: Option<Timestamp>,
}

impl Walks {
    fn begin(&mut self, now: Timestamp) {
        if self.begun {
            return;
        }
        self.begun = true;
        let due = |at: Timestamp| now < at || now.since(at) >= WEIGHING_PERIOD;
        if self.weighed_at.is_none_or(due) {
            self.weighed_at = Some(now);
        } else {
            self.heavy_bodies.skip();
            self.heavy_attempts.skip();
        }
    }

    fn are_through(&self) -> bool {
        let by_age = self.bodies.is_through() && self.attempts.is_through() && self.events.is_through();
        let by_weight = self.heavy_bodies.is_through() && self.heavy_attempts.is_through();
        by_age && by_weight && self.body_keys.is_through()
    }
}

/// What must be older than what to go.
#[derive(Clone, Copy)]
struct Bounds {
    done: Option<Timestamp>,
    dead: Option<Timestamp>,
}

impl StoreQueue {
    /// One step of every walk. A walk that fails goes on behind what it failed at, and does not keep the others: the first
    /// failure is handed back at the end.
    pub(crate) async fn retire_some(&self, now: Timestamp, retention: &Retention) -> Result<Retired, QueueError> {
        let mut walks = self.walks().clone();
        walks.begin(now);
        let mut retired = Retired::default();
        // Bodies and attempts may go sooner than what they belong to, never later: those go with it.
        let bodies = before(now, retention.bodies_days);
        let mut done = self.retire_bodies(&mut walks.bodies, bodies, &mut retired).await;
        let attempts = before(now, retention.attempts_days);
        done = done.and(self.retire_attempts(&mut walks.attempts, attempts, &mut retired).await);
        let bounds = Bounds {
            done: before(now, retention.delivered_days),
            dead: before(now, retention.dead_days),
        };
        done = done.and(self.retire_events(&mut walks.events, bounds, &mut retired).await);
        done = done.and(
            self.retire_heavy_bodies(&mut walks.heavy_bodies, retention.bodies_bytes, now, &mut retired)
                .await,
        );
        done = done.and(
            self.retire_heavy_attempts(&mut walks.heavy_attempts, retention.attempts_bytes, now, &mut retired)
                .await,
        );
        done = done.and(self.retire_body_keys(&mut walks.body_keys, now, &mut retired).await);
        // Walks that are through wait for the others: whoever calls until nothing is left comes to an end.
        retired.more = !walks.are_through();
        if walks.are_through() {
            walks = Walks {
                weighed_at: walks.weighed_at,
                ..Walks::default()
            };
        }
        *self.walks() = walks;
        done.map(|()| retired)
    }

    fn walks(&self) -> std::sync::MutexGuard<'_, Walks> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn retire_bodies(
        &self,
        walk: &mut Walk,
        until: Option<Timestamp>,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let found = walk.next(&self.store, Keyspace::Body, until)?;
        match until {
            Some(until) => self.drop_bodies(found, until, retired).await,
            None => Ok(()),
        }
    }

    /// Removes the bodies of those events whose deliveries were all delivered or discarded until then.
    async fn drop_bodies(
        &self,
        events: Vec<(WorkspaceName, [u8; 16])>,
        until: Timestamp,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let mut step = Step::default();
        let mut here = 0;
        for (workspace, id) in events {
            let event = EventId::from_bytes(id);
            let done = Bounds {
                done: Some(until),
                dead: None,
            };
            if let Judged::Over(_) = self.judge(&workspace, event, done)? {
                self.stage_body_removal(&mut step, &workspace, event);
                here += 1;
            }
        }
        if !step.is_empty() && self.commit(step).await? == Stepped::Done {
            retired.bodies += here;
        }
        Ok(())
    }

    async fn retire_attempts(
        &self,
        walk: &mut Walk,
        until: Option<Timestamp>,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let mut deliveries = walk.next(&self.store, Keyspace::Attempt, until)?;
        deliveries.dedup();
        match until {
            Some(until) => self.drop_attempts(deliveries, until, retired).await,
            None => Ok(()),
        }
    }

    /// Removes the attempts of those deliveries that were delivered or discarded until then, or are gone.
    async fn drop_attempts(
        &self,
        deliveries: Vec<(WorkspaceName, [u8; 16])>,
        until: Timestamp,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let mut batch = Batch::default();
        for (workspace, id) in deliveries {
            let delivery = DeliveryId::from_bytes(id);
            let over = match self.end_of(&workspace, delivery)? {
                Ended::Gone => true,
                Ended::Done { at, dead, .. } => !dead && at <= until,
                Ended::NotYet => false,
            };
            if over {
                self.stage_attempts_removal(&mut batch, &workspace, delivery, retired)
                    .await?;
            }
            if batch.records >= RETIRED_PER_COMMIT {
                self.finish(std::mem::take(&mut batch), retired).await?;
            }
        }
        self.finish(batch, retired).await
    }

    /// Stages the removal of a delivery's attempts. Of very many, all but the last ones are removed at once.
    async fn stage_attempts_removal(
        &self,
        batch: &mut Batch,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        loop {
            let attempts = Scan::prefix(keys::attempts(workspace, delivery), RETIRED_PER_COMMIT);
            let attempts = self.store.keys(&attempts)?;
            if attempts.len() < RETIRED_PER_COMMIT {
                batch.remove_attempts(attempts);
                return Ok(());
            }
            let mut some = Batch::default();
            some.remove_attempts(attempts);
            self.finish(some, retired).await?;
        }
    }

    async fn retire_events(&self, walk: &mut Walk, bounds: Bounds, retired: &mut Retired) -> Result<(), QueueError> {
        // What is neither done nor dead long enough is younger than both.
        let youngest = bounds.done.max(bounds.dead);
        let events = walk.next(&self.store, Keyspace::Event, youngest)?;
        let mut present = Batch::default();
        for (workspace, id) in events {
            let event = EventId::from_bytes(id);
            let Judged::Over(deliveries) = self.judge(&workspace, event, bounds)? else {
                continue;
            };
            for ended in &deliveries {
                self.stage_attempts_removal(&mut present, &workspace, ended.found.delivery.id, retired)
                    .await?;
            }
            self.stage_event_removal(&mut present, &workspace, event, deliveries)?;
            if present.records >= RETIRED_PER_COMMIT {
                self.finish(std::mem::take(&mut present), retired).await?;
            }
        }
        self.finish(present, retired).await
    }

    fn stage_event_removal(
        &self,
        batch: &mut Batch,
        workspace: &WorkspaceName,
        event: EventId,
        deliveries: Vec<judge::Over>,
    ) -> Result<(), QueueError> {
        let step = &mut batch.step;
        // An event that cannot be read goes like any other; what its correlation id leads to is then not there.
        let correlation = match self.event(workspace, event) {
            Ok(event) => event.map(|event| event.correlation_id),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        };
        let correlation = correlation.or_else(|| Some(deliveries.first()?.found.delivery.correlation_id.clone()));
        if let Some(correlation) = correlation {
            let listed = keys::correlated(workspace, &correlation).bytes(event.as_bytes());
            step.batch.delete(listed);
        }
        let fan_out = Scan::prefix(keys::fan_out(workspace, event), SCAN_RECORDS_MAX);
        for key in self.store.keys(&fan_out)? {
            step.batch.delete(key);
        }
        step.batch.delete(keys::event(workspace, event));
        self.stage_body_removal(step, workspace, event);
        batch.records += 4 + 3 * deliveries.len();
        batch.retired.events += 1;
        for ended in deliveries {
            let delivery = &ended.found.delivery;
            batch.retired.deliveries += 1;
            batch.retired.dead += u64::from(ended.dead);
            if let DeliveryState::Delivered { at, .. } = &delivery.state {
                let lane = (workspace.clone(), delivery.connection.clone());
                batch.delivered.entry(lane).or_default().push(*at);
            }
            step.remove(&self.lanes, ended.found);
        }
        Ok(())
    }

    /// Commits what is staged. If somebody changed one of the deliveries meanwhile, all of it waits for the next walk.
    async fn finish(&self, mut batch: Batch, retired: &mut Retired) -> Result<(), QueueError> {
        if batch.records == 0 {
            return Ok(());
        }
        for (lane, removed_at) in &batch.delivered {
            self.lower_tally(&mut batch.step, lane, removed_at)?;
        }
        if self.commit(batch.step).await? == Stepped::Done {
            retired.events += batch.retired.events;
            retired.deliveries += batch.retired.deliveries;
            retired.dead += batch.retired.dead;
            retired.attempts += batch.retired.attempts;
        }
        Ok(())
    }

    async fn retire_heavy_bodies(
        &self,
        walk: &mut Weighed,
        bytes_max: u64,
        now: Timestamp,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let weigh = |workspace: &WorkspaceName, id, _: &[u8]| match self.event(workspace, EventId::from_bytes(id)) {
            Ok(event) => Ok(event.map_or(0, |event| event.body_bytes)),
            Err(error) if error.is_damage() => Ok(0),
            Err(error) => Err(error),
        };
        let over = walk.next(&self.store, Keyspace::Body, bytes_max, weigh)?;
        self.drop_bodies(over, now, retired).await
    }

    async fn retire_heavy_attempts(
        &self,
        walk: &mut Weighed,
        bytes_max: u64,
        now: Timestamp,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let weigh = |_: &WorkspaceName, _, key: &[u8]| match self.store.get(key).map_err(QueueError::from) {
            Ok(raw) => Ok(raw.map_or(0, |raw| raw.len() as u64)),
            Err(error) if error.is_damage() => Ok(0),
            Err(error) => Err(error),
        };
        let mut over = walk.next(&self.store, Keyspace::Attempt, bytes_max, weigh)?;
        over.dedup();
        self.drop_attempts(over, now, retired).await
    }
}

impl Batch {
    fn remove_attempts(&mut self, attempts: Vec<Vec<u8>>) {
        self.records += attempts.len();
        self.retired.attempts += attempts.len() as u64;
        for key in attempts {
            self.step.batch.delete(key);
        }
    }
}

/// What goes in one commit.
#[derive(Default)]
struct Batch {
    step: Step,
    records: usize,
    /// By lane, when those were delivered that go.
    delivered: BTreeMap<LaneName, Vec<Timestamp>>,
    retired: Retired,
}

/// What ended before this is older than so many days; none if that never matters.
fn before(now: Timestamp, days: u32) -> Option<Timestamp> {
    let age = u64::try_from((DAY * days).as_millis()).unwrap_or(u64::MAX);
    (days > 0).then(|| Timestamp::from_millis(now.as_millis().saturating_sub(age)))
}

/// Shared by the clones of a queue.
pub(crate) type SharedWalks = Mutex<Walks>;
