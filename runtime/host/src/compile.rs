//! From component bytes to machine code, and the cache of what was compiled.
//!
//! A cached file is named by the component's digest and the engine's compatibility hash, starts with the SHA-256 of what
//! follows, and lies in a folder that only the host can read: it is native code, so nothing that came from elsewhere is
//! ever loaded as such. A file that does not verify is compiled again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cofferdam_domain::Digest;
use wasmtime::component::Component;

/// Largest component, in bytes. A Python guest has about 18 MB.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Length of the checksum in front of a cached file.
const CHECKSUM_BYTES: usize = 32;

/// Why bytes are no component that can run here.
#[derive(Debug, thiserror::Error)]
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
}

/// The cache. Compilation is single-file: one component at a time, so that two cores are never both taken from the lanes.
pub(crate) struct CompileCache {
    dir: PathBuf,
    engine_hash: u64,
    compiling: Mutex<()>,
}

impl CompileCache {
    pub(crate) fn open(dir: &Path, engine: &wasmtime::Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            dir: dir.to_owned(),
            engine_hash: hasher.finish(),
            compiling: Mutex::new(()),
        })
    }

    /// The component, from the cache or compiled now. Blocks; a large component takes many seconds.
    pub(crate) fn component(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Component, CompileError> {
        refuse_what_is_no_component(bytes)?;
        let path = self.dir.join(format!("{digest}-{:016x}.native", self.engine_hash));
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever held the lock may have compiled the same bytes.
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let native = engine
            .precompile_component(bytes)
            .map_err(|error| CompileError::Invalid(cofferdam_domain::limits::one_line(&format!("{error:#}"), 1024)))?;
        if let Err(error) = save(&path, &native) {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be cached; it is compiled again next time");
        }
        deserialize(engine, &native).ok_or_else(|| CompileError::Invalid("its compiled form does not load".to_owned()))
    }
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

fn load(engine: &wasmtime::Engine, path: &Path) -> Option<Component> {
    let file = fs::read(path).ok()?;
    let (checksum, native) = file.split_at_checked(CHECKSUM_BYTES)?;
    if checksum != Digest::of(native).as_bytes() {
        tracing::warn!(path = %path.display(), "cached code is damaged; compiling again");
        return None;
    }
    deserialize(engine, native)
}

fn deserialize(engine: &wasmtime::Engine, native: &[u8]) -> Option<Component> {
    #[expect(
        unsafe_code,
        reason = "the bytes were made by this engine's own compiler and kept in a host-only folder under a checksum"
    )]
    // SAFETY: `native` is the output of `precompile_component` of a compatible engine: see above.
    let component = unsafe { Component::deserialize(engine, native) };
    component
        .inspect_err(|error| tracing::warn!(error = format!("{error:#}"), "cached code does not load"))
        .ok()
}

/// Written beside and renamed, so that a crash leaves no half file under the real name.
fn save(path: &Path, native: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(Digest::of(native).as_bytes())?;
    file.write_all(native)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
