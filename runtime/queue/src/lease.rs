//! Leases: taking what is due, keeping it, giving it back.
//!
//! A lease is durable before anybody gets to see it, with the attempt that it begins: whatever leaves afterwards has a
//! record. A crash after that leaves the attempt without an end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::classify::{Failure, Verdict};
use cofferdam_domain::limits::{MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{
    Attempt, ConnectionName, Delivery, DeliveryState, Event, FailureClass, Timestamp, WorkspaceName, retry,
};
use cofferdam_store::Scan;

use crate::damage::part;
use crate::error::{QueueError, SettleError};
use crate::keys::{self, LaneEntry, LaneIndex};
use crate::lanes::{Claim, Lane};
use crate::record;
use crate::step::{Found, STEP_TRIES, Step, Stepped, listed_order};
use crate::store_queue::StoreQueue;

/// Most deliveries that one call leases.
pub const LEASES_PER_CALL_MAX: usize = 64;

/// What is leased, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The time of leasing: what is due by then is taken.
    pub now: Timestamp,
    /// How long the holder has.
    pub lease_for: Duration,
    /// At most so many, and [`LEASES_PER_CALL_MAX`].
    pub max: usize,
    /// A delivery whose series is older than this becomes a dead letter instead (code `expired`); none means no such bound.
    pub max_age: Option<Duration>,
}

/// A delivery that its holder, and nobody else, may attempt until the lease ends.
#[derive(Clone, Debug)]
pub struct Leased {
    /// As it is now: leased, and with this attempt counted as a run and as charged.
    pub delivery: Delivery,
    /// What is owed.
    pub event: Event,
    /// The event's body.
    pub body: Vec<u8>,
    /// The attempt that this lease begins.
    pub attempt: Attempt,
}

impl Leased {
    /// The delivery as `cofferdam_domain::retry::decide` wants it for this verdict: with the fault counted, if the attempt
    /// was one. [`Queue::settle`](crate::Queue::settle) counts it by itself, from the failure's class.
    pub fn delivery_after(&self, verdict: &Verdict) -> Delivery {
        let mut delivery = self.delivery.clone();
        match verdict {
            Verdict::Failed(failure) => count_fault(&mut delivery, Some(failure.class)),
            Verdict::Delivered(_) => {}
        }
        delivery
    }
}

/// Counts an attempt that failed by this class, if it was a connector fault.
pub(crate) fn count_fault(delivery: &mut Delivery, class: Option<FailureClass>) {
    if class == Some(FailureClass::ConnectorFault) {
        delivery.faults = delivery.faults.saturating_add(1);
    }
}

/// Entries of the due index that one step looks at: what is listed before its turn does not hide what comes after it.
const EXAMINED_MAX: usize = 1024;

/// Deliveries that one step moves behind others of their order key, and how many entries are read at once to find more.
const MOVED_MAX: usize = 256;

/// The failure code of a delivery whose series is too old.
const EXPIRED: &str = "expired";

/// What all leases of one call have in common.
struct Start {
    now: Timestamp,
    until: Timestamp,
    max_age: Option<Duration>,
    /// The end of the lane's latest back-off, or of its breaker's wait.
    open_since: Timestamp,
    /// When the waits began that ended then.
    waits_since: Timestamp,
}

impl Start {
    /// Since when a delivery that was due then would have stood ready without a break, had nothing but the destination kept
    /// it: `now` less all the time in which it stood ready, before the lane's latest waits and after them.
    fn ready_at(&self, due_at: Timestamp) -> Timestamp {
        let before = self.waits_since.min(self.now).since(due_at);
        let after = self.now.since(due_at.max(self.open_since));
        let idle = u64::try_from((before + after).as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(self.now.as_millis().saturating_sub(idle))
    }
}

/// The step under construction, who must be kept from it meanwhile, and what the caller gets once it is durable.
#[derive(Default)]
struct Plan {
    step: Step,
    claims: Vec<Claim>,
    leased: Vec<Leased>,
    examined: usize,
    /// Order keys that another delivery's turn it is in.
    blocked: HashSet<String>,
    moved: usize,
    /// When the first entry is due that is left as it is.
    next_head: Option<Timestamp>,
}

impl StoreQueue {
    pub(crate) async fn take_due(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        terms: LeaseTerms,
    ) -> Result<Vec<Leased>, QueueError> {
        let LeaseTerms {
            now,
            lease_for,
            max,
            max_age,
        } = terms;
        let max = max.min(LEASES_PER_CALL_MAX);
        let lane = self.lanes.lane(workspace, connection);
        let mut tidied = false;
        for _ in 0..STEP_TRIES {
            let state = self.read_lane(workspace, connection)?.1;
            let start = Start {
                now,
                until: now.after(lease_for),
                max_age,
                open_since: state.open_since(),
                waits_since: state.waits_since(),
            };
            let glance = lane.glance();
            let plan = self.plan(&lane, workspace, connection, max, &start)?;
            if plan.step.is_empty() {
                return Ok(Vec::new());
            }
            tidied = self.commit(plan.step).await? == Stepped::Done;
            if tidied {
                lane.saw_head(glance, plan.next_head);
                plan.claims.into_iter().for_each(Claim::taken);
                if !plan.leased.is_empty() {
                    return Ok(plan.leased);
                }
            }
        }
        // So much at the head of one lane that cannot be leased that the next call has to go on.
        if tidied {
            return Ok(Vec::new());
        }
        Err(QueueError::Contended("lease a delivery"))
    }

