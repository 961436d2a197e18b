//! Batches: what is written together or not at all, and on what conditions.

use crate::error::CommitError;
use crate::record::{KEY_BYTES_MAX, VALUE_BYTES_MAX, is_reserved};

/// Largest batch: keys and values in all, in bytes.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Runs on the committer thread once the batch is durable.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// Writes that become durable together, if every precondition holds at that moment.
///
/// Preconditions are judged one batch after the other, each seeing all batches before it, so two callers who both read a
/// key and both expect what they read cannot both win. Within one batch later writes to a key replace earlier ones, and
/// preconditions see the state before the batch.
///
/// A batch of preconditions only is worth committing: it succeeds when what was read is durable too.
#[derive(Default)]
pub struct Batch {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) writes: Vec<Write>,
    pub(crate) hooks: Vec<Hook>,
    bytes: usize,
}

/// A record as it must be for the batch to apply.
pub(crate) struct Condition {
    pub(crate) key: Vec<u8>,
    /// None: there must be no such record.
    pub(crate) value: Option<Vec<u8>>,
}

/// A change of one record.
pub(crate) struct Write {
    pub(crate) key: Vec<u8>,
    /// None: the record goes.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record, replacing one that is there.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.write(key.into(), Some(value.into()))
    }

    /// Removes a record, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.write(key.into(), None)
    }

    /// The batch applies only if there is no such record.
    pub fn expect_absent(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.condition(key.into(), None)
    }

    /// The batch applies only if the record has exactly this value.
    pub fn expect(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.condition(key.into(), Some(value.into()))
    }

    /// Runs `hook` once the batch is durable, whether or not the caller still waits: hooks run in commit order, on the
    /// committer thread, before anybody's wait ends. A hook must be quick, must not panic and must not wait for a commit.
    pub fn then(&mut self, hook: impl FnOnce() + Send + 'static) -> &mut Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Takes everything of another batch, as if it had been asked for here.
    pub(crate) fn append(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.writes.extend(other.writes);
        self.hooks.extend(other.hooks);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// Keys and values so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Refuses what is over a limit or none of the caller's business.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        if self.bytes > BATCH_BYTES_MAX {
            return Err(CommitError::TooLarge);
        }
        let conditions = self.conditions.iter().map(|it| (&it.key, &it.value));
        let writes = self.writes.iter().map(|it| (&it.key, &it.value));
        for (key, value) in conditions.chain(writes) {
            if is_reserved(key) {
                return Err(CommitError::Reserved { key: key.clone() });
            }
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            if !(1..=KEY_BYTES_MAX).contains(&key.len()) || value_bytes > VALUE_BYTES_MAX {
                return Err(CommitError::TooLarge);
            }
        }
        Ok(())
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> &mut Self {
        self.count(&key, value.as_deref());
        self.writes.push(Write { key, value });
        self
    }

    fn condition(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> &mut Self {
        self.count(&key, value.as_deref());
        self.conditions.push(Condition { key, value });
        self
    }

    fn count(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes = self
            .bytes
            .saturating_add(key.len())
            .saturating_add(value.map_or(0, <[u8]>::len));
    }
}
