//! Settling: one batch that ends an attempt and says what follows for the delivery, the lane and what it produced.
//!
//! A crash before it leaves the lease, which is void at the next start; a crash after it leaves everything. A holder whose
//! lease is no longer the present one changes nothing.

use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::{Attempt, Delivery, DeliveryState, FailureClass, LaneEffect, Outcome, Timestamp};

use crate::accept::{Accept, Accepted};
use crate::error::{QueueError, SettleError};
use crate::kept::KeptChange;
use crate::keys;
use crate::lease::{Leased, count_fault};
use crate::record;
use crate::step::{STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

/// What an attempt came to, for everybody it concerns.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// For the attempt's record; its outcome decides the delivery's state.
    pub end: AttemptEnd,
    /// For the lane, in this order.
    pub lane: Vec<LaneEffect>,
    /// Events that the attempt made: what a source read out of a raw request.
    pub produced: Vec<Accept>,
    /// What the connector keeps from it. Empty, unless the outcome is delivered.
    pub kept: KeptChange,
    /// The time of settling.
    pub now: Timestamp,
}

/// What a settle did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// As it is now.
    pub delivery: Delivery,
    /// What became of `produced`, in its order.
    pub produced: Vec<Accepted>,
}

impl StoreQueue {
    pub(crate) async fn end_attempt(&self, leased: &Leased, settlement: Settlement) -> Result<Settled, SettleError> {
        let Settlement {
            end,
            lane,
            mut produced,
            mut kept,
            now,
        } = settlement;
        // Staged together with the rest: their bodies may be the first of their day, and share its key.
        let asks_again = kept.again.is_some();
        produced.extend(kept.again.take());
        let produced = self.prepare(produced, now)?;
        let attempt = Attempt {
            ended: Some(end.clone()),
            ..leased.attempt.clone()
        };
        let attempt_key = keys::attempt(&attempt.workspace, attempt.delivery, attempt.run);
        for _ in 0..STEP_TRIES {
            let found = self.held(leased)?;
            let lane_of = self.lanes.lane(&attempt.workspace, &attempt.connection);
            let delivery = after(found.delivery.clone(), &end, now, lane_of.delivered_at(now));
            let mut step = Step::default();
            step.batch.put(attempt_key.clone(), record::encode(&attempt));
            self.stage_change(&mut step, found, &delivery)?;
            self.stage_lane(&mut step, &attempt, &lane, now)?;
            self.stage_kept(&mut step, &attempt, &kept, now)?;
            let mut produced = self.stage(&mut step, &produced, now)?;
            let again = if asks_again { produced.pop() } else { None };
            if let Some(again) = again.and_then(|again| again.deliveries.first().copied()) {
                self.stage_again(&mut step, (&attempt.workspace, &attempt.connection), again, now)?;
            }
            if self.commit(step).await? == Stepped::Done {
                return Ok(Settled { delivery, produced });
            }
        }
        Err(QueueError::Contended("settle an attempt").into())
    }

    fn stage_lane(
        &self,
        step: &mut Step,
        attempt: &Attempt,
        effects: &[LaneEffect],
        now: Timestamp,
    ) -> Result<(), QueueError> {
        if effects.iter().all(|effect| *effect == LaneEffect::None) {
            return Ok(());
        }
        let key = keys::lane(&attempt.workspace, &attempt.connection);
        let (raw, state) = self.read_lane(&attempt.workspace, &attempt.connection)?;
        // The attempt met the lane as it was before the release, with the old credential perhaps: it must not undo it.
        if state.outdates(attempt.started_at, now) {
            return Ok(());
        }
        // Two attempts that end together must not undo each other's effect, and a release that comes between the reading
        // above and the commit must be seen: both change this record, so the settle is planned anew.
        match raw {
            Some(raw) => step.batch.expect(key.clone(), raw),
            None => step.batch.expect_absent(key.clone()),
        };
        let after = effects.iter().fold(state, |state, effect| state.after(effect, now));
        step.batch.put(key, record::encode(&after));
        Ok(())
    }
}

/// The delivery after an attempt that ended so.
fn after(mut delivery: Delivery, end: &AttemptEnd, now: Timestamp, delivered_at: Timestamp) -> Delivery {
    let class = end.failure.as_ref().map(|failure| failure.class);
    count_fault(&mut delivery, class);
    if let Some(failure) = &end.failure {
        delivery.last_failure = Some(failure.clone());
    }
    let (state, charged) = match &end.outcome {
        Outcome::Delivered => {
            let receipt = end.receipt.clone().unwrap_or_default();
            let at = delivered_at;
            (DeliveryState::Delivered { at, receipt }, true)
        }
        Outcome::Retry { due_at, charged } => (DeliveryState::Pending { due_at: *due_at }, *charged),
        Outcome::Parked => (DeliveryState::Pending { due_at: now }, false),
        Outcome::Dead => {
            // A verdict of "dead" without a failure would be the host's own mistake.
            let class = class.unwrap_or(FailureClass::ConnectorFault);
            (DeliveryState::Dead { at: now, class }, true)
        }
    };
    delivery.state = state;
    if !charged {
        delivery.charged = delivery.charged.saturating_sub(1);
    }
    delivery
}
