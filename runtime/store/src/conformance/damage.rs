use std::fs;

use super::*;
use crate::StoreError;

/// What every damaged store held before: so many records, each under a key and with a value of its own.
const RECORDS: u32 = 200;

fn filled(engine: Engine, dir: &Path) {
    let store = open(engine, dir).unwrap();
    for number in 0..RECORDS {
        put(&store, &format!("k{number}"), &value(number)).unwrap();
    }
}

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(250)
}

fn data_file(engine: Engine, dir: &Path) -> std::path::PathBuf {
    dir.join(engine.name()).join("db")
}

/// A damaged store may answer with a clear error at any point, and with what was put in. Anything else is a failure.
fn check_that_nothing_is_made_up(case: &str, engine: Engine, dir: &Path) -> Result<(), OpenError> {
    let store = open(engine, dir)?;
    for number in 0..RECORDS {
        if let Ok(found) = store.get(format!("k{number}")) {
            assert_eq!(found, Some(value(number)), "{case}, {engine}: k{number}");
        }
    }
    if let Ok(found) = store.scan(&crate::Scan::prefix("k", 1000)) {
        assert_eq!(found.len(), RECORDS as usize, "{case}, {engine}");
    }
    Ok(())
}

#[test]
fn a_damaged_file_is_a_clear_error_and_never_a_fresh_store() {
    let noise: Vec<u8> = (0u32..1_000_000)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    each_durable_engine(|engine, first| {
        filled(engine, first);
        let whole = fs::read(data_file(engine, first)).unwrap();
        let data = format!("{engine}/db");
        let cases: [(&str, &str, &[u8]); 6] = [
            ("noise for data", &data, &noise),
            ("no data", &data, b""),
            ("one page of data", &data, &whole[..4096]),
            (
                "noise behind the first page",
                &data,
                &[&whole[..4096], &noise[..]].concat(),
            ),
            ("another format", "format", b"cofferdam store, format 2\n"),
            ("empty format file", "format", b""),
        ];
        for (case, file, content) in cases {
            let dir = tempfile::tempdir().unwrap();
            filled(engine, dir.path());
            fs::write(dir.path().join(file), content).unwrap();
            let error = open(engine, dir.path()).err();
            let error = error.unwrap_or_else(|| panic!("{case}, {engine}: opened"));
            assert!(
                matches!(error, OpenError::Corrupt { .. }),
                "{case}, {engine}: {error:?}"
            );
            assert_eq!(error.to_string().lines().count(), 1, "{case}, {engine}: {error}");
        }
    });
}

#[test]
fn damage_in_the_middle_is_an_error_and_never_a_shorter_past() {
    each_durable_engine(|engine, first| {
        filled(engine, first);
        let whole = fs::read(data_file(engine, first)).unwrap();
        for at in (600..whole.len() - 64).step_by(whole.len() / 40) {
            let dir = tempfile::tempdir().unwrap();
            filled(engine, dir.path());
            let mut bytes = fs::read(data_file(engine, dir.path())).unwrap();
            bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(data_file(engine, dir.path()), bytes).unwrap();
            if let Err(error) = check_that_nothing_is_made_up(&format!("at {at}"), engine, dir.path()) {
                assert!(
                    matches!(error, OpenError::Corrupt { .. }),
                    "at {at}, {engine}: {error:?}"
                );
            }
        }
    });
}

#[test]
fn damage_where_sled_keeps_its_log_is_always_an_error() {
    for at in [600, 30_000, 100_000, 190_000] {
        let dir = tempfile::tempdir().unwrap();
        filled(Engine::Sled, dir.path());
        let file = data_file(Engine::Sled, dir.path());
        let mut bytes = fs::read(&file).unwrap();
        bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&file, bytes).unwrap();
        let error = open(Engine::Sled, dir.path()).err();
        let error = error.unwrap_or_else(|| panic!("{at}: opened"));
        assert!(matches!(error, OpenError::Corrupt { .. }), "{at}: {error}");
    }
}

#[test]
fn a_file_that_is_cut_short_is_an_error_and_never_a_shorter_past() {
    each_durable_engine(|engine, first| {
        filled(engine, first);
        let whole = fs::read(data_file(engine, first)).unwrap();
        for part in 1..10 {
            let dir = tempfile::tempdir().unwrap();
            filled(engine, dir.path());
            let kept = whole.len() * part / 10;
            let file = fs::File::options()
                .write(true)
                .open(data_file(engine, dir.path()))
                .unwrap();
            file.set_len(kept as u64).unwrap();
            if let Err(error) = check_that_nothing_is_made_up(&format!("cut at {kept}"), engine, dir.path()) {
                assert!(
                    matches!(error, OpenError::Corrupt { .. }),
                    "cut at {kept}, {engine}: {error:?}"
                );
            }
        }
    });
}

