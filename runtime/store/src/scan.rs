//! Scans: bounded walks over keys in order, resumable by the last key that was seen.

use std::ops::Bound;

/// Most records that one scan answers with, whatever it asks for.
pub const SCAN_RECORDS_MAX: usize = 4096;

/// Which records to read, in which order, and how many.
#[derive(Clone, Debug)]
pub struct Scan {
    pub(crate) prefix: Vec<u8>,
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) until: Option<Vec<u8>>,
    pub(crate) limit: usize,
    pub(crate) reverse: bool,
}

impl Scan {
    /// At most `limit` records whose keys start with `prefix`, lowest first. A limit over [`SCAN_RECORDS_MAX`] counts as
    /// that.
    pub fn prefix(prefix: impl Into<Vec<u8>>, limit: usize) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            until: None,
            limit: limit.min(SCAN_RECORDS_MAX),
            reverse: false,
        }
    }

    /// Highest key first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Only what comes after `key` in the direction of the scan: the last key of the page before.
    #[must_use]
    pub fn after(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// Nothing at or beyond `key` in the direction of the scan.
    #[must_use]
    pub fn until(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.until = Some(key.into());
        self
    }

    /// The range of keys to walk; none when it is empty.
    pub(crate) fn range(&self) -> Option<KeyRange> {
        let mut low = Bound::Included(self.prefix.clone());
        let mut high = next_prefix(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let (begin, end) = if self.reverse {
            (&mut high, &mut low)
        } else {
            (&mut low, &mut high)
        };
        if let Some(after) = &self.after {
            *begin = Bound::Excluded(after.clone());
        }
        if let Some(until) = &self.until {
            *end = Bound::Excluded(until.clone());
        }
        let empty = match (&low, &high) {
            (Bound::Included(low), Bound::Excluded(high)) | (Bound::Excluded(low), Bound::Excluded(high)) => {
                low >= high
            }
            _ => false,
        };
        (!empty).then_some((low, high))
    }
}

/// Bounds of a walk.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The first key after all that start with `prefix`; none if there is no such key.
fn next_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_a_prefix_carries_over_ff() {
        assert_eq!(next_prefix(b"a"), Some(b"b".to_vec()));
        assert_eq!(next_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(next_prefix(b"\xff"), None);
        assert_eq!(next_prefix(b""), None);
    }

    #[test]
    fn bounds_that_cross_are_an_empty_range_and_not_a_panic() {
        assert!(Scan::prefix("a", 1).after("b").range().is_none());
        assert!(Scan::prefix("a", 1).after("az").until("ab").range().is_none());
        assert!(
            Scan::prefix("a", 1)
                .reversed()
                .after("ab")
                .until("az")
                .range()
                .is_none()
        );
        assert!(Scan::prefix("a", 1).after("ab").until("az").range().is_some());
    }
}
