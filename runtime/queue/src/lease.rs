//! Leases: taking what is due, keeping it, giving it back.
//!
//! A lease is durable before anybody gets to see it, with the attempt that it begins: whatever leaves afterwards has a
//! record. A crash after that leaves the attempt without an end.

use std::time::Duration;

use cofferdam_domain::classify::Verdict;
use cofferdam_domain::{
    Attempt, ConnectionName, Delivery, DeliveryState, Event, FailureClass, Timestamp, WorkspaceName,
};
use cofferdam_store::Scan;

use crate::error::{QueueError, SettleError};
use crate::keys::{self, LaneIndex};
use crate::lanes::Claim;
use crate::record;
use crate::step::{Found, STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

/// Most deliveries that one call leases.
pub const LEASES_PER_CALL_MAX: usize = 64;

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

impl StoreQueue {
    pub(crate) async fn take_due(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
        lease_for: Duration,
        max: usize,
    ) -> Result<Vec<Leased>, QueueError> {
        let max = max.min(LEASES_PER_CALL_MAX);
        let lane = self.lanes.lane(workspace, connection);
        for _ in 0..STEP_TRIES {
            let due = Scan::prefix(LaneIndex::Due.of(workspace, connection), max + lane.claimed())
                .until(LaneIndex::Due.past(workspace, connection, now));
            let (mut step, mut claims, mut leased) = (Step::default(), Vec::new(), Vec::new());
            for (key, _) in self.store.scan(&due)? {
                if leased.len() == max {
                    break;
                }
                let entry = LaneIndex::Due.read(&key)?;
                let Some(claim) = lane.claim(entry.delivery) else {
                    continue;
                };
                let Some(found) = self.found(workspace, entry.delivery)? else {
                    continue;
                };
                // Somebody may have taken it between the scan and the claim.
                if found.delivery.state == (DeliveryState::Pending { due_at: entry.at }) {
                    leased.push(self.stage_lease(&mut step, found, now, now.after(lease_for))?);
                    claims.push(claim);
                }
            }
            if leased.is_empty() {
                return Ok(leased);
            }
            if self.commit(step).await? == Stepped::Done {
                claims.into_iter().for_each(Claim::taken);
                return Ok(leased);
            }
        }
        Err(QueueError::Contended("lease a delivery"))
    }

    fn stage_lease(
        &self,
        step: &mut Step,
        found: Found,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Leased, QueueError> {
        let mut delivery = found.delivery.clone();
        let missing = |what| QueueError::Missing {
            what,
            delivery: found.delivery.id,
        };
        let event = self
            .event(&delivery.workspace, delivery.event)?
            .ok_or_else(|| missing("event"))?;
        let body = self
            .body(&delivery.workspace, delivery.event)?
            .ok_or_else(|| missing("body"))?;
        delivery.state = DeliveryState::Leased { until };
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
            started_at: now,
            ended: None,
        };
        step.batch.put(
            keys::attempt(&delivery.workspace, delivery.id, attempt.run),
            record::encode(&attempt),
        );
        step.change(&self.lanes, found, &delivery);
        Ok(Leased {
            delivery,
            event,
            body,
            attempt,
        })
    }

    pub(crate) fn head_of_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Timestamp>, QueueError> {
        let lane = self.lanes.lane(workspace, connection);
        let head = Scan::prefix(LaneIndex::Due.of(workspace, connection), 1 + lane.claimed());
        for (key, _) in self.store.scan(&head)? {
            let entry = LaneIndex::Due.read(&key)?;
            if !lane.is_claimed(entry.delivery) {
                return Ok(Some(entry.at));
            }
        }
        Ok(None)
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
