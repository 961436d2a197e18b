//! What a person may do with a dead letter: ask for it again, or give it up.

use cofferdam_domain::{Delivery, DeliveryId, DeliveryState, Intervention, InterventionKind, Timestamp, WorkspaceName};

use crate::error::{QueueError, ReplayError};
use crate::step::{STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

impl StoreQueue {
    pub(crate) async fn revive(
        &self,
        workspace: &WorkspaceName,
        id: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> Result<(), ReplayError> {
        self.change_dead(workspace, id, |delivery| self.make_pending_again(delivery, now, by))
            .await?;
        tracing::info!(%workspace, delivery = %id, by, "dead letter replayed");
        Ok(())
    }

    pub(crate) async fn give_up(
        &self,
        workspace: &WorkspaceName,
        id: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> Result<(), ReplayError> {
        self.change_dead(workspace, id, |delivery| make_discarded(delivery, now, by))
            .await?;
        tracing::info!(%workspace, delivery = %id, by, "dead letter discarded");
        Ok(())
    }

    /// What a replay makes of a dead letter: a new series. It lost its turn when it died, so its place is at the end.
    pub(crate) fn make_pending_again(&self, delivery: &mut Delivery, now: Timestamp, by: &str) {
        delivery.state = DeliveryState::Pending { due_at: now };
        delivery.series_at = now;
        delivery.charged = 0;
        delivery.faults = 0;
        delivery.interruptions = 0;
        delivery.replays = delivery.replays.saturating_add(1);
        if let Some(order) = &mut delivery.order {
            order.place = self.places.next();
            order.behind = false;
        }
        delivery.intervene(note(InterventionKind::Replayed, now, by));
    }

    async fn change_dead(
        &self,
        workspace: &WorkspaceName,
        id: DeliveryId,
        change: impl Fn(&mut Delivery),
    ) -> Result<(), ReplayError> {
        for _ in 0..STEP_TRIES {
            let found = self.found(workspace, id)?.ok_or(ReplayError::NotFound(id))?;
            match &found.delivery.state {
                DeliveryState::Dead { .. } => {}
                state @ (DeliveryState::Pending { .. }
                | DeliveryState::Leased { .. }
                | DeliveryState::Delivered { .. }
                | DeliveryState::Discarded { .. }) => {
                    return Err(ReplayError::NotDead {
                        delivery: id,
                        state: state.as_str(),
                    });
                }
            }
            let mut delivery = found.delivery.clone();
            change(&mut delivery);
            let mut step = Step::default();
            step.change(&self.lanes, found, &delivery);
            if self.commit(step).await? == Stepped::Done {
                return Ok(());
            }
        }
        Err(QueueError::Contended("change a dead letter").into())
    }
}

/// What a discard makes of a dead letter.
pub(crate) fn make_discarded(delivery: &mut Delivery, now: Timestamp, by: &str) {
    delivery.state = DeliveryState::Discarded {
        at: now,
        by: by.to_owned(),
    };
    delivery.intervene(note(InterventionKind::Discarded, now, by));
}

fn note(what: InterventionKind, at: Timestamp, by: &str) -> Intervention {
    Intervention {
        at,
        by: by.to_owned(),
        what,
    }
}
