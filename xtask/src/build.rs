//! Building: one profile and one target folder for demo, test and bench, so that nothing is built twice.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The suites, the library that puts faults between a process and its disk, and the smith of WebAssembly at random.
pub(crate) fn suite() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--workspace", "--lib", "--bin", "cofferdam-suite"]))?;
    run(smith("build").arg("--locked"))
}

/// The workspace of the smith, which wants other features of what it shares with the runtime.
pub(crate) const SMITH: &str = "tests/smith/Cargo.toml";

/// Cargo on the smith's workspace.
pub(crate) fn smith(task: &str) -> Command {
    let mut command = cargo();
    command
        .args([task, "--manifest-path", SMITH])
        .env("CARGO_TARGET_DIR", target_dir().join("smith"));
    command
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

fn guests_into(out: &Path, crates: &[&str]) -> anyhow::Result<()> {
    // Standard output is the task's own: `--json` prints one object there and nothing else.
    run(cofferdam()
        .args(["plugin", "build"])
        .args(crates)
        .arg("--out")
        .arg(out)
        .stdout(std::io::stderr()))
}
