//! From component bytes to machine code that runs here: from the cache, or compiled now.
//!
//! Promises: one digest is compiled once however many ask for it at the same time, and no more than
//! [`EngineSettings::compiles_at_once`](crate::EngineSettings) digests at once; compiling is never on the executor; in a
//! child process ([`child`]) a component that makes the compiler use up time or memory, or crash, costs that process alone
//! and is a [`CompileError`] with the number that was exceeded. Dropping the future ends the child.
//!
//! It does not make the compiler's output trustworthy: whoever can make the compiler produce code of their choice has won.
//! What is kept is in [`files`].

pub(crate) mod child;
pub(crate) mod files;
mod flights;
pub(crate) mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::Digest;
use cofferdam_domain::limits::one_line;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmtime::component::Component;

use self::child::Failed;
use self::files::{CacheFiles, InUse};
use self::flights::Flights;

/// Largest component, in bytes. A Python guest has about 18 MB.
pub const COMPONENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Longest sentence of the compiler that is kept, in bytes.
const SENTENCE_BYTES_MAX: usize = 1024;

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, within no limits: for tests and for files of one's own.
    InProcess,
    /// In a process of its own, started for one component: `PROGRAM compile-component`, which runs
    /// [`compile_component`](crate::compile_component) under these limits.
    Child {
        /// The program, by its path.
        program: PathBuf,
        /// What it may use.
        limits: CompileLimits,
    },
}

/// What compiling one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, of all threads together; whole seconds.
    pub cpu: Duration,
    /// Wall time. It is long, because the compiler comes behind everybody else.
    pub wall: Duration,
    /// Memory that the process may write to, in bytes.
    pub memory_bytes: u64,
    /// Machine code, in bytes.
    pub native_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(120),
            wall: Duration::from_secs(900),
            memory_bytes: 2 * 1024 * 1024 * 1024,
            native_bytes: 512 * 1024 * 1024,
        }
    }
}

/// Why bytes are no component that can run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Native code from the folder would run outside every limit.
    #[error("is precompiled native code; only WebAssembly components are loaded")]
    Precompiled,
    /// Compiled, but not a component.
    #[error("is a core WebAssembly module, not a component; build it with `cofferdam plugin build`")]
    CoreModule,
    /// Neither.
    #[error("is not WebAssembly")]
    NotWasm,
    /// The compiler refuses it.
    #[error("does not compile: {0}")]
    Invalid(String),
    /// Compiling it used up its processor time.
    #[error("takes more than {0} s of processor time to compile; make it smaller")]
    Cpu(u64),
    /// Compiling it used up its wall time.
    #[error("did not compile within {0} s; load it again when the machine is less busy, or make it smaller")]
    Wall(u64),
    /// Compiling it used up its memory.
    #[error("takes more than {0} bytes of memory to compile; make it smaller")]
    Memory(u64),
    /// Its machine code is too large.
    #[error("compiles to more than {0} bytes of machine code; make it smaller")]
    Native(u64),
    /// It is made of more than this engine has room for, or of larger parts.
    #[error("cannot be run here: {0}; make it of fewer or smaller parts")]
    TooLarge(String),
    /// The compiler broke down over it.
    #[error("makes the compiler break down ({0}); build it anew, with another version of its tools")]
    Broken(String),
    /// Nothing to do with the component.
    #[error("could not be compiled: {0}; load it again")]
    Unavailable(String),
}

/// A component that can be linked. What it was loaded from is not evicted before `in_use` is dropped.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) in_use: InUse,
}

/// The compiler and the cache of what it made.
pub(crate) struct CompileCache {
    files: Arc<CacheFiles>,
    compiler: Compiler,
    engine_hash: u64,
    flights: Flights,
    turns: Semaphore,
}

impl CompileCache {
    pub(crate) fn new(files: CacheFiles, compiler: Compiler, engine: &wasmtime::Engine, at_once: u32) -> Self {
        Self {
            files: Arc::new(files),
            compiler,
            engine_hash: worker::engine_hash(engine),
            flights: Flights::default(),
            turns: Semaphore::new(at_once.max(1) as usize),
        }
    }

    /// The component. A large one takes many seconds where it is not in the cache. Cancel-safe: of several who wait for the
    /// same digest another goes on.
    pub(crate) async fn component(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: Arc<[u8]>,
    ) -> Result<Compiled, CompileError> {
        refuse_what_is_no_component(&bytes)?;
        if let Some(compiled) = self.cached(engine, digest).await {
            return Ok(compiled);
        }
        let flight = self.flights.of(digest);
        flight.get_or_init(|| self.compile(engine, digest, bytes)).await.clone()
    }

