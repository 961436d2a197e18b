use std::fs;

use super::*;
use crate::layout::{Directory, Place};
use crate::{Entry, Scan, ToolError, compact};

fn filled(engine: Engine, dir: &Path) -> Vec<Entry> {
    let store = open(engine, dir).unwrap();
    for round in 0..10 {
        let mut batch = Batch::new();
        for number in 0..100 {
            batch.put(format!("{number:03}"), vec![round; 3000 + usize::from(round) * 300]);
        }
        store.commit_blocking(batch).unwrap();
    }
    let mut batch = Batch::new();
    for number in 10..100 {
        batch.delete(format!("{number:03}"));
    }
    store.commit_blocking(batch).unwrap();
    entries(&store)
}

fn entries(store: &Store) -> Vec<Entry> {
    store.scan(&Scan::prefix("", 4096)).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_rewrite_keeps_every_record_and_gives_back_space_with_any_engine() {
    for from in Engine::ALL {
        for to in Engine::ALL {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            let before = filled(from, dir);
            fs::write(dir.join("vault.key"), b"key").unwrap();
            let done = compact(dir, Some(to), &mut |_| {}).unwrap();
            assert_eq!((done.from, done.engine), (from, to));
            assert!(done.bytes_after * 2 < done.bytes_before, "{done:?}");
            let folder = if from == to {
                format!("{to}.b")
            } else {
                to.name().to_owned()
            };
            let mut expected = ["format", "lock", "vault.key", "watermark", &folder].map(str::to_owned);
            expected.sort();
            assert_eq!(names(dir), expected);
            let store = open(to, dir).unwrap();
            assert_eq!(entries(&store), before, "{from} to {to}");
            // It goes on as any store does: new large values meet no chunk of an old one, and commits go on being counted.
            put(&store, "new", &[9; 10_000]).unwrap();
            drop(store);
            let again = compact(dir, None, &mut |_| {}).unwrap();
            assert_eq!(again.engine, to);
            let store = open(to, dir).unwrap();
            assert_eq!(entries(&store).len(), before.len() + 1);
            assert_eq!(store.get("new").unwrap(), Some(vec![9; 10_000]));
        }
    }
}

#[test]
fn a_crash_in_the_middle_of_a_rewrite_leaves_one_whole_store() {
    for from in Engine::ALL {
        for to in Engine::ALL {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            let before = filled(from, dir);
            let new = Place::first(from).beside(to);
            // Before the step: half of the new store is there.
            let half = new.engine.open(&dir.join(new.folder()), CACHE_BYTES).unwrap();
            half.commit([(b"000".to_vec(), Some(vec![0, 1]))].into()).unwrap();
            drop(half);
            assert_eq!(entries(&open(from, dir).unwrap()), before, "{from} to {to}");
            assert!(!dir.join(new.folder()).exists(), "what was half done is still there");
            // Behind it: the old one is still there too.
            let saved = tempfile::tempdir().unwrap();
            let old = Place::first(from).folder();
            assert!(copied(&dir.join(old), &saved.path().join(old)));
            compact(dir, Some(to), &mut |_| {}).unwrap();
            assert!(copied(&saved.path().join(old), &dir.join(old)));
            assert_eq!(entries(&open(to, dir).unwrap()), before, "{from} to {to}");
            assert!(!dir.join(old).exists(), "the old store is still there");
        }
    }
}

fn copied(from: &Path, to: &Path) -> bool {
    crate::copy::copy_files(from, to, &mut |_| {}).is_ok()
}

#[test]
fn a_store_that_cannot_be_read_in_full_is_not_rewritten_and_stays_as_it_was() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        fs::write(dir.join("watermark"), "99999\n").unwrap();
        let error = compact(dir, None, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ToolError::Open(OpenError::Corrupt { .. })), "{error:?}");
        let (_directory, place) = Directory::existing(dir).unwrap();
        assert_eq!(place, Place::first(engine));
        assert_eq!(
            names(dir),
            ["format", "lock", engine.name(), "watermark"].map(str::to_owned)
        );
    });
}
