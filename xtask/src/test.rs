//! Everything that CI runs: what breaks most cheaply first, lints last because they compile everything once more.

use crate::build::{self, cargo, root, target_dir};
use crate::step::{Steps, run};
use crate::{examples, setup, suite};

/// The guests' workspace.
const GUESTS: &str = "plugins/Cargo.toml";

pub(crate) fn everything() -> anyhow::Result<()> {
    let steps = Steps::new(10);
    steps.next("formatting");
    setup::rust_components()?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--all", "--check", "--manifest-path", GUESTS]))?;
    run(build::smith("fmt").arg("--check"))?;
    steps.next("dependencies: bans, licences, sources");
    let deny = setup::cargo_deny()?;
    for manifest in ["Cargo.toml", build::SMITH] {
        run(std::process::Command::new(&deny)
            .args(["--manifest-path", manifest, "--config", "deny.toml"])
            .args(["check", "bans", "licenses", "sources"])
            .current_dir(root()))?;
    }
    steps.next("looking at what this machine has");
    setup::guest_toolchain()?;
    setup::browser()?;
    setup::webhook_examples()?;
    setup::botocore()?;
    setup::provider_libraries()?;
    setup::authorization_server()?;
    steps.next(
        "building the runtime (the first time: 10 to 13 minutes on 2 cores, most of it the WebAssembly compiler)",
    );
    build::host()?;
    steps.next("building the guests for WebAssembly");
    build::guests()?;
    examples::in_other_languages()?;
    steps.next("unit tests of the guests, on this machine's own target");
    run(&mut guests_cargo("test"))?;
    steps.next("unit and integration tests");
    run(cargo().args(["test", "--locked", "--workspace", "--no-fail-fast"]))?;
    steps.next("proofs, short");
    build::suite()?;
    for (name, arguments) in suite::SHORT {
        suite::run_built(name, arguments)?;
    }
    steps.next("lints of the runtime");
    run(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    run(build::smith("clippy").args(["--locked", "--all-targets", "--", "--deny", "warnings"]))?;
    steps.next("lints of the guests");
    run(guests_cargo("clippy").args(["--all-targets", "--", "--deny", "warnings"]))?;
    steps.finish("everything passed");
    Ok(())
}

/// Cargo on the guests' workspace, natively: their logic is tested without WebAssembly.
fn guests_cargo(task: &str) -> std::process::Command {
    let mut command = cargo();
    command
        .args([task, "--workspace", "--manifest-path", GUESTS])
        .env("CARGO_TARGET_DIR", target_dir().join("guests-native"));
    command.current_dir(root());
    command
}