    fn plan(
        &self,
        lane: &Arc<Lane>,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        max: usize,
        start: &Start,
    ) -> Result<Plan, QueueError> {
        let mut plan = Plan::default();
        let of_lane = LaneIndex::Due.of(workspace, connection);
        // One more than is wanted, to know what the head is then.
        let mut limit = max + lane.claimed() + 1;
        let mut last: Option<Vec<u8>> = None;
        loop {
            let due = Scan::prefix(of_lane.clone(), limit).until(LaneIndex::Due.past(workspace, connection, start.now));
            let page = self.store.scan(&match last {
                Some(last) => due.after(last),
                None => due,
            })?;
            let exhausted = page.len() < limit;
            for (key, value) in &page {
                plan.examined += 1;
                self.plan_entry(&mut plan, lane, (key, value), max, start)?;
            }
            last = page.into_iter().next_back().map(|(key, _)| key);
            if exhausted || plan.leased.len() == max || plan.examined >= EXAMINED_MAX {
                return Ok(plan);
            }
            limit = MOVED_MAX;
        }
    }

    fn plan_entry(
        &self,
        plan: &mut Plan,
        lane: &Arc<Lane>,
        (key, value): (&[u8], &[u8]),
        max: usize,
        start: &Start,
    ) -> Result<(), QueueError> {
        if plan.leased.len() == max {
            // No more is taken; but the first of the rest is the lane's head from then on.
            if plan.next_head.is_none() {
                let left = LaneIndex::Due.read(key).ok();
                plan.next_head = left.filter(|it| !lane.is_claimed(it.delivery)).map(|it| it.at);
            }
            return Ok(());
        }
        let blocked = listed_order(value).is_some_and(|order_key| plan.blocked.contains(order_key));
        if blocked && plan.moved >= MOVED_MAX {
            return Ok(());
        }
        let Some(entry) = self.entry(&mut plan.step, LaneIndex::Due, key) else {
            return Ok(());
        };
        match lane.claim(entry.delivery) {
            Some(claim) => self.plan_lease(plan, claim, &entry, start),
            None => Ok(()),
        }
    }

    /// Plans the lease of what the entry lists, or what is done about a delivery whose turn it is not, that is too old, or
    /// that is damaged.
    fn plan_lease(&self, plan: &mut Plan, claim: Claim, entry: &LaneEntry, start: &Start) -> Result<(), QueueError> {
        // Somebody may have taken it between the scan and the claim.
        let Some(found) = self.listed(&mut plan.step, LaneIndex::Due, entry)? else {
            return Ok(());
        };
        plan.claims.push(claim);
        let order_key = found.delivery.order.as_ref().map(|order| order.key.clone());
        let Some(found) = self.admit(&mut plan.step, found)? else {
            plan.blocked.extend(order_key);
            plan.moved += 1;
            return Ok(());
        };
        let delivery = &found.delivery;
        let ready_at = start.ready_at(entry.at);
        if let Some(why) = expired(delivery, ready_at, start) {
            return self.stage_dead(&mut plan.step, found, why, start.now);
        }
        let event = part("event", self.event(&delivery.workspace, delivery.event))?;
        let body = part("body", self.body(&delivery.workspace, delivery.event))?;
        match (event, body) {
            (Ok(event), Ok(body)) => {
                let (delivery, attempt) = self.stage_lease(&mut plan.step, found, &event, start, ready_at);
                plan.leased.push(Leased {
                    delivery,
                    event,
                    body,
                    attempt,
                });
                Ok(())
            }
            (Err(why), _) | (_, Err(why)) => self.stage_damaged(&mut plan.step, found, why, start.now),
        }
    }

