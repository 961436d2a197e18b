use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

fn names(listing: &Listing) -> Vec<&str> {
    listing.files.keys().map(String::as_str).collect()
}

fn reason(listing: &Listing, name: &str) -> String {
    match &listing.files[name] {
        Sight::Odd(reason) => reason.clone(),
        Sight::File(stamp) => panic!("{name} is a file: {stamp:?}"),
    }
}

#[test]
fn what_is_no_file_is_named_and_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.wasm"), "a").unwrap();
    fs::write(path("notes.txt"), "").unwrap();
    fs::write(path("a.wasm.minisig"), "").unwrap();
    fs::create_dir(path("folder.wasm")).unwrap();
    symlink("/etc/passwd", path("link.wasm")).unwrap();
    symlink("/nowhere", path("broken.wasm")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path("pipe.wasm"))
            .status()
            .unwrap()
            .success()
    );
    let large = fs::File::create(path("large.wasm")).unwrap();
    large.set_len(COMPONENT_BYTES_MAX + 1).unwrap();
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.wasm")), "").unwrap();
    fs::write(path("new\nline.wasm"), "").unwrap();
    let listing = list(dir.path(), &BTreeSet::new(), Signatures::Ignored).unwrap();
    assert!(matches!(listing.files["a.wasm"], Sight::File(_)));
    for (name, says) in [
        ("folder.wasm", "a folder"),
        ("link.wasm", "a symbolic link"),
        ("broken.wasm", "a symbolic link"),
        ("pipe.wasm", "a pipe"),
        ("large.wasm", "larger than"),
        ("new\\nline.wasm", "not plain text"),
        ("\u{fffd}.wasm", "not plain text"),
    ] {
        assert!(
            reason(&listing, name).contains(says),
            "{name}: {}",
            reason(&listing, name)
        );
    }
    assert_eq!(listing.files.len(), 8, "{:?}", names(&listing));
    assert_eq!(listing.left_out, None);
}

#[test]
fn a_folder_that_is_filled_up_loses_nothing_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("zz.wasm"), "").unwrap();
    let known = BTreeSet::from(["zz.wasm".to_owned(), "gone.wasm".to_owned()]);
    for number in 0..=FILES_MAX {
        fs::write(dir.path().join(format!("{number:05}.wasm")), "").unwrap();
    }
    let listing = list(dir.path(), &known, Signatures::Ignored).unwrap();
    assert_eq!(listing.files.len(), FILES_MAX);
    assert!(listing.files.contains_key("zz.wasm") && !listing.files.contains_key("gone.wasm"));
    let said = listing.left_out.unwrap();
    assert!(said.contains("1000 .wasm files; 2 of them"), "{said}");
}

#[test]
fn a_stamp_says_how_long_ago_the_file_was_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wasm");
    fs::write(&path, "a").unwrap();
    let file = fs::File::open(&path).unwrap();
    let wrote = UNIX_EPOCH + Duration::from_secs(1_000);
    file.set_modified(wrote).unwrap();
    let stamp = Stamp::of(&file.metadata().unwrap());
    assert_eq!(
        stamp.age(wrote + Duration::from_millis(7)),
        Some(Duration::from_millis(7))
    );
    assert_eq!(stamp.age(wrote - Duration::from_millis(7)), None);
}

#[test]
fn a_signature_that_comes_changes_or_goes_makes_another_file_of_it_if_anybody_looks() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.wasm"), "a").unwrap();
    let look = |signatures| {
        let listing = list(dir.path(), &BTreeSet::new(), signatures).unwrap();
        listing.files["a.wasm"].clone()
    };
    let (bare, ignored) = (look(Signatures::LookedAt), look(Signatures::Ignored));
    fs::write(dir.path().join("a.wasm.minisig"), "one").unwrap();
    let signed = look(Signatures::LookedAt);
    assert_ne!(signed, bare);
    assert_eq!(look(Signatures::Ignored), ignored);
    fs::write(dir.path().join("a.wasm.minisig"), "another").unwrap();
    assert_ne!(look(Signatures::LookedAt), signed);
}
