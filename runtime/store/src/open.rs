//! Opening a store: the directory, the lock, the engine and the proof that its content is still there.
//!
//! The directory holds `lock` (held for as long as a store is open), `format` (written once the first store was durable),
//! `watermark` and `sled/`. An engine that drops what it cannot read may take a damaged file for an empty one; the `format` file
//! says that there must be a format record, so that such a loss is an error and not a fresh start. The directory is closed to
//! all other users at every opening.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::committer::Committer;
use crate::engine::Engine;
use crate::engine::sled::{SledEngine, SledOpenError};
use crate::error::{EngineError, OpenError};
use crate::files::{make_dir, replace_file};
use crate::record::{CHUNK_PREFIX, FORMAT, FORMAT_KEY, generation_of};
use crate::scan::Scan;
use crate::store::Store;
use crate::watermark::{COUNTER_KEY, Watermark, WatermarkError};

/// What the `format` file says: for people, and for a version that must refuse what it cannot read.
const FORMAT_FILE: &str = "cofferdam store, format 1, engine sled 0.34\n";

/// Where a store is and what it may use.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    dir: PathBuf,
    cache_bytes: u64,
}

impl OpenOptions {
    /// A store in this directory, which is made if it is not there and closed to all other users. The cache takes 64 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            cache_bytes: 64 * 1024 * 1024,
        }
    }

    /// The engine's cache, in bytes.
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }
}

/// Opens the store; what it holds is readable, and the committer runs, when this returns.
pub(crate) fn open(options: &OpenOptions) -> Result<Store, OpenError> {
    open_with(&options.dir, |path| SledEngine::open(path, options.cache_bytes))
}

/// Opens a store over any engine.
pub(crate) fn open_with<E: Engine>(
    dir: &Path,
    engine: impl FnOnce(&Path) -> Result<E, SledOpenError>,
) -> Result<Store, OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        dir: dir.to_owned(),
        source,
    };
    make_dir(dir).map_err(not_writable)?;
    // One that was there may be open to others; behind a closed one, the modes of the files inside do not matter.
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(not_writable)?;
    let lock = lock(dir)?;
    let format = read_format(dir)?;
    let engine = engine(&dir.join("sled")).map_err(|error| match error {
        SledOpenError::Corrupt(detail) => OpenError::Corrupt {
            dir: dir.to_owned(),
            detail,
        },
        SledOpenError::Failed(source) => OpenError::Engine {
            dir: dir.to_owned(),
            source,
        },
    })?;
    let failed = |source: EngineError| OpenError::Engine {
        dir: dir.to_owned(),
        source,
    };
    let corrupt = |detail: &str| OpenError::Corrupt {
        dir: dir.to_owned(),
        detail: detail.to_owned(),
    };
    match (format, engine.get(FORMAT_KEY).map_err(failed)?) {
        (_, Some(found)) if found != FORMAT => return Err(corrupt("its format is that of another version")),
        (Format::Written, Some(_)) => {}
        (Format::Written, None) => return Err(corrupt("its records are gone")),
        (Format::Missing, _) => {
            engine
                .apply([(FORMAT_KEY.to_vec(), Some(FORMAT.to_vec()))].into())
                .map_err(failed)?;
            engine.sync().map_err(failed)?;
            replace_file(dir, "format", FORMAT_FILE.as_bytes()).map_err(not_writable)?;
        }
    }
    let counter = engine.get(COUNTER_KEY).map_err(failed)?;
    let watermark = Watermark::take_up(dir, counter.as_deref()).map_err(|error| match error {
        WatermarkError::Io(source) => not_writable(source),
        WatermarkError::Malformed => corrupt("its watermark makes no sense"),
        WatermarkError::Lost(commits) => corrupt(&format!("its last {commits} commits are gone")),
    })?;
    let next_generation = next_generation(&engine).map_err(failed)?;
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let committer = Committer::new(Arc::clone(&engine), next_generation, watermark);
    Store::start(engine, committer, lock).map_err(not_writable)
}

/// Whether a store was made durable here before.
enum Format {
    Written,
    Missing,
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        dir: dir.to_owned(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(not_writable(source)),
    }
}

fn read_format(dir: &Path) -> Result<Format, OpenError> {
    match fs::read(dir.join("format")) {
        Ok(found) if found == FORMAT_FILE.as_bytes() => Ok(Format::Written),
        Ok(_) => Err(OpenError::Corrupt {
            dir: dir.to_owned(),
            detail: "its format file is damaged or that of another version".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Format::Missing),
        Err(source) => Err(OpenError::NotWritable {
            dir: dir.to_owned(),
            source,
        }),
    }
}

fn next_generation(engine: &impl Engine) -> Result<u64, EngineError> {
    let all = Scan::prefix([CHUNK_PREFIX], 1).reversed();
    let range = all.range().expect("a scan without bounds is never empty");
    let last = engine.scan(range, 1, true)?;
    Ok(last
        .first()
        .and_then(|(key, _)| generation_of(key))
        .map_or(1, |last| last + 1))
}
