//! The environment that cargo is run with.
//!
//! This program is often run by a cargo itself (`cargo run`, `cargo xtask`), which leaves variables that choose another
//! toolchain, another target folder or other flags. They are taken out; what a person sets for a network, a registry or
//! a terminal stays.

use std::path::Path;
use std::process::Command;

/// Prefixes of variables that are kept although they look like cargo's own.
const KEPT: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_BUILD_JOBS",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "RUSTUP_HOME",
];

/// Prefixes of variables that are taken out.
const DROPPED: [&str; 6] = [
    "CARGO",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
];

/// A command in this folder, without what a surrounding cargo left.
pub(super) fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_dropped) {
            command.env_remove(name);
        }
    }
    command
}

fn is_dropped(name: &str) -> bool {
    let starts_with_any = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    starts_with_any(&DROPPED) && !starts_with_any(&KEPT)
}

#[cfg(test)]
mod tests {
    use super::is_dropped;

    #[test]
    fn what_a_surrounding_cargo_sets_does_not_reach_the_next_one() {
        for dropped in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_dropped(dropped), "{dropped}");
        }
        for kept in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_BUILD_JOBS",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_TOKEN",
            "CARGO_TERM_COLOR",
            "RUSTUP_HOME",
            "RUSTUP_DIST_SERVER",
            "RUST_LOG",
        ] {
            assert!(!is_dropped(kept), "{kept}");
        }
    }
}
