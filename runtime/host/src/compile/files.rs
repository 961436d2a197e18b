//! The cache of machine code: which files there are, that they are whole, and which go when there are too many.
//!
//! Two files for each component and engine, named by the component's digest and the engine's compatibility hash: the machine
//! code, and its SHA-256. They lie in a folder that only the host can read: it is native code, so nothing that came from
//! elsewhere is ever loaded as such. Code that does not agree with its checksum is compiled again.
//!
//! Code is mapped into memory and not copied, so that what lies in the cache costs memory only as it is run. A file is
//! written beside and renamed, and removed, but never written to while it has its name: what is mapped does not change.
//!
//! A draft is locked for as long as somebody writes to it, the child included. One that is not locked was left by a process
//! that is gone, and is removed at the next start.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use cofferdam_domain::{Digest, Hashing};
use wasmtime::component::Component;

use super::Compiled;

/// Extensions of the machine code, of its checksum, and of what is not finished.
const NATIVE: &str = "native";
const CHECKSUM: &str = "sha256";
const DRAFT: &str = "draft";

/// Read at once while a file is checked, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Says that code of the cache is loaded, for as long as a clone of it lives.
#[derive(Clone, Debug)]
pub(crate) struct InUse(#[expect(dead_code, reason = "it counts by being there")] Arc<()>);

/// The folder.
pub(crate) struct CacheFiles {
    dir: PathBuf,
    bytes_max: u64,
    drafts: AtomicU64,
    loaded: Mutex<HashMap<PathBuf, Weak<()>>>,
}

/// Machine code that is being written; removed when dropped, unless it was kept.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    native: PathBuf,
}

impl Draft {
    /// To be written to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already if it was kept.
        _ = fs::remove_file(&self.path);
    }
}

