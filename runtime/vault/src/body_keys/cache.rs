//! Keys of bodies that are unsealed already: a bounded number, wiped when they go.
//!
//! A key is found only by the record that it was unsealed from, so one whose record has changed, or was removed and made
//! anew, is never used for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_store::Key;

use super::key_record::{BodyKey, KeyRecord};

/// Most keys that are kept; about 300 bytes each.
pub(super) const KEYS_CACHED_MAX: usize = 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Cache {
    keys: Mutex<HashMap<Key, Cached>>,
}

struct Cached {
    /// Without the state, which changes nothing about the key.
    wrapped: Vec<u8>,
    key: Arc<BodyKey>,
}

impl Cache {
    /// The key that was unsealed from this record.
    pub(super) fn get(&self, at: &Key, record: &[u8]) -> Option<Arc<BodyKey>> {
        let keys = self.lock();
        let cached = keys.get(at)?;
        (KeyRecord::wrapped(record) == Some(cached.wrapped.as_slice())).then(|| Arc::clone(&cached.key))
    }

    /// Keeps a key that was unsealed from this record, in the place of any other if there are too many.
    pub(super) fn put(&self, at: &Key, record: &[u8], key: BodyKey) -> Arc<BodyKey> {
        let key = Arc::new(key);
        let cached = Cached {
            wrapped: KeyRecord::wrapped(record).unwrap_or_default().to_vec(),
            key: Arc::clone(&key),
        };
        let mut keys = self.lock();
        if keys.len() >= KEYS_CACHED_MAX
            && !keys.contains_key(at)
            && let Some(other) = keys.keys().next().cloned()
        {
            keys.remove(&other);
        }
        keys.insert(at.clone(), cached);
        key
    }

    /// The key is about to be removed.
    pub(super) fn forget(&self, at: &Key) {
        self.lock().remove(at);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Cached>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
