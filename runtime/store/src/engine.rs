//! What the store needs from an embedded engine, and nothing more.

pub(crate) mod sled;

use std::collections::BTreeMap;

use crate::error::EngineError;
use crate::scan::KeyRange;

/// The net effect of a group of batches: the new record of each key, or none where the record goes.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A raw record as the engine holds it.
pub(crate) type RawRecord = (Vec<u8>, Vec<u8>);

/// An ordered map of small records. Reads may run beside the one writer and may see a write before it is durable.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The record under this key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// At most `limit` records of the range, in key order or against it. Each is as it is at the moment it is read.
    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError>;

    /// Applies every write, or none should the process or the machine stop.
    fn apply(&self, writes: Writes) -> Result<(), EngineError>;

    /// Returns when everything applied so far survives a power loss.
    fn sync(&self) -> Result<(), EngineError>;
}
