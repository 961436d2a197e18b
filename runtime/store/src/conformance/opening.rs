use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn what_was_committed_is_there_after_reopening() {
    each_engine(|open, dir| {
        let store = open(dir).unwrap();
        put(&store, "k", b"v").unwrap();
        put(&store, "large", &[7; 100_000]).unwrap();
        drop(store);
        let store = open(dir).unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        put(&store, "large too", &[8; 100_000]).unwrap();
        assert_eq!(store.get("large").unwrap(), Some(vec![7; 100_000]));
        assert_eq!(store.get("large too").unwrap(), Some(vec![8; 100_000]));
    });
}

#[test]
fn a_second_open_is_told_that_the_directory_is_in_use() {
    each_engine(|open, dir| {
        let first = open(dir).unwrap();
        let error = open(dir).err().unwrap();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        drop(first);
        assert!(open(dir).is_ok());
    });
}

#[test]
fn the_directory_is_made_for_this_user_only() {
    each_engine(|open, dir| {
        let dir = dir.join("a").join("b");
        let _store = open(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    });
}

#[test]
fn a_directory_that_was_open_to_others_is_closed_to_them() {
    each_engine(|open, dir| {
        for mode in [0o755, 0o777, 0o2770] {
            std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
            let _store = open(dir).unwrap();
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{mode:o}");
        }
    });
}

#[test]
fn a_file_in_place_of_the_directory_is_not_writable() {
    each_engine(|open, dir| {
        let file = dir.join("file");
        std::fs::write(&file, b"x").unwrap();
        let error = open(&file).err().unwrap();
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
