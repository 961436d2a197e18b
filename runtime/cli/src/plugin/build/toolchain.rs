//! Finds a Rust that can compile for WebAssembly.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::environment;
use super::error::BuildError;

/// What connectors are compiled for: no operating system at all.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Oldest minor version of Rust 1 that knows the edition that connectors are written in (2024).
const MINOR_MIN: u32 = 85;

/// Debian's Rust, of the packages rustc-web and cargo-web, and its sources, of rust-web-src.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Where a toolchain is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolchainKind {
    /// The `rustc` of the path, which has the target already.
    Installed,
    /// The same, after `rustup target add`.
    Rustup,
    /// Debian's, which builds the standard library from its sources.
    Debian,
}

impl ToolchainKind {
    /// In order of preference.
    const ALL: [Self; 3] = [Self::Installed, Self::Rustup, Self::Debian];

    /// For people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "the installed wasm32-unknown-unknown target",
            Self::Rustup => "the target that rustup has just added",
            Self::Debian => "Debian's Rust, with the standard library from source",
        }
    }
}

/// How to run cargo.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) kind: ToolchainKind,
    pub(super) cargo: PathBuf,
    args: Vec<&'static str>,
    env: Vec<(&'static str, OsString)>,
}

impl Toolchain {
    /// The cargo of the path, as it is.
    fn of_path(kind: ToolchainKind) -> Self {
        Self {
            kind,
            cargo: PathBuf::from("cargo"),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// This toolchain's cargo, in this folder.
    pub(super) fn cargo(&self, dir: &Path) -> Command {
        let mut command = environment::command(&self.cargo, dir);
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// What a build needs to be told besides.
    pub(super) fn build_args(&self) -> &[&'static str] {
        &self.args
    }
}

/// The first of the three that works in this folder; a `rust-toolchain.toml` in it counts.
pub(super) fn first_that_works(dir: &Path) -> Result<Toolchain, BuildError> {
    let mut tried = Vec::new();
    for kind in ToolchainKind::ALL {
        match find(kind, dir) {
            Ok(toolchain) => return Ok(toolchain),
            Err(problem) => tried.push(format!("- {problem}")),
        }
    }
    Err(BuildError::NoToolchain { tried })
}

/// This one or none.
pub(super) fn only(kind: ToolchainKind, dir: &Path) -> Result<Toolchain, BuildError> {
    find(kind, dir).map_err(|problem| BuildError::NoToolchain {
        tried: vec![format!("- {problem}")],
    })
}

fn find(kind: ToolchainKind, dir: &Path) -> Result<Toolchain, String> {
    match kind {
        ToolchainKind::Installed => installed(dir),
        ToolchainKind::Rustup => added_by_rustup(dir),
        ToolchainKind::Debian => debian(dir),
    }
}

fn installed(dir: &Path) -> Result<Toolchain, String> {
    if has_target(dir) {
        Ok(Toolchain::of_path(ToolchainKind::Installed))
    } else {
        Err(format!("the rustc of the path has no target {TARGET}"))
    }
}

/// A target's folder may be there and empty; one with `core` in it was installed.
fn has_target(dir: &Path) -> bool {
    let Some(libs) = printed("rustc", &["--print", "target-libdir", "--target", TARGET], dir) else {
        return false;
    };
    std::fs::read_dir(libs).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

/// Changes the machine, as the person would by hand: the target is added to the active toolchain, once.
fn added_by_rustup(dir: &Path) -> Result<Toolchain, String> {
    let status = environment::command(Path::new("rustup"), dir)
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() && has_target(dir) => Ok(Toolchain::of_path(ToolchainKind::Rustup)),
        Ok(_) => Err(format!("`rustup target add {TARGET}` did not work")),
        Err(_) => Err("there is no rustup".to_owned()),
    }
}

/// Debian has no WebAssembly build of the standard library in these packages, but its sources; the flag that builds them is
/// for nightly compilers unless `RUSTC_BOOTSTRAP` is set.
fn debian(dir: &Path) -> Result<Toolchain, String> {
    for needed in [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_STD] {
        if !Path::new(needed).exists() {
            return Err(format!("Debian's Rust is not there: no {needed}"));
        }
    }
    let version = printed(DEBIAN_RUSTC, &["--version"], dir).unwrap_or_default();
    if minor_version(&version).is_none_or(|minor| minor < MINOR_MIN) {
        return Err(format!(
            "{DEBIAN_RUSTC} is {version:?}; Rust 1.{MINOR_MIN} or newer is needed"
        ));
    }
    let linker = linker(dir).ok_or("there is no linker for WebAssembly: neither rust-lld nor wasm-ld")?;
    Ok(Toolchain {
        kind: ToolchainKind::Debian,
        cargo: PathBuf::from(DEBIAN_CARGO),
        args: vec!["-Zbuild-std=std,panic_abort"],
        env: vec![
            ("RUSTC", DEBIAN_RUSTC.into()),
            ("RUSTC_BOOTSTRAP", "1".into()),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
        ],
    })
}

/// The `rust-lld` of the path's toolchain, which is as new as a compiler; else one of the system.
fn linker(dir: &Path) -> Option<PathBuf> {
    let of_toolchain = || {
        let libs = printed("rustc", &["--print", "target-libdir"], dir)?;
        Some(Path::new(&libs).parent()?.join("bin").join("rust-lld"))
    };
    let of_path = |name: &str| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    of_toolchain()
        .filter(|file| file.is_file())
        .or_else(|| of_path("rust-lld"))
        .or_else(|| of_path("wasm-ld"))
}

/// `rustc 1.96.0 (…)` is 96.
fn minor_version(printed: &str) -> Option<u32> {
    printed.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

/// The first line that a program prints, if it can be run and says that all is well.
fn printed(program: &str, args: &[&str], dir: &Path) -> Option<String> {
    let output = environment::command(Path::new(program), dir)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::minor_version;

    #[test]
    fn the_minor_version_is_read_from_what_rustc_prints() {
        assert_eq!(minor_version("rustc 1.96.0 (abc 2026-01-01)"), Some(96));
        assert_eq!(minor_version("rustc 1.63.0"), Some(63));
        assert_eq!(minor_version("rustc 2.0.0"), None);
        assert_eq!(minor_version(""), None);
    }
}
