//! Building: one profile and one target folder for demo, test and bench, so that nothing is built twice.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::setup;
use crate::step::run;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// Cargo's target folder.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// First-party connectors as components.
pub(crate) fn plugins_dir() -> PathBuf {
    target_dir().join("plugins")
}

/// Connectors that only tests use.
pub(crate) fn test_guests_dir() -> PathBuf {
    target_dir().join("test-guests")
}

/// Cargo, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The built command.
pub(crate) fn cofferdam() -> Command {
    let mut command = Command::new(target_dir().join("debug/cofferdam"));
    command.current_dir(root());
    command
}

/// The `cofferdam` command. The whole workspace is selected, so that its dependencies are built with the features that tests
/// and benchmarks need too: cargo would build them once more for each other set.
pub(crate) fn host() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--workspace", "--bin", "cofferdam"]))
}

/// The benchmark.
pub(crate) fn bench() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--workspace", "--bin", "cofferdam-bench"]))
}

/// The suites, and the library that puts faults between a process and its disk.
pub(crate) fn suite() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--workspace", "--lib", "--bin", "cofferdam-suite"]))
}

/// First-party connectors.
pub(crate) fn plugins() -> anyhow::Result<()> {
    guests_into(&plugins_dir(), &["plugins/github", "plugins/slack", "plugins/webhook"])
}

/// First-party connectors, examples, and the hostile ones of the tests.
pub(crate) fn guests() -> anyhow::Result<()> {
    plugins()?;
    let others = [
        "examples/first-connector",
        "tests/guests/broken",
        "tests/guests/feed",
        "tests/guests/inbox",
        "tests/guests/probe",
        "tests/guests/wasi-probe",
    ];
    guests_into(&test_guests_dir(), &others)
}

/// The example in JavaScript, which the integration tests run: an engine and all, it takes half a minute, so it is made again
/// only when something that goes into it has changed.
pub(crate) fn javascript_example() -> anyhow::Result<()> {
    let dir = setup::javascript_example()?;
    let wit = root().join("wit");
    let out = test_guests_dir().join("js-connector.wasm");
    let mut made_of = vec![
        dir.join("package-lock.json"),
        dir.join("build.js"),
        dir.join("connector.js"),
    ];
    for entry in fs::read_dir(&wit).with_context(|| format!("{} cannot be read", wit.display()))? {
        made_of.push(entry?.path());
    }
    made_of.sort();
    let mut hasher = DefaultHasher::new();
    for path in made_of {
        fs::read(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?
            .hash(&mut hasher);
    }
    let (stamp, stamp_file) = (hasher.finish().to_string(), dir.join("built-from"));
    if out.exists() && fs::read_to_string(&stamp_file).is_ok_and(|present| present == stamp) {
        return Ok(());
    }
    eprintln!("  building the example in JavaScript");
    run(Command::new("node").arg(dir.join("build.js")).arg(&out).arg(&wit))?;
    fs::write(&stamp_file, stamp).with_context(|| format!("{} cannot be written", stamp_file.display()))
}

fn guests_into(out: &Path, crates: &[&str]) -> anyhow::Result<()> {
    // Standard output is the task's own: `--json` prints one object there and nothing else.
    run(cofferdam()
        .args(["plugin", "build"])
        .args(crates)
        .arg("--out")
        .arg(out)
        .stdout(std::io::stderr()))
}
