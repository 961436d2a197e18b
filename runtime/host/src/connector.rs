//! A connector that can be called, and how a component becomes one: compile, link, look at what it exports, read its
//! descriptor, and one call that does nothing. Each of them may say no, and nothing is called before all have said yes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_domain::attempt::ConnectorRef;
use cofferdam_domain::{Descriptor, Digest};
use wasmtime::component::{Component, InstancePre};

use crate::bindings::pollers::PollersIndices;
use crate::bindings::sinks::SinksIndices;
use crate::bindings::sources::SourcesIndices;
use crate::compile::files::InUse;
use crate::compile::{COMPONENT_BYTES_MAX, CompileError, Compiled};
use crate::descriptor;
use crate::engine::Engine;
use crate::imports::Guest;

/// The package that every import and export must belong to.
const CONTRACT: &str = "cofferdam:connector/";

mod smoke;

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

/// Why bytes are no connector here. The text is a sentence for the admin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It stays so for these bytes.
    #[error("{0}")]
    Unfit(String),
    /// It has nothing to do with the bytes: another try may end otherwise.
    #[error("{0}")]
    NotNow(String),
}

impl Connector {
    /// Reads a file of one's own and makes a connector of it.
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
        let made = Self::of_bytes(engine, digest, bytes).await;
        made.map_err(|error| problem(error.to_string()))
    }

    /// Compiles the component, or takes its code from the cache; links it; reads its descriptor with no capability; and makes
    /// an instance of it once more, with no capability either, that is asked for each of its exports. `digest` is that of
    /// `bytes`, and the caller's to know.
    pub async fn of_bytes(engine: &Engine, digest: Digest, bytes: Arc<[u8]>) -> Result<Self, LoadError> {
        let unfit = LoadError::Unfit;
        let size = bytes.len() as u64;
        let Compiled { component, in_use } = engine
            .cache
            .component(&engine.wasmtime, digest, bytes)
            .await
            .map_err(|error| not_compiled(&error))?;
        let instance = engine
            .linker
            .instantiate_pre(&component)
            .map_err(|error| unfit(not_linkable(&error)))?;
        let exports = exports(engine, &component).map_err(unfit)?;
        let descriptor = descriptor::read(engine, &instance).await?;
        let wrong_type = |error: wasmtime::Error| unfit(format!("an export has the wrong type: {error:#}"));
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
        let connector = Self {
            engine: engine.clone(),
            instance,
            sink,
            source,
            poller,
            descriptor,
            digest,
            bytes: size,
            exports,
            _in_use: in_use,
        };
        smoke::call(&connector).await?;
        Ok(connector)
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

fn not_compiled(error: &CompileError) -> LoadError {
    match error {
        // A machine that is busy, a disk that is full: not the component's doing, or perhaps not.
        CompileError::Wall(_) | CompileError::Unavailable(_) => LoadError::NotNow(error.to_string()),
        CompileError::Precompiled
        | CompileError::CoreModule
        | CompileError::NotWasm
        | CompileError::Invalid(_)
        | CompileError::Cpu(_)
        | CompileError::Memory(_)
        | CompileError::Native(_)
        | CompileError::TooLarge(_)
        | CompileError::Broken(_) => LoadError::Unfit(error.to_string()),
    }
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
