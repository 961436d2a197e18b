//! Events, the deliveries they are owed to, and what became of each attempt, kept over the store.
//!
//! What it promises: what [`Queue::accept`] has answered survives a crash and, on a disk that honours fsync, a power loss.
//! Every step of a delivery's life is one atomic batch, so a crash leaves a delivery before a step or after it, never in
//! between; a lease that a crash leaves behind is void at the next start, so delivery is at least once. A settle whose
//! lease is no longer the present one is refused.
//!
//! What it does not do: it decides nothing (`cofferdam_domain::retry` does), reads no clock, runs nothing by itself, and
//! does not look at a lane's state before it leases: whether a lane may move is the dispatcher's to say.

mod abandon;
mod accept;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod damage;
mod dead_letters;
mod error;
mod keys;
mod lanes;
mod lease;
mod order;
mod queue;
mod read;
mod record;
mod recover;
mod redrive;
mod replay;
mod retention;
mod settle;
mod standing;
mod step;
mod store_queue;
mod tally;

#[cfg(test)]
mod tests;

pub use accept::{Accept, Accepted, FAN_OUT_MAX, Owed};
pub use dead_letters::{COUNT_EXAMINED_MAX, DeadCount, DeadCursor, DeadFilter};
pub use error::{QueueError, ReplayError, SettleError};
pub use lanes::Depth;
pub use lease::{LEASES_PER_CALL_MAX, LeaseTerms, Leased};
pub use queue::Queue;
pub use read::{ATTEMPTS_MAX, DeliveryFilter, PAGE_MAX, Page};
pub use record::RecordError;
pub use redrive::{
    REDRIVE_CHANGES_PER_STEP_MAX, REDRIVE_IDS_MAX, REDRIVE_RATE_DEFAULT, REDRIVE_RATE_MAX, REDRIVES_KEPT_MAX,
    REDRIVES_RUNNING_MAX, Redrive, RedriveError, RedriveId, RedriveKind, RedriveOrder, RedriveScope, RedriveState,
    RedriveStep, Room, Skipped,
};
pub use retention::{RETIRED_PER_COMMIT, Retention, Retired};
pub use settle::{Settled, Settlement};
pub use standing::Standing;
pub use store_queue::StoreQueue;
