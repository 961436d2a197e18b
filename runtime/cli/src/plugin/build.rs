//! Builds connectors: crates in, components out.
//!
//! Owns the three steps between a folder with a `Cargo.toml` and a `.wasm` that the host takes: find a toolchain that can
//! compile for WebAssembly, run cargo once per workspace, make components of the core modules. Promises that what it
//! writes is whole (written beside and renamed), that a file is touched only if its bytes change, and that a component
//! imports nothing but `cofferdam:connector` and what the host has of WASI 0.2. Does not install, load or judge a connector: that is the host's.

mod cargo;
mod component;
mod environment;
mod error;
mod toolchain;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub(crate) use error::BuildError;
pub(crate) use toolchain::ToolchainKind;

use cargo::Workspace;
use toolchain::Toolchain;

/// What to build, and where to.
#[derive(Clone, Debug)]
pub(crate) struct BuildOptions {
    /// Folders with a `Cargo.toml` each. Those of one workspace are built by one cargo, so that what they share (the
    /// standard library, where it has to be built) is compiled once.
    pub(crate) dirs: Vec<PathBuf>,
    /// Gets one `<package>.wasm` for each; made if it is not there.
    pub(crate) out: PathBuf,
    /// Where cargo keeps its files: `guests` in the workspace's target folder if none is given.
    pub(crate) target_dir: Option<PathBuf>,
    /// Takes this toolchain or none, instead of the first that works.
    pub(crate) toolchain: Option<ToolchainKind>,
}

/// A component that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuiltPlugin {
    /// The package's name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// Whether the file is new or different.
    pub(crate) changed: bool,
}

/// What is under way, for the person who waits. Cargo's own words go to the terminal beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// The toolchain was chosen.
    Toolchain(ToolchainKind),
    /// Cargo compiles these packages.
    Compiling(&'a [String]),
    /// A component is there.
    Built(&'a BuiltPlugin),
}

/// Builds every crate, in release mode. The plugins are in the order of `options.dirs`.
pub(crate) fn build(
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<BuiltPlugin>, BuildError> {
    let first = options.dirs.first().ok_or(BuildError::NothingToBuild)?;
    let toolchain = match options.toolchain {
        Some(kind) => toolchain::only(kind, first)?,
        None => toolchain::first_that_works(first)?,
    };
    progress(Progress::Toolchain(toolchain.kind));
    fs::create_dir_all(&options.out).map_err(|error| BuildError::file("create", &options.out, error))?;

    let mut built = Vec::with_capacity(options.dirs.len());
    for workspace in cargo::workspaces(&toolchain, &options.dirs)? {
        build_workspace(options, &toolchain, &workspace, progress, &mut built)?;
    }
    built.sort_by_key(|(at, _)| *at);
    Ok(built.into_iter().map(|(_, plugin)| plugin).collect())
}

fn build_workspace(
    options: &BuildOptions,
    toolchain: &Toolchain,
    workspace: &Workspace,
    progress: &mut dyn FnMut(Progress<'_>),
    built: &mut Vec<(usize, BuiltPlugin)>,
) -> Result<(), BuildError> {
    let names: Vec<String> = workspace.packages.iter().map(|package| package.name.clone()).collect();
    progress(Progress::Compiling(&names));
    let target_dir = match &options.target_dir {
        Some(dir) => dir.clone(),
        None => workspace.target_dir.join("guests"),
    };
    for module in cargo::compile(toolchain, workspace, &target_dir)? {
        let core = fs::read(&module.path).map_err(|error| BuildError::file("read", &module.path, error))?;
        let component = component::encode(&module.name, &core)?;
        let path = options.out.join(format!("{}.wasm", module.name));
        let plugin = BuiltPlugin {
            changed: write_if_changed(&path, &component).map_err(|error| BuildError::file("write", &path, error))?,
            name: module.name,
            bytes: component.len() as u64,
            path,
        };
        progress(Progress::Built(&plugin));
        built.push((module.at, plugin));
    }
    Ok(())
}

/// Writes beside and renames, so that a host that watches the folder never loads half a component. A file that already
/// has these bytes is left alone, so that it does not reload one either.
fn write_if_changed(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".building-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    make_readable(file.as_file())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(true)
}

/// A temporary file is for its owner alone; a component holds no secret, and the host may run as somebody else.
#[cfg(unix)]
fn make_readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