#[test]
fn an_older_copy_of_the_data_is_an_error_and_never_a_shorter_past() {
    each_durable_engine(|engine, dir| {
        filled(engine, dir);
        let old = tempfile::tempdir().unwrap();
        let folder = dir.join(engine.name());
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), old.path().join(entry.file_name())).unwrap();
            }
        }
        put(&open(engine, dir).unwrap(), "later", b"v").unwrap();
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(old.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        let error = open(engine, dir).err().unwrap();
        assert!(error.to_string().contains("commits are gone"), "{engine}: {error}");
    });
}

#[test]
fn after_a_failed_commit_waiters_are_told_and_no_commit_is_taken() {
    each_durable_engine(|engine, _| {
        for fault in [Fault::DiskFull, Fault::AfterWriting, Fault::Panic] {
            let dir = tempfile::tempdir().unwrap();
            let script: Arc<Mutex<Script>> = Arc::default();
            let store = Scripted::open(engine, dir.path(), &script);
            put(&store, "before", b"v").unwrap();
            script.lock().unwrap().fault = Some(fault);
            let mut batch = Batch::new();
            batch.put("k", "v").put("l", "v");
            let error = store.commit_blocking(batch).unwrap_err();
            let CommitError::Store(error @ StoreError::Engine { .. }) = error else {
                panic!("{fault:?}, {engine}: {error}")
            };
            assert_eq!(
                error.is_disk_full(),
                matches!(fault, Fault::DiskFull),
                "{fault:?}, {engine}"
            );
            // The disk has room again, or whatever it was: what is on it is still unknown.
            script.lock().unwrap().fault = None;
            let groups = script.lock().unwrap().groups.len();
            let error = put(&store, "k", b"w").unwrap_err();
            assert!(
                matches!(error, CommitError::Store(StoreError::Poisoned { .. })),
                "{error}"
            );
            let reason = match fault {
                Fault::DiskFull => "no space left on the disk",
                Fault::AfterWriting => "input/output error",
                Fault::Panic => "lost its footing",
            };
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(
                script.lock().unwrap().groups.len(),
                groups,
                "the engine was asked again"
            );
            assert_eq!(store.get("before").unwrap().as_deref(), Some(&b"v"[..]));
            drop(store);

            let store = open(engine, dir.path()).unwrap();
            assert_eq!(store.get("before").unwrap().as_deref(), Some(&b"v"[..]));
            let (k, l) = (store.get("k").unwrap(), store.get("l").unwrap());
            assert_eq!(k, l, "{fault:?}, {engine}: the batch is there in part");
            put(&store, "k", b"w").unwrap();
        }
    });
}

/// As a kill between sled's creation of the file and its move leaves it.
#[test]
fn a_snapshot_that_sled_was_still_writing_does_not_keep_the_store_from_opening() {
    for left in [&b""[..], b"cut", &[7; 4096]] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(Engine::Sled, dir.path()).unwrap();
        put(&store, "k", b"v").unwrap();
        drop(store);
        let unfinished = dir.path().join("sled").join("snap.7FFFFFFFFFFFFFFF.generating");
        std::fs::write(&unfinished, left).unwrap();
        let store = open(Engine::Sled, dir.path()).unwrap();
        assert_eq!(
            store.get("k").unwrap().as_deref(),
            Some(&b"v"[..]),
            "{} bytes",
            left.len()
        );
        assert!(!unfinished.exists());
    }
}

/// Changes a record of the engine behind the store's back.
fn tamper(engine: Engine, dir: &Path, change: impl Fn(&dyn OpenEngine) -> Writes) {
    let engine = engine.open(&dir.join(engine.name()), CACHE_BYTES).unwrap();
    let writes = change(engine.as_ref());
    engine.commit(writes).unwrap();
}

#[test]
fn one_damaged_record_fails_whoever_builds_on_it_and_nobody_else() {
    each_durable_engine(|engine, dir| {
        let store = open(engine, dir).unwrap();
        put(&store, "chunk is gone", &[7; 9_000]).unwrap();
        put(&store, "head is noise", b"v").unwrap();
        drop(store);
        tamper(engine, dir, |engine| {
            let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let records = engine.scan(all, usize::MAX, false).unwrap();
            let (chunk, _) = records.iter().rfind(|(_, value)| value.len() > 1_000).unwrap();
            [
                (chunk.clone(), None),
                (b"head is noise".to_vec(), Some(b"\xee noise".to_vec())),
            ]
            .into()
        });
        let store = open(engine, dir).unwrap();
        for key in ["chunk is gone", "head is noise"] {
            let mut builds_on_it = Batch::new();
            builds_on_it.expect(key, "v").put("never", "v");
            let error = store.commit_blocking(builds_on_it).unwrap_err();
            assert!(
                matches!(error, CommitError::Store(StoreError::Corrupt { .. })),
                "{key}: {error}"
            );
            put(&store, "another", b"v").unwrap();
            put(&store, key, b"anew").unwrap();
            assert_eq!(store.get(key).unwrap().as_deref(), Some(&b"anew"[..]));
        }
        assert_eq!(store.get("never").unwrap(), None);
    });
}
