//! A sorted map in memory as the engine: for simulations and tests.
//!
//! Nothing here is durable: a commit survives for as long as a handle of the store does.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::engine::{OpenEngine, RawRecord, Writes};
use crate::error::EngineError;
use crate::scan::KeyRange;

/// The records, each group of writes applied at once under the lock.
#[derive(Default)]
pub(crate) struct MemoryEngine {
    records: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl OpenEngine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(key).cloned())
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let records = records.range(range);
        Ok(if reverse {
            records.rev().take(limit).map(owned).collect()
        } else {
            records.take(limit).map(owned).collect()
        })
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        Ok(())
    }
}
