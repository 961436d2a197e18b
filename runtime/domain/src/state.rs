//! A connector's state as one call sees it: what the last settled attempt left, and over it what the call has set itself.
//!
//! Decisions only: the bounds, and what a call may read and write. Nothing of it outlives the call unless its attempt is
//! settled as delivered; that is the queue's.

use std::collections::BTreeMap;

/// What a connection keeps, by key.
pub type StateValues = BTreeMap<String, Vec<u8>>;

/// Longest key, in bytes.
pub const STATE_KEY_BYTES_MAX: usize = 256;

/// Largest value, in bytes.
pub const STATE_VALUE_BYTES_MAX: usize = 64 * 1024;

/// What a connection may keep if its file does not say otherwise: keys and values together, in bytes.
pub const STATE_BYTES_DEFAULT: u64 = 64 * 1024;

/// The least that a connection can be granted, in bytes.
pub const STATE_BYTES_MIN: u64 = 1024;

/// The most that a server can allow a connection, in bytes: a settle writes the whole of it.
pub const STATE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Counted for each entry beside its key and value, so that many small ones cannot take many times what was granted.
pub const STATE_ENTRY_BYTES: usize = 16;

/// Why a call does not get what it asks for. A value that the connector can act on, never a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateRefusal {
    /// The key is not 1 to [`STATE_KEY_BYTES_MAX`] bytes.
    KeySize,
    /// The value is larger than this many bytes.
    ValueTooLarge(u64),
    /// The state would exceed this many bytes.
    Full(u64),
    /// Another value was found than the one expected.
    Conflict(Option<Vec<u8>>),
}

/// One call's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateView {
    values: StateValues,
    bytes: usize,
    bytes_max: usize,
    used: Used,
}

/// What a call did with its view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Used {
    /// It never looked.
    #[default]
    Not,
    /// It has read.
    Read,
    /// It has changed something.
    Changed,
}

impl StateView {
    /// Begins with what is durable. What is there may be more than is granted now; then it can be read, and made less.
    pub fn new(values: StateValues, bytes_max: u64) -> Self {
        Self {
            bytes: state_bytes(&values),
            values,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            used: Used::Not,
        }
    }

    /// The value, or none.
    pub fn get(&mut self, key: &str) -> Result<Option<&[u8]>, StateRefusal> {
        check_key(key)?;
        self.used = self.used.max(Used::Read);
        Ok(self.values.get(key).map(Vec::as_slice))
    }

    /// Sets the value, or removes it when none is given.
    pub fn set(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), StateRefusal> {
        check_key(&key)?;
        check_value(value.as_deref())?;
        self.replace(key, value)
    }

    /// Sets the value only if the present one is `expected`.
    pub fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<&[u8]>,
        value: Option<Vec<u8>>,
    ) -> Result<(), StateRefusal> {
        check_key(&key)?;
        check_value(value.as_deref())?;
        let present = self.get(&key)?;
        if present != expected {
            return Err(StateRefusal::Conflict(present.map(<[u8]>::to_vec)));
        }
        self.replace(key, value)
    }

    fn replace(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), StateRefusal> {
        let before = self
            .values
            .get(&key)
            .map_or(0, |present| entry_bytes(&key, present.len()));
        let after = value.as_ref().map_or(0, |value| entry_bytes(&key, value.len()));
        let bytes = self.bytes - before + after;
        // One that holds more than it may by now can still be made less.
        if bytes > self.bytes_max && after > before {
            return Err(StateRefusal::Full(self.bytes_max as u64));
        }
        self.used = self.used.max(Used::Changed);
        self.bytes = bytes;
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        Ok(())
    }

    /// As it counts against the grant.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the call has done with it so far.
    pub fn used(&self) -> Used {
        self.used
    }

    /// As it is now.
    pub fn values(&self) -> &StateValues {
        &self.values
    }
}

/// What these values count against a grant.
pub fn state_bytes(values: &StateValues) -> usize {
    values.iter().map(|(key, value)| entry_bytes(key, value.len())).sum()
}

fn entry_bytes(key: &str, value_bytes: usize) -> usize {
    STATE_ENTRY_BYTES + key.len() + value_bytes
}

fn check_key(key: &str) -> Result<(), StateRefusal> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(StateRefusal::KeySize)
}

