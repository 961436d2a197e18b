use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn what_was_committed_is_there_after_reopening() {
    each_durable_engine(|engine, dir| {
        let store = open(engine, dir).unwrap();
        put(&store, "k", b"v").unwrap();
        put(&store, "large", &[7; 100_000]).unwrap();
        drop(store);
        let store = open(engine, dir).unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        put(&store, "large too", &[8; 100_000]).unwrap();
        assert_eq!(store.get("large").unwrap(), Some(vec![7; 100_000]));
        assert_eq!(store.get("large too").unwrap(), Some(vec![8; 100_000]));
    });
}

#[test]
fn a_second_open_is_told_that_the_directory_is_in_use() {
    each_durable_engine(|engine, dir| {
        let first = open(engine, dir).unwrap();
        let error = open(engine, dir).err().unwrap();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        drop(first);
        assert!(open(engine, dir).is_ok());
    });
}

#[test]
fn the_directory_is_made_for_this_user_only() {
    each_durable_engine(|engine, dir| {
        let dir = dir.join("a").join("b");
        let _store = open(engine, &dir).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    });
}

#[test]
fn a_directory_that_was_open_to_others_is_closed_to_them() {
    each_durable_engine(|engine, dir| {
        for mode in [0o755, 0o777, 0o2770] {
            fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
            let _store = open(engine, dir).unwrap();
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{mode:o}");
        }
    });
}

#[test]
fn a_file_in_place_of_the_directory_is_not_writable() {
    each_durable_engine(|engine, dir| {
        let file = dir.join("file");
        fs::write(&file, b"x").unwrap();
        let error = open(engine, &file).err().unwrap();
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    });
}

#[test]
fn after_close_reads_go_on_and_commits_are_refused() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        put(&store, "k", b"v").unwrap();
        store.close();
        assert!(matches!(put(&store, "k", b"w"), Err(CommitError::Closed)));
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    });
}

#[test]
fn a_store_of_one_engine_is_not_opened_with_another_and_the_answer_says_what_to_do() {
    each_durable_engine(|engine, dir| {
        put(&open(engine, dir).unwrap(), "k", b"v").unwrap();
        let [other] = Engine::ALL
            .into_iter()
            .filter(|other| *other != engine)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let error = open(other, dir).err().unwrap();
        assert!(
            matches!(error, OpenError::OtherEngine { found, asked, .. } if found == engine && asked == other),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(&format!("store.engine = \"{engine}\"")), "{text}");
        assert!(text.contains(&format!("--engine {other}")), "{text}");
        // With its `format` file gone it is still no place for a new store.
        fs::remove_file(dir.join("format")).unwrap();
        assert!(matches!(open(other, dir), Err(OpenError::OtherEngine { .. })));
        assert_eq!(open(engine, dir).unwrap().get("k").unwrap().as_deref(), Some(&b"v"[..]));
    });
}

#[test]
fn files_of_the_engine_are_closed_to_others_where_a_person_may_copy_them_out() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(Engine::Redb, dir.path()).unwrap();
    let file = dir.path().join("redb/db").metadata().unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_an_interrupted_rewrite_has_left_goes_at_the_next_opening_and_nothing_else_does() {
    each_durable_engine(|engine, dir| {
        put(&open(engine, dir).unwrap(), "k", b"v").unwrap();
        for name in ["sled.b", "redb.b", "copy.draft", "compiled"] {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("db"), b"half").unwrap();
        }
        let store = open(engine, dir).unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        let mut left: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["compiled", "format", "lock", engine.name(), "watermark"].map(std::ffi::OsString::from)
        );
    });
}

#[test]
fn a_store_in_memory_is_gone_with_its_last_handle() {
    let store = Store::in_memory();
    let other = store.clone();
    put(&store, "k", b"v").unwrap();
    drop(store);
    assert_eq!(other.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(Store::in_memory().get("k").unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_memory_takes_no_time_on_a_simulated_clock() {
    let store = Store::in_memory();
    let before = tokio::time::Instant::now();
    for number in 0..100 {
        let mut batch = Batch::new();
        batch.put(format!("{number}"), "v");
        let timed = tokio::time::timeout(std::time::Duration::from_nanos(1), store.commit(batch));
        timed.await.unwrap().unwrap();
    }
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}
