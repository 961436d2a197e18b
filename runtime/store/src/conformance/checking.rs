use std::fs;

use super::*;
use crate::record::RECORD_BYTES_MAX;
use crate::{Key, Keyspace, ToolError, check};

/// What is in a directory, by path, with what it holds.
pub(super) fn content(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Changes raw records as damage would.
pub(super) fn damage_records(engine: Engine, dir: &Path, writes: Writes) {
    let engine = engine.open(&dir.join(engine.name()), CACHE_BYTES).unwrap();
    engine.commit(writes).unwrap();
}

#[test]
fn a_sound_store_is_counted_by_keyspace_and_left_as_it_was() {
    each_durable_engine(|engine, dir| {
        let store = open(engine, dir).unwrap();
        let mut batch = Batch::new();
        batch
            .put(Key::of(Keyspace::Body).u64(1), vec![7; RECORD_BYTES_MAX * 3])
            .put(Key::of(Keyspace::Event).u64(1), "event")
            .put(Key::of(Keyspace::Event).u64(2), "event")
            .put("\u{1}", "of a keyspace to come");
        store.commit_blocking(batch).unwrap();
        drop(store);
        let before = content(dir);
        let found = check(dir, &mut |_| {}).unwrap();
        assert_eq!(found.problems, Vec::<String>::new(), "{engine}");
        assert!(found.is_sound());
        let spaces: Vec<_> = found
            .keyspaces
            .iter()
            .map(|space| (space.name.as_str(), space.records, space.bytes))
            .collect();
        let body = 9 + 3 * RECORD_BYTES_MAX as u64;
        assert_eq!(
            spaces,
            [("body", 1, body), ("event", 2, 28), ("'\\x01'", 1, 22)],
            "{engine}"
        );
        assert_eq!((found.engine, found.commits, found.records()), (engine, 1, 4));
        assert_eq!(content(dir), before, "{engine}: the check changed something");
    });
}

#[test]
fn what_is_wrong_with_a_record_is_said_and_nothing_is_repaired() {
    each_durable_engine(|engine, dir| {
        let store = open(engine, dir).unwrap();
        put(&store, "large", &[7; RECORD_BYTES_MAX * 3]).unwrap();
        put(&store, "small", b"v").unwrap();
        drop(store);
        let chunk = [&[0xff][..], &1u64.to_be_bytes(), &1u32.to_be_bytes()].concat();
        let stray = [&[0xff][..], &9u64.to_be_bytes(), &0u32.to_be_bytes()].concat();
        let writes = [
            (chunk, None),
            (stray, Some(vec![1])),
            (b"small".to_vec(), Some(vec![9])),
            (b"\xfewhat".to_vec(), Some(vec![1])),
        ];
        damage_records(engine, dir, writes.into());
        let before = content(dir);
        let found = check(dir, &mut |_| {}).unwrap();
        let problems = found.problems.join("\n");
        for expected in [
            "the value under large is not whole: 2 of 3 chunks, 8192 of 12288 bytes",
            "1 chunks belong to no value",
            "under key small is damaged: unknown tag",
            "\\xfewhat is nothing that the store keeps for itself",
        ] {
            assert!(
                problems.contains(expected),
                "{engine}: {expected} is not in\n{problems}"
            );
        }
        assert_eq!(found.problems_count, 4, "{engine}: {problems}");
        assert_eq!(content(dir), before, "{engine}: the check changed something");
    });
}

#[test]
fn commits_that_are_gone_and_files_that_make_no_sense_are_found_and_left_as_they_are() {
    each_durable_engine(|engine, dir| {
        put(&open(engine, dir).unwrap(), "k", b"v").unwrap();
        fs::write(dir.join("watermark"), "5\n").unwrap();
        let found = check(dir, &mut |_| {}).unwrap();
        assert_eq!(found.problems, ["its last 4 commits are gone"], "{engine}");

        fs::write(dir.join(engine.name()).join("db"), vec![0x5a; 600_000]).unwrap();
        let before = content(dir);
        let found = check(dir, &mut |_| {}).unwrap();
        assert!(
            found.problems[0].contains("damaged") || found.problems[0].contains("gone"),
            "{:?}",
            found.problems
        );
        assert_eq!(content(dir), before, "{engine}: the check changed something");
    });
}

#[test]
fn the_tools_keep_away_from_a_store_that_is_open_and_make_none_where_there_is_none() {
    each_durable_engine(|engine, dir| {
        let to = tempfile::tempdir().unwrap();
        let results = |dir: &Path| {
            [
                check(dir, &mut |_| {}).err(),
                crate::compact(dir, None, &mut |_| {}).err(),
                crate::salvage(dir, to.path(), &mut |_| {}).err(),
            ]
            .map(Option::unwrap)
        };
        for error in results(dir) {
            assert!(matches!(error, ToolError::Open(OpenError::Missing { .. })), "{error:?}");
        }
        assert!(content(dir).is_empty(), "a tool made something");
        let _store = open(engine, dir).unwrap();
        for error in results(dir) {
            assert!(matches!(error, ToolError::Open(OpenError::InUse { .. })), "{error:?}");
        }
    });
}