fn check_value(value: Option<&[u8]>) -> Result<(), StateRefusal> {
    match value {
        Some(value) if value.len() > STATE_VALUE_BYTES_MAX => {
            Err(StateRefusal::ValueTooLarge(STATE_VALUE_BYTES_MAX as u64))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bytes_max: u64) -> StateView {
        StateView::new(StateValues::new(), bytes_max)
    }

    fn some(bytes: usize) -> Option<Vec<u8>> {
        Some(vec![7; bytes])
    }

    #[test]
    fn a_call_reads_its_own_writes_over_what_was_left() {
        let mut view = StateView::new(StateValues::from([("a".into(), b"old".to_vec())]), 1024);
        assert_eq!(view.used(), Used::Not);
        assert_eq!(view.get("a"), Ok(Some(&b"old"[..])));
        assert_eq!(view.used(), Used::Read);
        view.set("a".into(), Some(b"new".to_vec())).unwrap();
        assert_eq!(view.get("a"), Ok(Some(&b"new"[..])));
        view.set("a".into(), None).unwrap();
        assert_eq!(view.get("a"), Ok(None));
        assert_eq!((view.used(), view.bytes()), (Used::Changed, 0));
    }

    #[test]
    fn a_key_is_1_to_256_bytes() {
        for (bytes, expected) in [
            (0, Err(StateRefusal::KeySize)),
            (1, Ok(())),
            (256, Ok(())),
            (257, Err(StateRefusal::KeySize)),
        ] {
            let key = "k".repeat(bytes);
            assert_eq!(view(4096).set(key.clone(), some(1)), expected, "{bytes}");
            assert_eq!(view(4096).get(&key).map(|_| ()), expected, "{bytes}");
            assert_eq!(view(4096).compare_and_swap(key, None, some(1)), expected, "{bytes}");
        }
    }

    #[test]
    fn a_value_over_its_bound_is_told_so_before_the_state_is_called_full() {
        let bound = STATE_VALUE_BYTES_MAX;
        let mut large = view(STATE_BYTES_MAX);
        assert_eq!(large.set("k".into(), some(bound)), Ok(()));
        let refused = Err(StateRefusal::ValueTooLarge(bound as u64));
        assert_eq!(large.set("k".into(), some(bound + 1)), refused);
        assert_eq!(view(1024).set("k".into(), some(bound + 1)), refused);
        assert_eq!(view(1024).set("k".into(), some(bound)), Err(StateRefusal::Full(1024)));
    }

    #[test]
    fn keys_values_and_entries_count_up_to_the_grant_and_not_beyond() {
        let mut full = view(1024);
        let room = 1024 - STATE_ENTRY_BYTES - 1;
        assert_eq!(full.set("k".into(), some(room + 1)), Err(StateRefusal::Full(1024)));
        assert_eq!(
            (full.used(), full.bytes()),
            (Used::Not, 0),
            "a refused write changes nothing"
        );
        assert_eq!(full.set("k".into(), some(room)), Ok(()));
        assert_eq!(full.bytes(), 1024);
        assert_eq!(full.set("l".into(), some(0)), Err(StateRefusal::Full(1024)));
        assert_eq!(
            full.set("k".into(), some(room - 20)),
            Ok(()),
            "a replaced value makes room"
        );
        assert_eq!(full.set("l".into(), some(3)), Ok(()));
        assert_eq!(full.bytes(), 1024);
        assert_eq!(state_bytes(full.values()), 1024);
    }

    #[test]
    fn a_state_that_holds_more_than_it_may_by_now_can_be_read_and_made_less() {
        let left = StateValues::from([("a".into(), vec![0; 3000]), ("b".into(), vec![0; 3000])]);
        let mut view = StateView::new(left, 1024);
        assert_eq!(view.get("a").unwrap().map(<[u8]>::len), Some(3000));
        assert_eq!(view.set("a".into(), some(3001)), Err(StateRefusal::Full(1024)));
        assert_eq!(view.set("a".into(), some(2999)), Ok(()));
        assert_eq!(view.set("b".into(), None), Ok(()));
    }

    #[test]
    fn a_swap_finds_what_is_there_or_says_what_is_there_instead() {
        let mut view = view(1024);
        assert_eq!(view.compare_and_swap("k".into(), None, some(1)), Ok(()));
        let there = Err(StateRefusal::Conflict(some(1)));
        assert_eq!(view.compare_and_swap("k".into(), None, some(2)), there);
        assert_eq!(view.compare_and_swap("k".into(), Some(&[8]), some(2)), there);
        assert_eq!(view.compare_and_swap("k".into(), Some(&[7]), None), Ok(()));
        assert_eq!(
            view.compare_and_swap("k".into(), Some(&[7]), None),
            Err(StateRefusal::Conflict(None))
        );
    }
}
