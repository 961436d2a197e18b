//! Bodies at rest: where they lie, as they came or sealed, and whose work the sealing is.
//!
//! A body lies under its workspace and event; the key says whether it is sealed (see `keys.rs`), so what was stored before
//! bodies were sealed, or while sealing was off, is read as it is, and no body can pass for the other kind. A sealed one is
//! stored in the batch that also holds its key, or that holds only while the key is there as it was read: no crash and no
//! retirement leaves a body without its key.
//!
//! The queue knows no cipher: a [`BodySeal`] does. Sizes, marks and hashes are those of the body as it came.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use cofferdam_domain::{EventId, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, StoreError};

use crate::error::QueueError;
use crate::keys;
use crate::step::Step;
use crate::store_queue::StoreQueue;

/// Whose body it is. A body that is sealed for one place does not open in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPlace<'a> {
    /// The tenant.
    pub workspace: &'a WorkspaceName,
    /// The event.
    pub event: EventId,
}

/// A body that is about to be stored.
#[derive(Clone, Copy)]
pub struct Unsealed<'a> {
    /// Where.
    pub place: BodyPlace<'a>,
    /// As it came.
    pub body: &'a [u8],
}

/// What one key is for: the bodies of a workspace's events that were minted in this span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpan {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
}

/// Seals bodies and opens them, under keys that it keeps in the same store. The queue owns the batches and commits them.
pub trait BodySeal: Send + Sync {
    /// Seals bodies, and answers in their order. Adds to the batch every key that is not in the store yet, and the condition
    /// that the others are still there as they were read; what is sealed must go into that batch.
    fn seal(&self, batch: &mut Batch, bodies: &[Unsealed<'_>]) -> Result<Vec<Vec<u8>>, BodyError>;

    /// The body as it came.
    fn open(&self, place: BodyPlace<'_>, sealed: Vec<u8>) -> Result<Vec<u8>, BodyError>;

    /// The spans that there are keys for, in a fixed order, behind `after` if that is given: at most `max`, and at least one
    /// if there is any.
    fn spans(&self, after: Option<&KeySpan>, max: usize) -> Result<Vec<KeySpan>, BodyError>;

    /// Adds to the batch that the keys of the span are closed. Once that is durable no body is sealed under one of them
    /// unless the same batch takes the key up again. Adds nothing if they are closed already.
    fn close(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError>;

    /// Adds to the batch that the closed keys of the span go, on the condition that they are still closed. One that was
    /// taken up again stays.
    fn forget(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError>;
}

/// Why a body is neither sealed nor opened. No text holds any of a body or a key.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The store cannot be read.
    #[error("the keys of sealed bodies cannot be read")]
    Read(#[from] StoreError),
    /// This body does not open; others may.
    #[error("{0}")]
    Unopened(&'static str),
    /// None can be sealed now.
    #[error("bodies cannot be sealed now")]
    Unsealable(#[source] Box<dyn Error + Send + Sync>),
}

/// How a queue keeps bodies. It may be another way at each opening.
#[derive(Clone, Default)]
pub enum Bodies {
    /// As they came. One that is sealed cannot be read.
    #[default]
    Plain,
    /// New ones as they came. Those that are sealed are opened, and their keys retired.
    PlainFromNowOn(Arc<dyn BodySeal>),
    /// Sealed. Those that are stored as they came are read.
    Sealed(Arc<dyn BodySeal>),
}

impl Bodies {
    /// Who opens what is sealed.
    pub(crate) fn seal(&self) -> Option<&Arc<dyn BodySeal>> {
        match self {
            Self::Plain => None,
            Self::PlainFromNowOn(seal) | Self::Sealed(seal) => Some(seal),
        }
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Plain => "Plain",
            Self::PlainFromNowOn(_) => "PlainFromNowOn",
            Self::Sealed(_) => "Sealed",
        })
    }
}

impl StoreQueue {
    /// The event's body, as it came.
    ///
    /// # Errors
    /// When the store fails, or the body is sealed and does not open: then [`BodyError::Unopened`], and other bodies are not
    /// concerned.
    pub fn body(&self, workspace: &WorkspaceName, id: EventId) -> Result<Option<Vec<u8>>, QueueError> {
        let plain = || self.store.get(keys::body(workspace, id));
        let sealed = || -> Result<_, QueueError> {
            let Some(sealed) = self.store.get(keys::sealed_body(workspace, id))? else {
                return Ok(None);
            };
            let Some(seal) = self.bodies.seal() else {
                return Err(BodyError::Unopened("it is sealed, and this queue was opened without keys").into());
            };
            let place = BodyPlace { workspace, event: id };
            Ok(Some(seal.open(place, sealed)?))
        };
        // What is likelier is looked for first.
        match self.bodies {
            Bodies::Sealed(_) => Ok(match sealed()? {
                Some(body) => Some(body),
                None => plain()?,
            }),
            Bodies::Plain | Bodies::PlainFromNowOn(_) => match plain()? {
                Some(body) => Ok(Some(body)),
                None => sealed(),
            },
        }
    }

    /// Adds bodies to the step, sealed if that is how they are kept.
    pub(crate) fn stage_bodies(&self, step: &mut Step, bodies: &[Unsealed<'_>]) -> Result<(), QueueError> {
        match &self.bodies {
            Bodies::Plain | Bodies::PlainFromNowOn(_) => {
                for Unsealed { place, body } in bodies {
                    step.batch.put(keys::body(place.workspace, place.event), *body);
                }
            }
            Bodies::Sealed(_) if bodies.is_empty() => {}
            Bodies::Sealed(seal) => {
                let sealed = seal.seal(&mut step.batch, bodies)?;
                for (Unsealed { place, .. }, sealed) in bodies.iter().zip(sealed) {
                    step.batch.put(keys::sealed_body(place.workspace, place.event), sealed);
                }
            }
        }
        Ok(())
    }

    /// Adds to the step that the event's body goes, however it lies.
    pub(crate) fn stage_body_removal(&self, step: &mut Step, workspace: &WorkspaceName, event: EventId) {
        step.batch
            .delete(keys::body(workspace, event))
            .delete(keys::sealed_body(workspace, event));
    }
}
