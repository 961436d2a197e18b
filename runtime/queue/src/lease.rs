//! Leases: taking what is due, keeping it, giving it back.
//!
//! A lease is durable before anybody gets to see it, with the attempt that it begins: whatever leaves afterwards has a
//! record. A crash after that leaves the attempt without an end.

use std::time::Duration;

use cofferdam_domain::classify::Verdict;
use cofferdam_domain::{
    Attempt, ConnectionName, Delivery, DeliveryState, Event, FailureClass, Timestamp, WorkspaceName, retry,
};
use cofferdam_store::Scan;

use crate::damage::part;
use crate::error::{QueueError, SettleError};
use crate::keys::{self, LaneEntry, LaneIndex};
use crate::lanes::Claim;
use crate::record;
use crate::step::{Found, STEP_TRIES, Step, Stepped};
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

/// What all leases of one call have in common.
struct Start {
    now: Timestamp,
    until: Timestamp,
    /// The end of the lane's latest back-off.
    open_since: Timestamp,
}

/// The step under construction, who must be kept from it meanwhile, and what the caller gets once it is durable.
#[derive(Default)]
struct Plan {
    step: Step,
    claims: Vec<Claim>,
    leased: Vec<Leased>,
}

impl StoreQueue {
    pub(crate) async fn take_due(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        terms: LeaseTerms,
    ) -> Result<Vec<Leased>, QueueError> {
        let LeaseTerms {
            now, lease_for, max, ..
        } = terms;
        let max = max.min(LEASES_PER_CALL_MAX);
        let lane = self.lanes.lane(workspace, connection);
        let mut tidied = false;
        for _ in 0..STEP_TRIES {
            let due = Scan::prefix(LaneIndex::Due.of(workspace, connection), max + lane.claimed())
                .until(LaneIndex::Due.past(workspace, connection, now));
            let back_off_until = self.read_lane(workspace, connection)?.1.back_off_until;
            let start = Start {
                now,
                until: now.after(lease_for),
                open_since: back_off_until.unwrap_or(Timestamp::ZERO),
            };
            let mut plan = Plan::default();
            for (key, _) in self.store.scan(&due)? {
                if plan.leased.len() == max {
                    break;
                }
                let Some(entry) = self.entry(&mut plan.step, LaneIndex::Due, &key) else {
                    continue;
                };
                if let Some(claim) = lane.claim(entry.delivery) {
                    self.plan_lease(&mut plan, claim, &entry, &start)?;
                }
            }
            if plan.step.is_empty() {
                return Ok(Vec::new());
            }
            tidied = self.commit(plan.step).await? == Stepped::Done;
            if tidied {
                plan.claims.into_iter().for_each(Claim::taken);
                if !plan.leased.is_empty() {
                    return Ok(plan.leased);
                }
            }
        }
        // So much damage at the head of one lane that the next call has to go on.
        if tidied {
            return Ok(Vec::new());
        }
        Err(QueueError::Contended("lease a delivery"))
    }

    /// Plans the lease of what the entry lists, or what is done about an entry or a delivery that is damaged.
    fn plan_lease(&self, plan: &mut Plan, claim: Claim, entry: &LaneEntry, start: &Start) -> Result<(), QueueError> {
        // Somebody may have taken it between the scan and the claim.
        let Some(found) = self.listed(&mut plan.step, LaneIndex::Due, entry)? else {
            return Ok(());
        };
        let delivery = &found.delivery;
        let event = part("event", self.event(&delivery.workspace, delivery.event))?;
        let body = part("body", self.body(&delivery.workspace, delivery.event))?;
        match (event, body) {
            (Ok(event), Ok(body)) => {
                let ready_at = entry.at.max(start.open_since);
                let (delivery, attempt) = self.stage_lease(&mut plan.step, found, &event, start, ready_at);
                plan.leased.push(Leased {
                    delivery,
                    event,
                    body,
                    attempt,
                });
            }
            (Err(why), _) | (_, Err(why)) => self.stage_damaged(&mut plan.step, found, why, start.now),
        }
        plan.claims.push(claim);
        Ok(())
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

    pub(crate) fn head_of_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Timestamp>, QueueError> {
        let lane = self.lanes.lane(workspace, connection);
        let mut scan = Scan::prefix(LaneIndex::Due.of(workspace, connection), 1 + lane.claimed());
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            // What cannot be read is passed over: the next lease removes it once its turn has come.
            let mut readable = page.iter().filter_map(|(key, _)| LaneIndex::Due.read(key).ok());
            if let Some(head) = readable.find(|entry| !lane.is_claimed(entry.delivery)) {
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