impl CacheFiles {
    /// Makes the folder if it is not there, and removes what processes that are gone have left unfinished in it.
    pub(crate) fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        remove_abandoned(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            bytes_max,
            drafts: AtomicU64::new(0),
            loaded: Mutex::default(),
        })
    }

    fn native(&self, digest: Digest, engine_hash: u64) -> PathBuf {
        self.dir.join(format!("{digest}-{engine_hash:016x}.{NATIVE}"))
    }

    /// The component, if it is there and whole. From now on it is the most recently used.
    pub(super) fn load(&self, engine: &wasmtime::Engine, digest: Digest, engine_hash: u64) -> Option<Compiled> {
        let native = self.native(digest, engine_hash);
        let file = File::open(&native).ok()?;
        // Before it is looked at, so that it is not evicted meanwhile.
        let in_use = self.in_use(digest, engine_hash);
        let mut expected = Vec::new();
        let checksum = File::open(native.with_extension(CHECKSUM)).ok()?;
        checksum.take(65).read_to_end(&mut expected).ok()?;
        if hash(&file).ok()?.to_string().as_bytes() != expected {
            tracing::warn!(path = %native.display(), "cached code is damaged; compiling again");
            return None;
        }
        let component = map(engine, &native)?;
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!(path = %native.display(), %error, "when it was used last cannot be noted");
        }
        Some(Compiled { component, in_use })
    }

    /// What is said against code that was just made and does not load. Nothing, where it is no code.
    pub(super) fn refusal(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        engine_hash: u64,
    ) -> Option<wasmtime::Error> {
        let native = fs::read(self.native(digest, engine_hash)).ok()?;
        wasmtime::Engine::detect_precompiled(&native)?;
        deserialize(engine, &native).err()
    }

    /// Whether both files are there.
    pub(super) fn has(&self, digest: Digest, engine_hash: u64) -> bool {
        let native = self.native(digest, engine_hash);
        native.exists() && native.with_extension(CHECKSUM).exists()
    }

    /// Says that this code is loaded.
    pub(super) fn in_use(&self, digest: Digest, engine_hash: u64) -> InUse {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.native(digest, engine_hash);
        if let Some(held) = loaded.get(&path).and_then(Weak::upgrade) {
            return InUse(held);
        }
        loaded.retain(|_, held| held.strong_count() > 0);
        let held = Arc::new(());
        loaded.insert(path, Arc::downgrade(&held));
        InUse(held)
    }

    /// A file for machine code that is to be kept under this name.
    pub(super) fn draft(&self, digest: Digest, engine_hash: u64) -> io::Result<Draft> {
        let native = self.native(digest, engine_hash);
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = native.with_extension(format!("{}-{number}.{DRAFT}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let draft = Draft { file, path, native };
        draft.file.lock()?;
        Ok(draft)
    }

    /// Keeps the code of a draft, and makes room for it. The checksum is written last: without one the code is not loaded.
    pub(super) fn keep(&self, mut draft: Draft, native_bytes_max: u64) -> io::Result<()> {
        if draft.file.metadata()?.len() > native_bytes_max {
            return Err(io::Error::other(format!(
                "the machine code is larger than {native_bytes_max} bytes"
            )));
        }
        draft.file.rewind()?;
        let checksum = hash(&draft.file)?;
        draft.file.sync_all()?;
        fs::rename(&draft.path, &draft.native)?;
        let beside = draft.path.with_extension("sum.draft");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.lock()?;
        file.write_all(checksum.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, draft.native.with_extension(CHECKSUM))?;
        self.evict(&draft.native)
    }

    /// Keeps this code.
    pub(super) fn save(&self, digest: Digest, engine_hash: u64, native: &[u8]) -> io::Result<()> {
        let mut draft = self.draft(digest, engine_hash)?;
        draft.file.write_all(native)?;
        self.keep(draft, native.len() as u64)
    }

    /// Removes the code that was not used for longest until the rest is within the bound. What is loaded stays, and so does
    /// `newest`; over the bound for that reason is said.
    fn evict(&self, newest: &Path) -> io::Result<()> {
        let mut there = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == NATIVE)
                && let Ok(known) = fs::metadata(&path)
            {
                there.push((known.modified()?, path, known.len()));
            }
        }
        there.sort();
        let mut bytes: u64 = there.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, its_bytes) in there {
            if bytes <= self.bytes_max {
                return Ok(());
            }
            // Held while the file goes, so that nobody begins to load it in between.
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            if path == newest || loaded.get(&path).is_some_and(|held| held.strong_count() > 0) {
                continue;
            }
            _ = fs::remove_file(path.with_extension(CHECKSUM));
            fs::remove_file(&path)?;
            drop(loaded);
            tracing::info!(path = %path.display(), "compiled code that was not used for longest was removed from the cache");
            bytes -= its_bytes;
        }
        if bytes > self.bytes_max {
            tracing::warn!(
                bytes,
                bytes_max = self.bytes_max,
                "the code that is loaded now is larger than the compile cache may be; raise host.cache_bytes"
            );
        }
        Ok(())
    }
}

/// Unfinished files that nobody has locked.
fn remove_abandoned(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == DRAFT || extension == "new")
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            tracing::debug!(path = %path.display(), "an unfinished file of the compile cache was removed");
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn hash(mut file: &File) -> io::Result<Digest> {
    let mut hashing = Hashing::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hashing.digest()),
            read => hashing.update(&chunk[..read]),
        }
    }
}

/// Maps the code; where the file system forbids to run what lies on it, a copy is made.
fn map(engine: &wasmtime::Engine, native: &Path) -> Option<Component> {
    #[expect(
        unsafe_code,
        reason = "the file was made by this engine's own compiler and lies in a host-only folder under a checksum"
    )]
    // SAFETY: the file is the output of `precompile_component` of a compatible engine, and is not written to: see above.
    let mapped = unsafe { Component::deserialize_file(engine, native) };
    match mapped {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "cached code cannot be mapped; copying it");
            deserialize(engine, &fs::read(native).ok()?)
                .inspect_err(|error| tracing::warn!(error = format!("{error:#}"), "cached code does not load"))
                .ok()
        }
    }
}

/// Machine code from memory.
pub(super) fn deserialize(engine: &wasmtime::Engine, native: &[u8]) -> wasmtime::Result<Component> {
    #[expect(
        unsafe_code,
        reason = "the bytes were made by this engine's own compiler and kept in a host-only folder under a checksum"
    )]
    // SAFETY: `native` is the output of `precompile_component` of a compatible engine: see above.
    unsafe {
        Component::deserialize(engine, native)
    }
}
