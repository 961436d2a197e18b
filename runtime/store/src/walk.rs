//! A walk over every raw record of a store that may be damaged.

use std::ops::Bound;

use crate::engine::{OpenEngine, RawRecord};
use crate::error::EngineError;
use crate::tool::ToolError;

/// Records read at once: a few MiB at most.
const PAGE_RECORDS: usize = 1024;

/// A walk gives up after so many places that cannot be read.
const GAPS_MAX: usize = 1000;

/// Keys are told apart by so many leading bytes when the end of a gap is looked for.
const GAP_KEY_BYTES: usize = 40;

/// What a walk tells of.
pub(crate) trait Visitor {
    /// A record, in key order.
    fn record(&mut self, record: RawRecord) -> Result<(), ToolError>;

    /// Records after this key, how many is unknown, cannot be read.
    fn gap(&mut self, after: &[u8], why: &EngineError) -> Result<(), ToolError>;
}

/// Visits every record that can be read. A place that cannot be is passed over.
pub(crate) fn walk(engine: &dyn OpenEngine, visitor: &mut impl Visitor) -> Result<(), ToolError> {
    let mut last = Vec::new();
    let mut low = Bound::Unbounded;
    let mut gaps = 0;
    // One by one after a page that cannot be read, so that no record before the bad one is lost with it.
    let mut one_by_one = 0_usize;
    loop {
        let limit = if one_by_one > 0 { 1 } else { PAGE_RECORDS };
        match page(engine, low.clone(), limit, &last) {
            Ok(records) => {
                let more = records.len() == limit;
                if let Some((key, _)) = records.last() {
                    last.clone_from(key);
                    low = Bound::Excluded(key.clone());
                }
                for record in records {
                    visitor.record(record)?;
                }
                if !more {
                    return Ok(());
                }
                one_by_one = one_by_one.saturating_sub(1);
            }
            Err(_) if limit > 1 => one_by_one = PAGE_RECORDS,
            Err(why) => {
                visitor.gap(&last, &why)?;
                gaps += 1;
                let readable = |from: &[u8]| page(engine, Bound::Included(from.to_vec()), 1, &last).is_ok();
                match end_of_gap(&last, readable) {
                    Some(end) if gaps < GAPS_MAX => low = Bound::Included(end),
                    Some(_) | None => return Ok(()),
                }
                one_by_one = 0;
            }
        }
    }
}

/// A page of records that go on from `last` in order, as a damaged index may not.
fn page(
    engine: &dyn OpenEngine,
    low: Bound<Vec<u8>>,
    limit: usize,
    last: &[u8],
) -> Result<Vec<RawRecord>, EngineError> {
    let started = !matches!(low, Bound::Unbounded);
    let records = engine.scan((low, Bound::Unbounded), limit, false)?;
    let keys = || records.iter().map(|(key, _)| key.as_slice());
    let goes_on = !started || keys().next().is_none_or(|first| first > last);
    if goes_on && keys().zip(keys().skip(1)).all(|(one, next)| one < next) {
        Ok(records)
    } else {
        Err(std::sync::Arc::from(Box::from("keys are out of order")))
    }
}

/// The lowest key beyond `after` from where reading goes on, found digit by digit; none if there is no such key.
fn end_of_gap(after: &[u8], readable: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut prefix = Vec::new();
    let mut best = None;
    for depth in 0..GAP_KEY_BYTES {
        let on_path = after.starts_with(&prefix);
        let own = if on_path { after.get(depth).copied() } else { None };
        let from = own.map_or(0, |digit| u16::from(digit) + 1);
        let key = |digit: u8| [&prefix[..], &[digit]].concat();
        let found = (from..=0xff)
            .map(|digit| digit.to_be_bytes()[1])
            .find(|digit| readable(&key(*digit)));
        let next = match found {
            Some(digit) => {
                best = Some(key(digit));
                // What lies between the digit below, which is not readable, and this one is looked at more closely.
                match digit.checked_sub(1) {
                    Some(below) => below,
                    None => return best,
                }
            }
            None => own.filter(|digit| *digit == 0xff).unwrap_or(0xff),
        };
        prefix.push(next);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records that cannot be read from `bad.0` on up to and without `bad.1`.
    fn check(keys: &[&[u8]], bad: (&[u8], &[u8]), expected: &[&[u8]]) {
        struct Broken<'a>(&'a [&'a [u8]], (&'a [u8], &'a [u8]));
        struct Seen(Vec<Vec<u8>>);
        impl Broken<'static> {
            fn hits(&self, key: &[u8]) -> bool {
                self.1.0 <= key && key < self.1.1
            }
        }
        impl OpenEngine for Broken<'static> {
            fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
                Ok(None)
            }
            fn scan(&self, range: crate::scan::KeyRange, limit: usize, _: bool) -> Result<Vec<RawRecord>, EngineError> {
                use std::ops::RangeBounds as _;
                let start_is_bad = match &range.0 {
                    Bound::Included(key) => self.hits(key),
                    Bound::Excluded(_) | Bound::Unbounded => false,
                };
                if start_is_bad {
                    return Err(std::sync::Arc::from(Box::from("bad node")));
                }
                let found = self.0.iter().filter(|key| range.contains(&key.to_vec())).take(limit);
                found
                    .map(|key| match self.hits(key) {
                        true => Err(EngineError::from(Box::from("bad node"))),
                        false => Ok((key.to_vec(), Vec::new())),
                    })
                    .collect()
            }
            fn commit(&self, _: crate::engine::Writes) -> Result<(), EngineError> {
                Ok(())
            }
        }
        impl Visitor for Seen {
            fn record(&mut self, (key, _): RawRecord) -> Result<(), ToolError> {
                self.0.push(key);
                Ok(())
            }
            fn gap(&mut self, _: &[u8], _: &EngineError) -> Result<(), ToolError> {
                Ok(())
            }
        }
        let own = |bytes: &[u8]| -> &'static [u8] { bytes.to_vec().leak() };
        let keys: Vec<&'static [u8]> = keys.iter().map(|key| own(key)).collect();
        let mut seen = Seen(Vec::new());
        walk(&Broken(keys.leak(), (own(bad.0), own(bad.1))), &mut seen).unwrap();
        assert_eq!(seen.0, expected, "{bad:?}");
    }

    #[test]
    fn a_place_that_cannot_be_read_costs_the_records_in_it_and_no_others() {
        let keys: &[&[u8]] = &[
            b"a",
            b"ab",
            b"ab\xff",
            b"b\x00",
            b"b\x00\x01",
            b"ba",
            b"c",
            b"\xff\xff",
            b"\xff\xff\x01",
        ];
        check(keys, (b"x", b"y"), keys);
        check(keys, (b"ab", b"ab\xff"), &[&keys[..1], &keys[2..]].concat());
        check(keys, (b"ab\xff", b"b\x00\x01"), &[&keys[..2], &keys[4..]].concat());
        check(keys, (b"b", b"c"), &[&keys[..3], &keys[6..]].concat());
        check(keys, (b"", b"b"), &keys[3..]);
        check(keys, (b"c", b"\xff\xff\x01"), &[&keys[..6], &keys[8..]].concat());
        check(keys, (b"c", b"\xff\xff\xff"), &keys[..6]);
    }
}
