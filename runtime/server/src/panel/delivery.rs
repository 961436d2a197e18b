//! A delivery as a row: where it stands, what became of it, and what happens next.

use cofferdam_domain::{Delivery, DeliveryState, Timestamp};

use super::badge::Badge;
use super::units::Moment;

/// A delivery.
pub(super) struct DeliveryRow {
    pub(super) accepted: Moment,
    pub(super) kind: Option<String>,
    pub(super) correlation_id: String,
    pub(super) badge: Badge,
    pub(super) runs: u32,
    pub(super) note: String,
}

impl DeliveryRow {
    pub(super) fn new(delivery: &Delivery, kind: Option<String>, now: Timestamp) -> Self {
        Self {
            accepted: Moment::new(delivery.accepted_at, now),
            kind,
            correlation_id: delivery.correlation_id.to_string(),
            badge: (&delivery.state).into(),
            runs: delivery.runs,
            note: note(delivery, now),
        }
    }
}

/// What became of it, or what happens next.
pub(super) fn note(delivery: &Delivery, now: Timestamp) -> String {
    let failure = delivery
        .last_failure
        .as_ref()
        .map(|failure| format!("{}: {}", failure.class, failure.message));
    match &delivery.state {
        DeliveryState::Pending { due_at } if *due_at <= now => failure.unwrap_or_else(|| "due now".to_owned()),
        DeliveryState::Pending { due_at } => {
            let next = Moment::new(*due_at, now).relative;
            failure.map_or_else(|| format!("due {next}"), |failure| format!("{failure}; again {next}"))
        }
        DeliveryState::Leased { .. } => "an attempt is under way".to_owned(),
        DeliveryState::Delivered { receipt, .. } => receipt
            .summary
            .clone()
            .or_else(|| receipt.external_id.clone())
            .unwrap_or_default(),
        DeliveryState::Dead { class, .. } => failure.unwrap_or_else(|| class.to_string()),
        DeliveryState::Discarded { by, .. } => format!("given up by {by}"),
    }
}
