//! The long proofs: set-up, build, run. What each does is in `tests/suite/`.

use crate::step::{Steps, run};
use crate::{build, setup};

/// What `cargo xtask test` runs of each, with the arguments that make it short: all together about six minutes on 2 cores.
pub(crate) const SHORT: &[(&str, &[&str])] = &[
    ("crash", &["--cycles", "30"]),
    ("power-loss", &["--cycles", "30"]),
    ("faults", &[]),
    ("simulation", &["--seeds", "300"]),
    ("hostile-egress", &[]),
    ("canary", &[]),
    ("hostile-guests", &["--cycles", "1"]),
];

/// Builds and runs one suite.
pub(crate) fn suite(name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let steps = Steps::new(3);
    steps.next("looking at what this machine has");
    setup::guest_toolchain()?;
    steps.next("building the runtime, the guests and the suites");
    build::host()?;
    build::guests()?;
    build::suite()?;
    steps.next("running the proof");
    run_built(name, arguments)
}

/// Runs a suite that is built.
pub(crate) fn run_built(name: &str, arguments: &[impl AsRef<std::ffi::OsStr>]) -> anyhow::Result<()> {
    let mut command = std::process::Command::new(build::target_dir().join("debug/cofferdam-suite"));
    command.arg(name).args(arguments);
    run(&mut command)
}