    fn stage_lease(
        &self,
        step: &mut Step,
        found: Found,
        event: &Event,
        start: &Start,
        ready_at: Timestamp,
    ) -> (Delivery, Attempt) {
        let mut delivery = found.delivery.clone();
        delivery.series_at = retry::series_at(&delivery, ready_at, start.now);
        delivery.state = DeliveryState::Leased { until: start.until };
        delivery.generation += 1;
        delivery.runs = delivery.runs.saturating_add(1);
        delivery.charged = delivery.charged.saturating_add(1);
        let attempt = Attempt {
            delivery: delivery.id,
            workspace: delivery.workspace.clone(),
            connection: delivery.connection.clone(),
            run: delivery.runs,
            number: delivery.charged,
            trace: event.trace.child(&mut *self.rng()),
            started_at: start.now,
            ended: None,
        };
        step.batch.put(
            keys::attempt(&delivery.workspace, delivery.id, attempt.run),
            record::encode(&attempt),
        );
        step.change(&self.lanes, found, &delivery);
        (delivery, attempt)
    }

    /// When the head of the lane is due; the lane remembers it.
    pub(crate) fn head_of_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Timestamp>, QueueError> {
        let lane = self.lanes.lane(workspace, connection);
        let glance = lane.glance();
        let mut scan = Scan::prefix(LaneIndex::Due.of(workspace, connection), 1 + lane.claimed());
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else {
                lane.saw_head(glance, None);
                return Ok(None);
            };
            // What cannot be read is passed over: the next lease removes it once its turn has come.
            let mut readable = page.iter().filter_map(|(key, _)| LaneIndex::Due.read(key).ok());
            if let Some(head) = readable.find(|entry| !lane.is_claimed(entry.delivery)) {
                lane.saw_head(glance, Some(head.at));
                return Ok(Some(head.at));
            }
            scan = scan.after(last.clone());
        }
    }

    /// The delivery, provided that the lease is still the present one.
    pub(crate) fn held(&self, leased: &Leased) -> Result<Found, SettleError> {
        let delivery = &leased.delivery;
        let found = self.found(&delivery.workspace, delivery.id)?;
        let present = found.filter(|found| {
            let still_leased = matches!(found.delivery.state, DeliveryState::Leased { .. });
            still_leased && found.delivery.generation == delivery.generation
        });
        present.ok_or(SettleError::Stale(delivery.id))
    }

    pub(crate) async fn move_lease(&self, leased: &Leased, until: Timestamp) -> Result<(), SettleError> {
        for _ in 0..STEP_TRIES {
            let found = self.held(leased)?;
            let mut delivery = found.delivery.clone();
            delivery.state = DeliveryState::Leased { until };
            let mut step = Step::default();
            step.change(&self.lanes, found, &delivery);
            if self.commit(step).await? == Stepped::Done {
                return Ok(());
            }
        }
        Err(QueueError::Contended("extend a lease").into())
    }

    pub(crate) async fn give_back(&self, leased: &Leased) -> Result<(), SettleError> {
        for _ in 0..STEP_TRIES {
            let found = self.held(leased)?;
            let mut delivery = found.delivery.clone();
            // The run's number stays used: somebody may have read the attempt's record, and it is never another's.
            delivery.charged = delivery.charged.saturating_sub(1);
            delivery.state = DeliveryState::Pending {
                due_at: leased.attempt.started_at,
            };
            let mut step = Step::default();
            step.batch
                .delete(keys::attempt(&delivery.workspace, delivery.id, leased.attempt.run));
            step.change(&self.lanes, found, &delivery);
            if self.commit(step).await? == Stepped::Done {
                return Ok(());
            }
        }
        Err(QueueError::Contended("release a delivery").into())
    }
}

/// Why the delivery is not attempted any more, if its series is too old.
fn expired(delivery: &Delivery, ready_at: Timestamp, start: &Start) -> Option<Failure> {
    let age = start.now.since(retry::series_at(delivery, ready_at, start.now));
    let max_age = start.max_age.filter(|max_age| age > *max_age)?;
    let last = delivery.last_failure.as_ref();
    Some(Failure {
        // What kept it from being delivered in time; of one that was never attempted, time itself.
        class: last.map_or(FailureClass::Timeout, |failure| failure.class),
        code: Some(EXPIRED.to_owned()),
        message: match last {
            Some(failure) => one_line(
                &format!(
                    "not delivered within {} s; the last failure was: {}",
                    max_age.as_secs(),
                    failure.message
                ),
                MESSAGE_BYTES_MAX,
            ),
            None => format!("not delivered within {} s", max_age.as_secs()),
        },
        ambiguous: false,
        retry_after_ms: None,
    })
}
