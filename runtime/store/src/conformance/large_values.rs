use std::ops::Bound;

use super::*;
use crate::record::{INLINE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::{CommitError, StoreError};

/// How many raw records there are, the store's own two aside.
fn raw_records(engine: Engine, dir: &Path) -> usize {
    let engine = engine.open(&dir.join(engine.name()), CACHE_BYTES).unwrap();
    let records = engine
        .scan((Bound::Unbounded, Bound::Unbounded), usize::MAX, false)
        .unwrap();
    assert!(records.iter().all(|(_, value)| value.len() <= RECORD_BYTES_MAX));
    records.len() - 2
}

#[test]
fn values_on_both_sides_of_the_record_limit_come_back_whole() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        let sizes = [
            0,
            1,
            INLINE_BYTES_MAX,
            INLINE_BYTES_MAX + 1,
            RECORD_BYTES_MAX + 1,
            RECORD_BYTES_MAX * 2,
            1 << 20,
        ];
        for bytes in sizes {
            let value: Vec<u8> = (0..=250u8).cycle().take(bytes).collect();
            put(&store, "k", &value).unwrap();
            assert_eq!(store.get("k").unwrap(), Some(value), "{bytes}");
        }
    });
}

#[test]
fn chunks_go_with_the_value_that_they_belong_to() {
    each_durable_engine(|engine, dir| {
        let large = vec![7; RECORD_BYTES_MAX * 2];
        let store = open(engine, dir).unwrap();
        for key in ["replaced by small", "deleted", "kept", "replaced by large"] {
            put(&store, key, &large).unwrap();
        }
        drop(store);
        assert_eq!(raw_records(engine, dir), 4 * 3);
        let store = open(engine, dir).unwrap();
        put(&store, "replaced by small", b"v").unwrap();
        put(&store, "replaced by large", &vec![8; RECORD_BYTES_MAX + 1]).unwrap();
        let mut batch = Batch::new();
        batch.delete("deleted");
        store.commit_blocking(batch).unwrap();
        assert_eq!(store.get("kept").unwrap(), Some(large));
        assert_eq!(store.get("deleted").unwrap(), None);
        drop(store);
        assert_eq!(raw_records(engine, dir), 1 + 3 + 3);
    });
}

#[test]
fn a_large_value_can_be_a_precondition() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        let large = vec![7; 10_000];
        put(&store, "k", &large).unwrap();
        let mut wrong = Batch::new();
        wrong.expect("k", [&large[1..], &[8]].concat()).delete("k");
        assert!(matches!(
            store.commit_blocking(wrong),
            Err(CommitError::Conflict { .. })
        ));
        let mut right = Batch::new();
        right.expect("k", large).delete("k");
        store.commit_blocking(right).unwrap();
        assert_eq!(store.get("k").unwrap(), None);
    });
}

#[test]
fn a_reader_beside_a_writer_sees_whole_values_only() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        put(&store, "k", &[0; 20_000]).unwrap();
        let writer = {
            let store = store.clone();
            std::thread::spawn(move || {
                for round in 1..=60u8 {
                    put(&store, "k", &vec![round; 20_000 + usize::from(round)]).unwrap();
                }
            })
        };
        while !writer.is_finished() {
            match store.get("k") {
                Ok(value) => {
                    let value = value.unwrap();
                    assert!(value.iter().all(|byte| *byte == value[0]));
                    assert_eq!(value.len(), 20_000 + usize::from(value[0]));
                }
                Err(StoreError::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        writer.join().unwrap();
    });
}
