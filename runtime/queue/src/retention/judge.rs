//! Whether a delivery has come to its end, and an event with all of its own.

use cofferdam_domain::{DeliveryId, DeliveryState, EventId, Timestamp, WorkspaceName};
use cofferdam_store::Scan;

use super::Bounds;
use crate::accept::FAN_OUT_MAX;
use crate::error::QueueError;
use crate::keys;
use crate::step::Found;
use crate::store_queue::StoreQueue;

/// What became of an event.
pub(super) enum Judged {
    /// It is over and old enough; with all its deliveries that there are.
    Over(Vec<Over>),
    /// It stays.
    Stays,
}

/// A delivery that has come to its end.
pub(super) struct Over {
    pub(super) found: Found,
    pub(super) dead: bool,
}

/// The end of a delivery.
pub(super) enum Ended {
    /// There is no such delivery.
    Gone,
    /// It waits or is under lease, or cannot be read.
    NotYet,
    /// It has ended.
    Done {
        found: Box<Found>,
        at: Timestamp,
        dead: bool,
    },
}

impl StoreQueue {
    /// Whether all deliveries of the event ended within the bounds: one that is delivered or discarded until `done`, a dead
    /// letter until `dead`, or never without a bound. An event that is owed to nobody ended when it was taken in.
    pub(super) fn judge(
        &self,
        workspace: &WorkspaceName,
        event: EventId,
        bounds: Bounds,
    ) -> Result<Judged, QueueError> {
        let listed = Scan::prefix(keys::fan_out(workspace, event), FAN_OUT_MAX);
        let listed = self.store.keys(&listed)?;
        if listed.is_empty() && bounds.done.is_none_or(|until| event.minted_at() > until) {
            return Ok(Judged::Stays);
        }
        let mut over = Vec::with_capacity(listed.len());
        for key in listed {
            let Ok(id) = keys::last_id(&key) else { continue };
            match self.end_of(workspace, DeliveryId::from_bytes(id))? {
                Ended::Gone => {}
                Ended::NotYet => return Ok(Judged::Stays),
                Ended::Done { found, at, dead } => {
                    let until = if dead { bounds.dead } else { bounds.done };
                    if until.is_none_or(|until| at > until) {
                        return Ok(Judged::Stays);
                    }
                    over.push(Over { found: *found, dead });
                }
            }
        }
        Ok(Judged::Over(over))
    }

    pub(super) fn end_of(&self, workspace: &WorkspaceName, delivery: DeliveryId) -> Result<Ended, QueueError> {
        let found = match self.found(workspace, delivery) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ended::Gone),
            // Nobody knows what it was: it stays, for whoever may repair it.
            Err(error) if error.is_damage() => return Ok(Ended::NotYet),
            Err(error) => return Err(error),
        };
        Ok(match &found.delivery.state {
            DeliveryState::Pending { .. } | DeliveryState::Leased { .. } => Ended::NotYet,
            DeliveryState::Delivered { at, .. } | DeliveryState::Discarded { at, .. } => Ended::Done {
                at: *at,
                dead: false,
                found: Box::new(found),
            },
            DeliveryState::Dead { at, .. } => Ended::Done {
                at: *at,
                dead: true,
                found: Box::new(found),
            },
        })
    }
}
