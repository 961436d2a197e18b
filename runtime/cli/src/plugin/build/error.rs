//! Why a connector could not be built, each with what to do about it.

use std::path::{Path, PathBuf};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// No folder was given.
    #[error("no crate to build: name a folder with a Cargo.toml")]
    NothingToBuild,
    /// Nothing on this machine compiles for WebAssembly.
    #[error(
        "no Rust toolchain here can compile for wasm32-unknown-unknown.\n{}\nEither of these helps:\n  \
         rustup target add wasm32-unknown-unknown\n  apt-get install rustc-web cargo-web rust-web-src lld",
        tried.join("\n")
    )]
    NoToolchain {
        /// What was tried and why it would not do, a line each.
        tried: Vec<String>,
    },
    /// A program could not be started.
    #[error("cannot run {program}")]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Cargo said no; its own words are on the terminal.
    #[error("cargo could not {doing}; it says why above")]
    Cargo {
        /// What it was asked for.
        doing: String,
    },
    /// Cargo said something that cannot be read.
    #[error("cannot read what cargo says about {}", dir.display())]
    CargoOutput {
        /// The crate's folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The folder holds no package, or one that is no connector.
    #[error("{} is no connector: {problem}", dir.display())]
    NotAConnector {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
    /// The core module is no component.
    #[error("cannot make a component of {name}; does it call cofferdam_sdk::connector!?")]
    Component {
        /// The package.
        name: String,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
    /// The component would reach for what no host gives.
    #[error(
        "{name} imports {}, which no host gives: one of its dependencies expects an operating system or a browser",
        imports.join(", ")
    )]
    ForeignImports {
        /// The package.
        name: String,
        /// What it imports.
        imports: Vec<String>,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `read`, `write` …
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl BuildError {
    pub(super) fn file(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
