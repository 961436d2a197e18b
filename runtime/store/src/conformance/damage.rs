use std::fs;

use super::*;
use crate::StoreError;

fn filled(dir: &Path) {
    let store = open_with(dir, |path| SledEngine::open(path, CACHE_BYTES)).unwrap();
    for number in 0..200 {
        put(&store, &format!("k{number}"), &[7; 1000]).unwrap();
    }
}

#[test]
fn a_damaged_file_is_a_clear_error_and_never_a_fresh_store() {
    let noise: Vec<u8> = (0u32..1_000_000)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let cases: [(&str, &str, &[u8]); 4] = [
        ("noise for data", "sled/db", &noise),
        ("no data", "sled/db", b""),
        ("another format", "format", b"cofferdam store, format 2\n"),
        ("empty format file", "format", b""),
    ];
    for (case, file, content) in cases {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        fs::write(dir.path().join(file), content).unwrap();
        let error = open_with(dir.path(), |path| SledEngine::open(path, CACHE_BYTES)).err();
        let error = error.unwrap_or_else(|| panic!("{case}: opened"));
        assert!(matches!(error, OpenError::Corrupt { .. }), "{case}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{case}: {error}");
    }
}

#[test]
fn damage_in_the_middle_is_an_error_and_never_a_shorter_past() {
    for at in [600, 30_000, 100_000, 190_000] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let file = dir.path().join("sled/db");
        let mut bytes = fs::read(&file).unwrap();
        bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&file, bytes).unwrap();
        let error = open_with(dir.path(), |path| SledEngine::open(path, CACHE_BYTES)).err();
        let error = error.unwrap_or_else(|| panic!("{at}: opened"));
        assert!(matches!(error, OpenError::Corrupt { .. }), "{at}: {error}");
    }
}

#[test]
fn after_a_failed_commit_waiters_are_told_and_no_commit_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let script = Arc::default();
    let store = Scripted::open(dir.path(), &script);
    put(&store, "before", b"v").unwrap();
    let taken = script.lock().unwrap().groups.len();
    script.lock().unwrap().fail_from = Some(taken);
    assert!(matches!(
        put(&store, "k", b"v"),
        Err(CommitError::Store(StoreError::Engine { .. }))
    ));
    script.lock().unwrap().fail_from = None;
    let error = put(&store, "k", b"v").unwrap_err();
    assert!(
        matches!(error, CommitError::Store(StoreError::Poisoned { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("no space left on device"), "{error}");
    assert_eq!(store.get("before").unwrap().as_deref(), Some(&b"v"[..]));
}