    async fn compile(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: Arc<[u8]>,
    ) -> Result<Compiled, CompileError> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|_closed| CompileError::Unavailable("the server is stopping".to_owned()))?;
        // Whoever had the turn before may have compiled the same bytes.
        if let Some(compiled) = self.cached(engine, digest).await {
            return Ok(compiled);
        }
        if let Compiler::Child { program, limits } = &self.compiler {
            match self.in_child(program, limits, digest, &bytes).await {
                Ok(()) => {
                    return match self.cached(engine, digest).await {
                        Some(compiled) => Ok(compiled),
                        None => Err(self.refused(engine, digest).await),
                    };
                }
                Err(Failed::OtherEngine) => tracing::warn!(
                    program = %program.display(),
                    "compiles for another engine than this server's; compiling in this process, without limits"
                ),
                Err(Failed::For(error)) => return Err(error),
            }
        }
        self.in_process(engine, digest, bytes).await
    }

    /// Whether there is code for this component; whether it is whole shows when it is loaded.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.files.has(digest, self.engine_hash)
    }

    async fn cached(&self, engine: &wasmtime::Engine, digest: Digest) -> Option<Compiled> {
        let (files, engine, hash) = (Arc::clone(&self.files), engine.clone(), self.engine_hash);
        spawn_blocking(move || files.load(&engine, digest, hash))
            .await
            .ok()
            .flatten()
    }

    /// Why the machine code that the compiler has just left in the cache cannot be had from there.
    async fn refused(&self, engine: &wasmtime::Engine, digest: Digest) -> CompileError {
        let (files, engine, hash) = (Arc::clone(&self.files), engine.clone(), self.engine_hash);
        let refusal = spawn_blocking(move || files.refusal(&engine, digest, hash)).await;
        match refusal {
            Ok(Some(error)) => CompileError::TooLarge(sentence(&error)),
            Ok(None) | Err(_) => CompileError::Unavailable("its machine code does not load from the cache".to_owned()),
        }
    }

    /// Leaves the machine code in the cache.
    async fn in_child(
        &self,
        program: &std::path::Path,
        limits: &CompileLimits,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), Failed> {
        let unusable = |error: std::io::Error| {
            Failed::For(CompileError::Unavailable(format!(
                "the compile cache cannot be written: {error}"
            )))
        };
        let draft = self.files.draft(digest, self.engine_hash).map_err(unusable)?;
        child::compile(program, limits, self.engine_hash, bytes, draft.file()).await?;
        let (files, native_bytes) = (Arc::clone(&self.files), limits.native_bytes);
        let kept = spawn_blocking(move || files.keep(draft, native_bytes)).await;
        match kept {
            Ok(kept) => kept.map_err(unusable),
            Err(_panicked) => Err(Failed::For(CompileError::Unavailable(
                "it could not be kept".to_owned(),
            ))),
        }
    }

    async fn in_process(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: Arc<[u8]>,
    ) -> Result<Compiled, CompileError> {
        let (files, engine, hash) = (Arc::clone(&self.files), engine.clone(), self.engine_hash);
        let compiled = spawn_blocking(move || {
            let native = engine
                .precompile_component(&bytes)
                .map_err(|error| CompileError::Invalid(sentence(&error)))?;
            if let Err(error) = files.save(digest, hash, &native) {
                tracing::warn!(%digest, %error, "compiled code could not be cached; it is compiled again next time");
            }
            let component = files::deserialize(&engine, &native);
            Ok(Compiled {
                component: component.map_err(|error| CompileError::TooLarge(sentence(&error)))?,
                in_use: files.in_use(digest, hash),
            })
        });
        match compiled.await {
            Ok(compiled) => compiled,
            Err(_panicked) => Err(CompileError::Broken("it panicked".to_owned())),
        }
    }
}

/// What the compiler says against a component.
fn sentence(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"), SENTENCE_BYTES_MAX)
}

/// Checks the magic before anything else looks at the bytes.
fn refuse_what_is_no_component(bytes: &[u8]) -> Result<(), CompileError> {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(CompileError::Precompiled);
    }
    // Magic, then version and layer: https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err(CompileError::CoreModule),
        _ => Err(CompileError::NotWasm),
    }
}
