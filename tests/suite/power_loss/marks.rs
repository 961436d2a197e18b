//! What the writer says through the journal, one JSON object a mark: before it asks for something, and once it was answered.
//! Their order in the journal is that of the world.

use cofferdam_domain::{CorrelationId, DeliveryId, Digest, EventId};
use serde::{Deserialize, Serialize};

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub(crate) enum Mark {
    /// A process begins.
    Began,
    /// Store and queue are open.
    Opened,
    /// An event is about to be accepted.
    Offered {
        /// Its id.
        event: EventId,
        /// Of its body.
        hash: Digest,
        /// Its fan-out.
        deliveries: usize,
    },
    /// The queue has said that it is durable.
    Accepted {
        /// Its id.
        event: EventId,
        /// Its correlation id.
        correlation: CorrelationId,
        /// The key that it was sent under.
        dedupe_key: String,
        /// What it is owed as.
        deliveries: Vec<DeliveryId>,
    },
    /// A lease was handed out.
    Leased {
        /// Of which delivery.
        delivery: DeliveryId,
        /// Its run.
        run: u32,
    },
    /// A settle was confirmed.
    Settled {
        /// Of which delivery.
        delivery: DeliveryId,
        /// The attempt's run.
        run: u32,
        /// Where it stands.
        end: End,
    },
    /// A dead letter is about to be replayed or discarded.
    Intervening {
        /// Which.
        delivery: DeliveryId,
        /// Its latest run.
        run: u32,
    },
    /// It was discarded.
    Discarded {
        /// Which.
        delivery: DeliveryId,
    },
}

/// What a settle makes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// For good.
    Delivered,
    /// Until somebody intervenes.
    Dead,
    /// It waits again.
    Pending,
}
