//! The connectors of the plugins folder: what loaded, and what did not and why.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_domain::attempt::ConnectorRef;
use cofferdam_domain::{ConnectorName, Descriptor, Digest};
use wasmtime::component::{Component, InstancePre};

use crate::bindings::pollers::PollersIndices;
use crate::bindings::sinks::SinksIndices;
use crate::bindings::sources::SourcesIndices;
use crate::compile::files::InUse;
use crate::compile::{COMPONENT_BYTES_MAX, Compiled};
use crate::descriptor;
use crate::engine::Engine;
use crate::imports::Guest;

/// Most files that one plugins folder may hold.
const FILES_MAX: usize = 1_000;

/// The package that every import and export must belong to.
const CONTRACT: &str = "cofferdam:connector/";

/// A connector that can be called.
pub struct Connector {
    pub(crate) engine: Engine,
    pub(crate) instance: InstancePre<Guest>,
    /// Where the exports are, looked up once: none if it lacks them.
    pub(crate) sink: Option<SinksIndices>,
    pub(crate) source: Option<SourcesIndices>,
    pub(crate) poller: Option<PollersIndices>,
    /// What it says about itself.
    pub descriptor: Descriptor,
    /// Of its bytes.
    pub digest: Digest,
    /// Where it was found.
    pub path: PathBuf,
    /// Size of the component.
    pub bytes: u64,
    /// What it can be asked to do.
    pub exports: Exports,
    /// Its machine code stays in the cache meanwhile.
    _in_use: InUse,
}

/// Which interfaces a component exports, read from its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exports {
    /// Takes events.
    pub sink: bool,
    /// Takes incoming requests.
    pub source: bool,
    /// Asks on a schedule.
    pub poller: bool,
}

/// A file of the folder that is not in use.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoadProblem {
    /// The file.
    pub path: PathBuf,
    /// Why, for the admin.
    pub reason: String,
}

/// What is in the folder.
#[derive(Default)]
pub struct Catalogue {
    connectors: BTreeMap<ConnectorName, Arc<Connector>>,
    problems: Vec<LoadProblem>,
}

impl Connector {
    /// Compiles the file, reads its descriptor with no capability, and checks what it imports.
    pub async fn load(engine: &Engine, path: &Path) -> Result<Self, LoadProblem> {
        let problem = |reason: String| LoadProblem {
            path: path.to_owned(),
            reason,
        };
        let to_read = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            read_capped(&to_read).map(|bytes| (Digest::of(&bytes), Arc::<[u8]>::from(bytes)))
        });
        let (digest, bytes) = match read.await {
            Ok(read) => read.map_err(problem)?,
            Err(_panicked) => return Err(problem("could not be read; load it again".to_owned())),
        };
        let size = bytes.len() as u64;
        let Compiled { component, in_use } = engine
            .cache
            .component(&engine.wasmtime, digest, bytes)
            .await
            .map_err(|error| problem(error.to_string()))?;
        let instance = engine
            .linker
            .instantiate_pre(&component)
            .map_err(|error| problem(not_linkable(&error)))?;
        let exports = exports(engine, &component).map_err(problem)?;
        let descriptor = descriptor::read(engine, &instance).await.map_err(problem)?;
        let wrong_type = |error: wasmtime::Error| problem(format!("an export has the wrong type: {error:#}"));
        let sink = exports
            .sink
            .then(|| SinksIndices::new(&instance))
            .transpose()
            .map_err(wrong_type)?;
        let source = exports
            .source
            .then(|| SourcesIndices::new(&instance))
            .transpose()
            .map_err(wrong_type)?;
        let poller = exports
            .poller
            .then(|| PollersIndices::new(&instance))
            .transpose()
            .map_err(wrong_type)?;
        Ok(Self {
            engine: engine.clone(),
            instance,
            sink,
            source,
            poller,
            descriptor,
            digest,
            path: path.to_owned(),
            bytes: size,
            exports,
            _in_use: in_use,
        })
    }

    /// Names the exact code, for records.
    pub fn reference(&self) -> ConnectorRef {
        ConnectorRef {
            name: self.descriptor.name.clone(),
            version: self.descriptor.version.to_string(),
            digest: self.digest,
        }
    }
}

impl Catalogue {
    /// Loads every `.wasm` file of the folder, in the order of names. What does not load is kept as a problem; the rest
    /// run. Of two files that name the same connector the first one wins.
    pub async fn load(engine: &Engine, dir: &Path) -> std::io::Result<Self> {
        let mut files: Vec<PathBuf> = fs::read_dir(dir)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .take(FILES_MAX)
            .collect();
        files.sort();
        let mut catalogue = Self::default();
        for path in files {
            let loaded = Connector::load(engine, &path).await;
            catalogue.add(loaded);
        }
        Ok(catalogue)
    }

    fn add(&mut self, loaded: Result<Connector, LoadProblem>) {
        match loaded {
            Ok(connector) => {
                let name = connector.descriptor.name.clone();
                if let Some(first) = self.connectors.get(&name) {
                    let first = first.path.file_name().unwrap_or_default().to_string_lossy();
                    let reason = format!("{first} already provides the connector {name}");
                    self.problems.push(LoadProblem {
                        path: connector.path,
                        reason,
                    });
                } else {
                    self.connectors.insert(name, Arc::new(connector));
                }
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    /// The connector of this name.
    pub fn get(&self, name: &ConnectorName) -> Option<&Arc<Connector>> {
        self.connectors.get(name)
    }

    /// Every connector, by name.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.connectors.values()
    }

    /// Files that are not in use.
    pub fn problems(&self) -> &[LoadProblem] {
        &self.problems
    }
}

/// Reads at most the limit, whatever the file's length says.
fn read_capped(path: &Path) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(format!("is larger than {COMPONENT_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

fn exports(engine: &Engine, component: &Component) -> Result<Exports, String> {
    let kind = component.component_type();
    let mut found = Exports::default();
    let mut describes = false;
    for (name, _) in kind.exports(&engine.wasmtime) {
        let interface = name.strip_prefix(CONTRACT).and_then(|rest| rest.split('@').next());
        match interface {
            Some("describe") => describes = true,
            Some("sink") => found.sink = true,
            Some("source") => found.source = true,
            Some("poller") => found.poller = true,
            Some(_) | None => {}
        }
    }
    if !describes {
        return Err("does not export cofferdam:connector/describe@0.1.0; it is not a connector".to_owned());
    }
    if found == Exports::default() {
        return Err("exports none of sink, source and poller; there is nothing it could do".to_owned());
    }
    Ok(found)
}

fn not_linkable(error: &wasmtime::Error) -> String {
    let detail = cofferdam_domain::limits::one_line(&format!("{error:#}"), 512);
    format!(
        "imports something that connectors are not given: {detail}; they have cofferdam:connector and, of WASI 0.2, \
         wasi:cli, clocks, io, random, http/types and http/outgoing-handler, and filesystem and sockets as names only"
    )
}
