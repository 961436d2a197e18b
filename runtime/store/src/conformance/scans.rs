use super::*;
use crate::{SCAN_RECORDS_MAX, Scan};

fn keys(store: &Store, scan: &Scan) -> Vec<String> {
    let entries = store.scan(scan).unwrap();
    entries
        .into_iter()
        .map(|(key, _)| String::from_utf8(key).unwrap())
        .collect()
}

#[test]
fn scans_keep_to_prefix_order_limit_and_bounds() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        for key in ["b", "a2", "a1", "a3", "a", "c"] {
            put(&store, key, b"v").unwrap();
        }
        let check = |scan: Scan, expected: &[&str]| assert_eq!(keys(&store, &scan), expected, "{scan:?}");
        check(Scan::prefix("a", 9), &["a", "a1", "a2", "a3"]);
        check(Scan::prefix("a", 2), &["a", "a1"]);
        check(Scan::prefix("a", 0), &[]);
        check(Scan::prefix("a", 2).after("a1"), &["a2", "a3"]);
        check(Scan::prefix("a", 9).after("a3"), &[]);
        check(Scan::prefix("a", 9).until("a2"), &["a", "a1"]);
        check(Scan::prefix("a", 9).reversed(), &["a3", "a2", "a1", "a"]);
        check(Scan::prefix("a", 2).reversed().after("a3"), &["a2", "a1"]);
        check(Scan::prefix("a", 9).reversed().until("a1"), &["a3", "a2"]);
        check(Scan::prefix("", 9), &["a", "a1", "a2", "a3", "b", "c"]);
        check(Scan::prefix("x", 9), &[]);
    });
}

#[test]
fn a_scan_never_shows_what_the_store_keeps_for_itself() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        put(&store, "k", &[7; 10_000]).unwrap();
        assert_eq!(keys(&store, &Scan::prefix("", 9)), ["k"]);
        assert!(store.scan(&Scan::prefix(*b"\xff", 9)).unwrap().is_empty());
        assert_eq!(store.get(b"\xfeformat").unwrap(), None);
    });
}

#[test]
fn pages_put_together_are_everything_once() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        let mut batch = Batch::new();
        let expected: Vec<String> = (0..SCAN_RECORDS_MAX + 100)
            .map(|number| format!("{number:05}"))
            .collect();
        for key in &expected {
            batch.put(key.as_str(), "v");
        }
        store.commit_blocking(batch).unwrap();
        let mut seen = keys(&store, &Scan::prefix("", usize::MAX));
        assert_eq!(seen.len(), SCAN_RECORDS_MAX);
        seen.extend(keys(
            &store,
            &Scan::prefix("", usize::MAX).after(seen.last().unwrap().as_str()),
        ));
        assert_eq!(seen, expected);
    });
}

#[test]
fn keys_are_those_of_the_scan_large_values_and_reserved_records_or_not() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        for (key, bytes) in [("a", 1), ("b", 10_000), ("c", 0)] {
            put(&store, key, &vec![7; bytes]).unwrap();
        }
        for scan in [
            Scan::prefix("", 9),
            Scan::prefix("", 2).reversed(),
            Scan::prefix("", 9).after("a").until("c"),
            Scan::prefix("x", 9),
            Scan::prefix("", 9).after("z").until("a"),
        ] {
            let scanned: Vec<_> = store.scan(&scan).unwrap().into_iter().map(|(key, _)| key).collect();
            assert_eq!(store.keys(&scan).unwrap(), scanned, "{scan:?}");
        }
    });
}
