//! The keys of sealed bodies go once no body is left that they could be for.
//!
//! A key is closed before the bodies are looked for, and goes on the condition that it still is: whoever seals a body under
//! a closed key takes it up again in the batch that stores the body. So however accepting, retention and crashes fall
//! together, a key goes after the last body under it and never before; a crash leaves at worst a closed key, which the next
//! walk meets again.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_store::{Keyspace, Scan};

use super::Retired;
use crate::body::{BodySeal, KeySpan};
use crate::error::QueueError;
use crate::keys;
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// Spans that one call looks at.
const SPANS_PER_CALL: usize = 64;

/// A span that ended less than this ago is left alone. Nothing depends on it: it saves making a key anew for an event that is
/// being taken in, or for a clock that is set back a little.
const KEY_MARGIN: Duration = Duration::from_hours(1);

/// Through all keys, in their order.
#[derive(Clone, Default)]
pub(super) struct KeyWalk {
    after: Option<KeySpan>,
    through: bool,
}

impl KeyWalk {
    /// Whether there is nothing more.
    pub(super) const fn is_through(&self) -> bool {
        self.through
    }
}

impl StoreQueue {
    pub(super) async fn retire_body_keys(
        &self,
        walk: &mut KeyWalk,
        now: Timestamp,
        retired: &mut Retired,
    ) -> Result<(), QueueError> {
        let Some(seal) = self.bodies.seal().filter(|_| !walk.through) else {
            walk.through = true;
            return Ok(());
        };
        let spans = seal.spans(walk.after.as_ref(), SPANS_PER_CALL)?;
        walk.through = spans.is_empty();
        for span in spans {
            // What fails is not met again in this walk.
            walk.after = Some(span.clone());
            if span.until.after(KEY_MARGIN) <= now && self.retire_body_key(seal.as_ref(), &span).await? {
                retired.body_keys += 1;
            }
        }
        Ok(())
    }

    /// Whether the span's key has gone.
    async fn retire_body_key(&self, seal: &dyn BodySeal, span: &KeySpan) -> Result<bool, QueueError> {
        if self.has_bodies(span)? {
            return Ok(false);
        }
        let mut step = Step::default();
        seal.close(&mut step.batch, span)?;
        if !step.is_empty() && self.commit(step).await? == Stepped::Conflict {
            return Ok(false);
        }
        // What was sealed before the key was closed is there by now; what is sealed later takes the key up again.
        if self.has_bodies(span)? {
            return Ok(false);
        }
        let mut step = Step::default();
        seal.forget(&mut step.batch, span)?;
        Ok(!step.is_empty() && self.commit(step).await? == Stepped::Done)
    }

    /// Whether there is a body in the span, sealed or not.
    fn has_bodies(&self, span: &KeySpan) -> Result<bool, QueueError> {
        let bodies = Scan::prefix(keys::in_workspace(Keyspace::Body, &span.workspace), 1)
            .after(keys::bodies_from(&span.workspace, span.from))
            .until(keys::bodies_from(&span.workspace, span.until));
        Ok(!self.store.keys(&bodies)?.is_empty())
    }
}
