//! What `cargo xtask` has built: the command and the guests.

use std::path::{Path, PathBuf};

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    let here = std::env::current_exe().expect("a test is a file");
    // target/debug/deps/it-… or target/debug/cofferdam-bench
    let debug = here
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|name| name == "debug"));
    debug
        .and_then(Path::parent)
        .expect("tests run from cargo's target folder")
        .to_owned()
}

/// The path, if it is there; says what to do if it is not.
pub fn built(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} is not built: run `cargo xtask build`",
        path.display()
    );
    path
}

/// The `cofferdam` command.
pub fn command() -> PathBuf {
    built(target_dir().join("debug/cofferdam"))
}

/// A first-party connector.
pub fn plugin(name: &str) -> PathBuf {
    built(target_dir().join("plugins").join(format!("{name}.wasm")))
}

/// A connector that only tests use.
pub fn test_guest(name: &str) -> PathBuf {
    built(target_dir().join("test-guests").join(format!("{name}.wasm")))
}

/// GitHub's published webhook examples.
pub fn webhook_examples() -> PathBuf {
    built(target_dir().join("fixtures/octokit-webhooks-examples-7.6.1/package"))
}

/// An authorization server that others have written: a script for Node.js.
pub fn authorization_server() -> PathBuf {
    let modules = target_dir().join("fixtures/authorization-server/node_modules");
    built(modules.join("oauth2-mock-server/dist/oauth2-mock-server.mjs"))
}
