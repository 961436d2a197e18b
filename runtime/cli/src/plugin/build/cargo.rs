//! Asks cargo what there is, and lets it compile.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::error::BuildError;
use super::toolchain::{TARGET, Toolchain};

/// The crates to build that belong together.
#[derive(Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    pub(super) target_dir: PathBuf,
    pub(super) packages: Vec<Package>,
}

/// A crate to build.
#[derive(Debug)]
pub(super) struct Package {
    /// Its place among the folders that were given.
    at: usize,
    id: String,
    pub(super) name: String,
    dir: PathBuf,
}

/// A core module that was compiled.
#[derive(Debug)]
pub(super) struct CoreModule {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// `cargo metadata --no-deps`, as far as it is read:
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<PackageMetadata>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct PackageMetadata {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<TargetMetadata>,
}

#[derive(Deserialize)]
struct TargetMetadata {
    crate_types: Vec<String>,
}

/// A line of `--message-format=json`, as far as it is read:
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

/// Finds the package in each folder, and which of them share a workspace.
pub(super) fn workspaces(toolchain: &Toolchain, dirs: &[PathBuf]) -> Result<Vec<Workspace>, BuildError> {
    let mut workspaces: Vec<Workspace> = Vec::new();
    for (at, dir) in dirs.iter().enumerate() {
        let metadata = metadata(toolchain, dir)?;
        let package = package(&metadata, at, dir)?;
        match workspaces
            .iter_mut()
            .find(|known| known.root == metadata.workspace_root)
        {
            Some(known) if known.packages.iter().any(|other| other.id == package.id) => {}
            Some(known) => known.packages.push(package),
            None => workspaces.push(Workspace {
                root: metadata.workspace_root,
                target_dir: metadata.target_directory,
                packages: vec![package],
            }),
        }
    }
    Ok(workspaces)
}

fn metadata(toolchain: &Toolchain, dir: &Path) -> Result<Metadata, BuildError> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(BuildError::NotAConnector {
            dir: dir.to_owned(),
            problem: "it has no Cargo.toml",
        });
    }
    let output = toolchain
        .cargo(dir)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| start(toolchain, source))?;
    if !output.status.success() {
        return Err(BuildError::Cargo {
            doing: format!("describe {}", dir.display()),
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|source| BuildError::CargoOutput {
        dir: dir.to_owned(),
        source,
    })
}

fn package(metadata: &Metadata, at: usize, dir: &Path) -> Result<Package, BuildError> {
    let not = |problem| BuildError::NotAConnector {
        dir: dir.to_owned(),
        problem,
    };
    let manifest = dir
        .join("Cargo.toml")
        .canonicalize()
        .map_err(|error| BuildError::file("find", dir, error))?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest)
        .ok_or_else(|| not("its Cargo.toml has no [package]"))?;
    let is_cdylib = |target: &TargetMetadata| target.crate_types.iter().any(|kind| kind == "cdylib");
    if !package.targets.iter().any(is_cdylib) {
        return Err(not("its Cargo.toml lacks `[lib] crate-type = [\"cdylib\"]`"));
    }
    Ok(Package {
        at,
        id: package.id.clone(),
        name: package.name.clone(),
        dir: dir.to_owned(),
    })
}

/// Compiles every package of the workspace at once. Cargo's progress goes to the terminal.
pub(super) fn compile(
    toolchain: &Toolchain,
    workspace: &Workspace,
    target_dir: &Path,
) -> Result<Vec<CoreModule>, BuildError> {
    let mut command = toolchain.cargo(&workspace.root);
    command
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(target_dir)
        .args(toolchain.build_args());
    if let Some(remap) = remap_paths(&workspace.root) {
        command.arg("--config").arg(remap);
    }
    for package in &workspace.packages {
        command.arg("--package").arg(&package.id);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| start(toolchain, source))?;
    let stdout = child
        .stdout
        .take()
        .expect("stdout was piped in the line that spawned it");
    let mut modules = Vec::with_capacity(workspace.packages.len());
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|source| start(toolchain, source))?;
        // A build script may print lines of its own.
        if let Ok(Message::CompilerArtifact { package_id, filenames }) = serde_json::from_str(&line) {
            modules.extend(core_module(workspace, &package_id, filenames));
        }
    }
    let status = child.wait().map_err(|source| start(toolchain, source))?;
    let missing = workspace
        .packages
        .iter()
        .find(|package| modules.iter().all(|module: &CoreModule| module.at != package.at));
    match missing {
        None if status.success() => Ok(modules),
        Some(package) if status.success() => Err(BuildError::NotAConnector {
            dir: package.dir.clone(),
            problem: "cargo made no WebAssembly of it",
        }),
        Some(_) | None => {
            let names: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
            Err(BuildError::Cargo {
                doing: format!("compile {}", names.join(", ")),
            })
        }
    }
}

fn core_module(workspace: &Workspace, package_id: &str, filenames: Vec<PathBuf>) -> Option<CoreModule> {
    let package = workspace.packages.iter().find(|package| package.id == package_id)?;
    let path = filenames
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))?;
    Some(CoreModule {
        at: package.at,
        name: package.name.clone(),
        path,
    })
}

/// A panic's message names the file it is from. Without this a component would tell where its author's home is, and the same
/// sources would have another digest on every machine. The parent is what counts: path dependencies are often siblings.
fn remap_paths(workspace_root: &Path) -> Option<String> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()?.join(".cargo"),
    };
    // Of two prefixes that fit, rustc takes the later one.
    let sources = workspace_root.parent().filter(|parent| parent.parent().is_some());
    let remapped = [(sources, "/src"), (Some(home.as_path()), "/cargo")];
    let flags: Vec<String> = remapped
        .into_iter()
        .filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", from?.to_str()?)))
        .collect();
    // A JSON list of strings is a TOML one too.
    let flags = serde_json::to_string(&flags).ok()?;
    Some(format!("target.{TARGET}.rustflags={flags}"))
}

fn start(toolchain: &Toolchain, source: std::io::Error) -> BuildError {
    BuildError::Start {
        program: toolchain.cargo.clone(),
        source,
    }
}
