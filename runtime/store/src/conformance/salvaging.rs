use std::fs;

use super::checking::{content, damage_records};
use super::*;
use crate::record::RECORD_BYTES_MAX;
use crate::{Scan, ToolError, check, salvage};

const RECORDS: u32 = 2000;

fn filled(engine: Engine, dir: &Path) {
    let store = open(engine, dir).unwrap();
    for page in 0..RECORDS / 100 {
        let mut batch = Batch::new();
        for number in page * 100..(page + 1) * 100 {
            batch.put(format!("k{number:05}"), number.to_be_bytes().repeat(100));
        }
        store.commit_blocking(batch).unwrap();
    }
    put(&store, "large", &[7; RECORD_BYTES_MAX * 3]).unwrap();
}

/// Keeps what it says it keeps, as a sound store, and nothing that was not there.
fn check_salvaged(case: &str, engine: Engine, to: &Path, kept: u64) {
    let found = check(to, &mut |_| {}).unwrap();
    assert!(found.is_sound(), "{case}, {engine}: {:?}", found.problems);
    assert_eq!(found.records(), kept, "{case}, {engine}");
    let store = open(engine, to).unwrap();
    for (key, value) in store.scan(&Scan::prefix("k", 4096)).unwrap() {
        let number: u32 = String::from_utf8(key[1..].to_vec()).unwrap().parse().unwrap();
        assert_eq!(value, number.to_be_bytes().repeat(100), "{case}, {engine}");
    }
    put(&store, "it goes on", b"v").unwrap();
}

#[test]
fn a_sound_store_is_taken_over_whole_and_what_lies_beside_it_is_named() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        fs::write(dir.join("vault.key"), b"key").unwrap();
        let to = tempfile::tempdir().unwrap();
        let before = content(dir);
        let done = salvage(dir, to.path(), &mut |_| {}).unwrap();
        assert!(done.is_whole(), "{done:?}");
        assert_eq!(done.kept, u64::from(RECORDS) + 1);
        assert_eq!(done.left_behind, [dir.join("vault.key")]);
        assert_eq!(content(dir), before, "{engine}: the damaged store was touched");
        check_salvaged("sound", engine, to.path(), done.kept);
    });
}

#[test]
fn a_value_without_all_its_chunks_is_lost_by_name_and_the_rest_is_kept() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        let chunk = [&[0xff][..], &1u64.to_be_bytes(), &1u32.to_be_bytes()].concat();
        damage_records(engine, dir, [(chunk, None)].into());
        let to = tempfile::tempdir().unwrap();
        let done = salvage(dir, to.path(), &mut |_| {}).unwrap();
        assert_eq!((done.kept, done.lost_count), (u64::from(RECORDS), 1), "{engine}");
        assert!(done.lost[0].contains("large"), "{:?}", done.lost);
        check_salvaged("a chunk gone", engine, to.path(), done.kept);
    });
}

#[test]
fn of_a_store_with_damage_in_its_files_as_much_as_possible_is_kept_and_none_of_it_is_made_up() {
    each_durable_engine(|engine, first| {
        filled(engine, first);
        let length = fs::metadata(first.join(engine.name()).join("db")).unwrap().len();
        let mut some_kept = 0;
        for part in 1..8 {
            let at = usize::try_from(length * part / 8).unwrap();
            let dir = tempfile::tempdir().unwrap();
            filled(engine, dir.path());
            let file = dir.path().join(engine.name()).join("db");
            let mut bytes = fs::read(&file).unwrap();
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0);
            fs::write(&file, bytes).unwrap();
            let before = content(dir.path());
            let to = tempfile::tempdir().unwrap();
            let case = format!("at {at}");
            match salvage(dir.path(), &to.path().join("new"), &mut |_| {}) {
                Ok(done) if done.unverified => some_kept += u64::from(done.kept > 0),
                Ok(done) => {
                    some_kept += u64::from(done.kept > 0);
                    check_salvaged(&case, engine, &to.path().join("new"), done.kept);
                    assert!(
                        done.kept == u64::from(RECORDS) + 1 || !done.is_whole(),
                        "{case}, {engine}: {done:?}"
                    );
                }
                Err(ToolError::NothingLeft { .. }) => {}
                Err(error) => panic!("{case}, {engine}: {error:?}"),
            }
            assert_eq!(
                content(dir.path()),
                before,
                "{case}, {engine}: the damaged store was touched"
            );
        }
        assert!(
            some_kept >= 5,
            "{engine}: something was kept in {some_kept} of 7 cases only"
        );
    });
}

#[test]
fn nothing_is_mixed_into_a_directory_that_holds_something() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        let to = tempfile::tempdir().unwrap();
        fs::write(to.path().join("letter"), b"dear").unwrap();
        let error = salvage(dir, to.path(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ToolError::NotEmpty { .. }), "{error:?}");
        // The store itself is such a directory.
        let error = salvage(dir, dir, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ToolError::NotEmpty { .. }), "{error:?}");
    });
}

#[test]
fn what_an_interrupted_salvage_leaves_does_not_pass_for_a_store() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        // As a kill in the middle of it leaves the new directory: a sound store, and the mark.
        std::fs::write(dir.join(crate::layout::SALVAGE_FILE), "").unwrap();
        let error = open(engine, dir).err().unwrap();
        assert!(error.to_string().contains("run it again"), "{error}");
        std::fs::remove_file(dir.join(crate::layout::SALVAGE_FILE)).unwrap();
        assert!(open(engine, dir).is_ok());
    });
}
