//! Opening a store: the directory, the engine and the proof that its content is still there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::committer::Committer;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Engine, EngineOpenError, OpenEngine};
use crate::error::{EngineError, OpenError};
use crate::layout::{Directory, Place};
use crate::record::{CHUNK_PREFIX, FORMAT, FORMAT_KEY, generation_of};
use crate::scan::Scan;
use crate::store::Store;
use crate::watermark::{COUNTER_KEY, Watermark, WatermarkError};
use crate::writer::Writer;

/// Where a store is and what it may use.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    dir: PathBuf,
    engine: Engine,
    cache_bytes: u64,
}

impl OpenOptions {
    /// A store in this directory, which is made if it is not there and closed to all other users. The engine is sled, and its
    /// cache takes 64 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            engine: Engine::default(),
            cache_bytes: 64 * 1024 * 1024,
        }
    }

    /// The engine. A directory that another one made is refused, not converted.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
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
    open_with(&options.dir, options.engine, |path| {
        options.engine.open(path, options.cache_bytes)
    })
}

/// The engine that made the store in this directory.
pub(crate) fn engine_of(dir: &Path) -> Result<Engine, OpenError> {
    Directory::existing(dir).map(|(_unlocked_at_once, place)| place.engine)
}

/// Opens a store over any engine, in the folder that `engine` uses.
pub(crate) fn open_with<E: OpenEngine>(
    dir: &Path,
    engine: Engine,
    open: impl FnOnce(&Path) -> Result<E, EngineOpenError>,
) -> Result<Store, OpenError> {
    let directory = Directory::make(dir)?;
    let opened = open_in(&directory, engine, open)?;
    directory.remove_leftovers(opened.place);
    let engine: Arc<dyn OpenEngine> = Arc::new(opened.engine);
    let committer = Committer::new(Arc::clone(&engine), opened.next_generation, opened.watermark);
    let writer = Writer::thread(committer).map_err(|source| directory.not_writable(source))?;
    Ok(Store::new(engine, writer, Some(directory)))
}

/// A store over a map in memory.
pub(crate) fn in_memory() -> Store {
    let engine: Arc<dyn OpenEngine> = Arc::new(MemoryEngine::default());
    let committer = Committer::new(Arc::clone(&engine), FIRST_GENERATION, Watermark::in_memory());
    Store::new(engine, Writer::caller(committer), None)
}

/// An engine whose content was found to be what was promised.
pub(crate) struct Opened<E> {
    pub(crate) engine: E,
    pub(crate) place: Place,
    watermark: Watermark,
    next_generation: u64,
}

const FIRST_GENERATION: u64 = 1;

/// Opens the engine of a directory, or makes a store there, and holds what is there against what there must be.
pub(crate) fn open_in<E: OpenEngine>(
    directory: &Directory,
    engine: Engine,
    open: impl FnOnce(&Path) -> Result<E, EngineOpenError>,
) -> Result<Opened<E>, OpenError> {
    let dir = directory.path();
    let failed = |source: EngineError| OpenError::Engine {
        dir: dir.to_owned(),
        source,
    };
    let corrupt = |detail: &str| OpenError::Corrupt {
        dir: dir.to_owned(),
        detail: detail.to_owned(),
    };
    let named = directory.place()?;
    let place = match named.or_else(|| directory.unnamed()) {
        Some(found) if found.engine != engine => {
            return Err(OpenError::OtherEngine {
                dir: dir.to_owned(),
                found: found.engine,
                asked: engine,
            });
        }
        Some(found) => found,
        None => Place::first(engine),
    };
    let engine = open(&directory.folder(place)).map_err(|error| match error {
        EngineOpenError::Corrupt(detail) => corrupt(&detail),
        EngineOpenError::Failed(source) => failed(source),
    })?;
    match (named, engine.get(FORMAT_KEY).map_err(failed)?) {
        (_, Some(found)) if found != FORMAT => return Err(corrupt("its format is that of another version")),
        (Some(_), Some(_)) => {}
        (Some(_), None) => return Err(corrupt("its records are gone")),
        (None, _) => {
            engine
                .commit([(FORMAT_KEY.to_vec(), Some(FORMAT.to_vec()))].into())
                .map_err(failed)?;
            directory.name(place)?;
        }
    }
    let counter = engine.get(COUNTER_KEY).map_err(failed)?;
    let watermark = Watermark::take_up(dir, counter.as_deref()).map_err(|error| match error {
        WatermarkError::Io(source) => directory.not_writable(source),
        WatermarkError::Malformed => corrupt("its watermark makes no sense"),
        WatermarkError::Lost(commits) => corrupt(&format!("its last {commits} commits are gone")),
    })?;
    let next_generation = next_generation(&engine).map_err(failed)?;
    Ok(Opened {
        engine,
        place,
        watermark,
        next_generation,
    })
}

fn next_generation(engine: &impl OpenEngine) -> Result<u64, EngineError> {
    let all = Scan::prefix([CHUNK_PREFIX], 1).reversed();
    let range = all.range().expect("a scan without bounds is never empty");
    let last = engine.scan(range, 1, true)?;
    Ok(last
        .first()
        .and_then(|(key, _)| generation_of(key))
        .map_or(FIRST_GENERATION, |last| last.saturating_add(1)))
}
