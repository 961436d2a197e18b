//! What the queue cannot do, and why.

use cofferdam_domain::{ConnectionName, DeliveryId};
use cofferdam_store::{CommitError, NotThisKey, StoreError};

use crate::accept::FAN_OUT_MAX;
use crate::body::BodyError;
use crate::record::RecordError;

/// The queue failed, or was asked for too much.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The store cannot be read.
    #[error("the queue cannot read its store")]
    Read(#[from] StoreError),
    /// The store did not take a batch.
    #[error("the queue cannot write to its store")]
    Commit(#[source] CommitError),
    /// A stored record makes no sense.
    #[error("the queue holds a record that it cannot read")]
    Record(#[from] RecordError),
    /// A stored key makes no sense.
    #[error("the queue holds a key that it cannot read")]
    Key(#[from] NotThisKey),
    /// A body can be neither sealed nor opened.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// More deliveries of one event than are taken.
    #[error("an event is owed to {0} connections; {FAN_OUT_MAX} is the most")]
    FanOut(usize),
    /// Others changed the same records again and again.
    #[error("the queue could not {0}: others changed the same records each time it tried")]
    Contended(&'static str),
}

impl QueueError {
    /// Whether the disk, and not the request, is to blame: producers are told to come back later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Read(_) | Self::Contended(_) => true,
            Self::Commit(error) => match error {
                CommitError::Store(_) | CommitError::Closed | CommitError::Conflict { .. } => true,
                CommitError::TooLarge | CommitError::Reserved { .. } => false,
            },
            Self::Body(error) => match error {
                BodyError::Read(_) | BodyError::Unsealable(_) => true,
                BodyError::Unopened(_) => false,
            },
            Self::Record(_) | Self::Key(_) | Self::FanOut(_) => false,
        }
    }

    /// Whether a record is whole but of a format that this version does not know: it is left as it is.
    pub(crate) fn is_of_another_version(&self) -> bool {
        matches!(self, Self::Record(RecordError::Version { .. }))
    }

    /// Whether one record, and not the store as a whole, is to blame: others can still be worked with.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Record(_) | Self::Key(_) => true,
            Self::Read(error) | Self::Body(BodyError::Read(error)) => match error {
                StoreError::Corrupt { .. } => true,
                StoreError::Engine { .. } | StoreError::Poisoned { .. } | StoreError::Busy { .. } => false,
            },
            Self::Body(BodyError::Unopened(_)) => true,
            Self::Body(BodyError::Unsealable(_)) => false,
            Self::Commit(_) | Self::FanOut(_) | Self::Contended(_) => false,
        }
    }
}

/// Why a lease's holder is refused.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The lease is not the present one: it ran out, or was settled before.
    #[error("the lease of delivery {0} is no longer the present one")]
    Stale(DeliveryId),
    /// What the attempt began with has changed meanwhile: a person has cleared the state or reset the cursor, or the
    /// connection is another one by now. Nothing is settled.
    #[error("what connection {0} keeps was changed by another while the attempt ran")]
    KeptChanged(ConnectionName),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Why a dead letter is neither replayed nor discarded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is none in this workspace.
    #[error("there is no delivery {0}")]
    NotFound(DeliveryId),
    /// It is no dead letter.
    #[error("delivery {delivery} is {state}, and only dead letters are replayed or discarded")]
    NotDead {
        /// Which.
        delivery: DeliveryId,
        /// Where it stands.
        state: &'static str,
    },
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}
