//! Where a delivery stands, without the details: what is counted and filtered by.

use cofferdam_domain::DeliveryState;
use serde::{Deserialize, Serialize};

/// The kinds of [`DeliveryState`], named as `DeliveryState::as_str` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Waits, due or not.
    Pending,
    /// Under lease.
    InFlight,
    /// Done.
    Delivered,
    /// A dead letter.
    Dead,
    /// A dead letter that a person gave up.
    Discarded,
}

impl Standing {
    /// Where a delivery of this state stands.
    pub const fn of(state: &DeliveryState) -> Self {
        match state {
            DeliveryState::Pending { .. } => Self::Pending,
            DeliveryState::Leased { .. } => Self::InFlight,
            DeliveryState::Delivered { .. } => Self::Delivered,
            DeliveryState::Dead { .. } => Self::Dead,
            DeliveryState::Discarded { .. } => Self::Discarded,
        }
    }
}
