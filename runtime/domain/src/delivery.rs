//! Deliveries: one event owed to one connection.

use serde::{Deserialize, Serialize};

use crate::classify::{Failure, FailureClass, Receipt};
use crate::id::{ConnectionName, CorrelationId, DeliveryId, EventId, WorkspaceName};
use crate::time::Timestamp;

/// One event owed to one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Minted by the host.
    pub id: DeliveryId,
    /// The tenant.
    pub workspace: WorkspaceName,
    /// What is owed.
    pub event: EventId,
    /// The event's.
    pub correlation_id: CorrelationId,
    /// To whom.
    pub connection: ConnectionName,
    /// What the connector is asked to do with it.
    pub kind: DeliveryKind,
    /// Stable per event and connection.
    pub idempotency_key: String,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// When the present series of attempts began: acceptance, or the last replay. Moved on by whatever time the delivery
    /// then stood ready and its lane did not take it, so that a series ages only by what its attempts and waits cost.
    pub series_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts of the present series that count against the schedule.
    pub charged: u32,
    /// Every run there ever was, replays included.
    pub runs: u32,
    /// Connector faults in the present series.
    #[serde(default)]
    pub faults: u32,
    /// Raised by every lease; a settle with an older one is refused.
    pub generation: u64,
    /// How often a person has asked for it again.
    #[serde(default)]
    pub replays: u32,
    /// What people did with it, oldest first; the latest [`INTERVENTIONS_MAX`].
    #[serde(default)]
    pub interventions: Vec<Intervention>,
    /// The latest failure of any attempt.
    #[serde(default)]
    pub last_failure: Option<Failure>,
    /// The event's type, so that dead letters can be found by it; empty in records older than the field.
    #[serde(default)]
    pub event_type: String,
    /// Its place among deliveries of the same key, where the connection asks for order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderPlace>,
    /// Attempts of the present series that ended with the process or its lease and not with an answer: the host's trouble,
    /// counted apart from the destination's.
    #[serde(default)]
    pub interruptions: u32,
    /// Size of the event's body, kept here so that lanes can be counted in bytes; 0 in records older than the field.
    #[serde(default)]
    pub body_bytes: u64,
}

/// A delivery's place among those of one connection that share an order key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlace {
    /// The first 16 bytes of the key's SHA-256, as lower-case hexadecimal.
    pub key: String,
    /// Rises with acceptance; a replay takes a new one, at the end.
    pub place: u64,
    /// It waits behind another and is not listed as due.
    #[serde(default)]
    pub behind: bool,
}

/// How many interventions a delivery remembers.
pub const INTERVENTIONS_MAX: usize = 32;

/// What a person did with a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// When.
    pub at: Timestamp,
    /// The name of the token or session.
    pub by: String,
    /// What.
    pub what: InterventionKind,
}

/// What can be done with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterventionKind {
    /// Asked for again.
    Replayed,
    /// Given up.
    Discarded,
}

impl Delivery {
    /// Notes what a person did; the oldest note goes when there are too many.
    pub fn intervene(&mut self, intervention: Intervention) {
        if self.interventions.len() >= INTERVENTIONS_MAX {
            self.interventions.remove(0);
        }
        self.interventions.push(intervention);
    }
}

/// What the connector is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryKind {
    /// `sink.deliver`.
    Deliver,
    /// `source.receive` again, on a raw request that it could not handle at first.
    Receive,
    /// `poller.poll`: the event says why now, and what the connector finds is made durable with the end of the attempt.
    Poll,
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its time in the lane.
    Pending {
        /// Not before this.
        due_at: Timestamp,
    },
    /// An attempt is under way.
    Leased {
        /// The lease is void after this.
        until: Timestamp,
    },
    /// Done.
    Delivered {
        /// When.
        at: Timestamp,
        /// What proves it.
        receipt: Receipt,
    },
    /// A dead letter: not tried again until a person says so.
    Dead {
        /// When.
        at: Timestamp,
        /// Why.
        class: FailureClass,
    },
    /// A dead letter that a person gave up.
    Discarded {
        /// When.
        at: Timestamp,
        /// The name of the token or session that did.
        by: String,
    },
}

impl DeliveryState {
    /// The name used in the API and the panel.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Leased { .. } => "in-flight",
            Self::Delivered { .. } => "delivered",
            Self::Dead { .. } => "dead",
            Self::Discarded { .. } => "discarded",
        }
    }
}
