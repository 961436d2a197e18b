use std::fs;

use super::error::BuildError;
use super::{BuildOptions, build, component, write_if_changed};

fn options(dir: &std::path::Path) -> BuildOptions {
    BuildOptions {
        dirs: vec![dir.to_owned()],
        out: dir.join("out"),
        target_dir: None,
        toolchain: None,
    }
}

#[test]
fn a_file_is_touched_only_if_its_bytes_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    assert!(write_if_changed(&path, b"one").unwrap());
    assert!(!write_if_changed(&path, b"one").unwrap());
    assert!(write_if_changed(&path, b"two").unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"two");
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[test]
fn a_module_that_is_no_connector_is_refused_with_its_name() {
    // An empty core module: the eight bytes of the preamble.
    let refused = component::encode("empty", b"\0asm\x01\0\0\0").unwrap_err();
    assert!(
        matches!(&refused, BuildError::Component { name, .. } if name == "empty"),
        "{refused:?}"
    );
    assert!(component::encode("rubbish", b"rubbish").is_err());
}

#[test]
fn nothing_to_build_is_said_before_anything_is_run() {
    let nothing = BuildOptions {
        dirs: Vec::new(),
        ..options(std::path::Path::new("."))
    };
    let error = build(&nothing, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BuildError::NothingToBuild), "{error:?}");
}
