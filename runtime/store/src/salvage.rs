//! What can still be read of a damaged store, taken over into a new one.
//!
//! The damaged store is not touched: each try works on a fresh copy, beside the new store. Where the first opening does not
//! give everything, the engine's own second way is tried too (sled from its log alone; redb without its checksums), and the
//! one that gives more records is taken.
//!
//! What an engine has dropped without a word cannot be known one by one; the watermark tells how many commits it were.
//! redb's pages have checksums and its records have none, so what was read in spite of a wrong checksum may be wrong itself;
//! what sled reads from a part of its log may mix a record of one moment with one of another. [`Salvaged::unverified`] says so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::batch::Batch;
use crate::check::REPORT_RECORDS;
use crate::copy::copy_files;
use crate::engine::{Engine, EngineOpenError, OpenEngine, RawRecord};
use crate::error::EngineError;
use crate::files::{remove_file, replace_file};
use crate::layout::{COPY_FOLDER, Directory, SALVAGE_FILE, is_own};
use crate::open::OpenOptions;
use crate::record::{Record, is_reserved};
use crate::store::Store;
use crate::tool::{Progress, Step, TOOL_CACHE_BYTES, ToolError};
use crate::walk::{Visitor, walk};
use crate::watermark::{COUNTER_KEY, WatermarkError, held};

/// A batch for the new store is committed at this size; a single value may be larger.
const BATCH_BYTES: usize = 1024 * 1024;

/// So many lost records are told one by one; the rest is counted.
const LOST_TOLD_MAX: usize = 100;

/// What a salvage has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The engine of both stores.
    pub engine: Engine,
    /// Records in the new store.
    pub kept: u64,
    /// Their keys and values, in bytes.
    pub kept_bytes: u64,
    /// The first hundred records whose key was there and whose value was not, a line each.
    pub lost: Vec<String>,
    /// How many there are in all.
    pub lost_count: u64,
    /// Places where records, how many is unknown, could not be read.
    pub gaps: u64,
    /// Commits that the store had made durable and that are gone; none if the store does not tell.
    pub commits_lost: Option<u64>,
    /// The engine could only be opened past its own checks: what was kept may be wrong, or from different moments.
    pub unverified: bool,
    /// What lies beside the store in the old directory and was not taken over.
    pub left_behind: Vec<PathBuf>,
}

impl Salvaged {
    /// Whether everything that the old store had promised is in the new one, as far as can be known.
    pub fn is_whole(&self) -> bool {
        self.lost_count == 0 && self.gaps == 0 && self.commits_lost == Some(0) && !self.unverified
    }
}

/// Takes over what can be read of the store in `dir` into a new store in `to`, which must be empty or not there.
///
/// While it works `to` needs room for a copy of the old store and for the new one. After an error, or where this was
/// stopped, `to` holds nothing that is worth keeping, and does not open as a store.
pub fn salvage(dir: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Salvaged, ToolError> {
    let (directory, place) = Directory::damaged(dir)?;
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ToolError::NotEmpty { dir: to.to_owned() });
    }
    // The new store is there, and locked, before anything else is put beside it.
    let target = Store::open(&OpenOptions::new(to).engine(place.engine).cache_bytes(TOOL_CACHE_BYTES))?;
    let failed = |source| ToolError::Copy {
        dir: to.to_owned(),
        source,
    };
    // A part of a store must not pass for a store, should this stop before its end.
    replace_file(to, SALVAGE_FILE, b"a salvage into this folder has not ended\n").map_err(&failed)?;
    let copy = to.join(COPY_FOLDER);
    let mut tries = Tries {
        source: directory.folder(place),
        copy: copy.clone(),
        dir: dir.to_owned(),
        engine: place.engine,
    };
    let result = tries.best(progress).and_then(|attempt| {
        let (opened, commits_lost) = tries.open(attempt, progress)?;
        let mut keeper = Keeper::new(opened.as_ref(), Some(&target), to, progress);
        walk(opened.as_ref(), &mut keeper)?;
        keeper.commit()?;
        let Keeper {
            kept,
            kept_bytes,
            lost,
            lost_count,
            gaps,
            ..
        } = keeper;
        Ok(Salvaged {
            engine: place.engine,
            kept,
            kept_bytes,
            lost,
            lost_count,
            gaps,
            commits_lost,
            unverified: place.engine.is_past_its_checks(attempt),
            left_behind: left_behind(dir),
        })
    });
    let _kept = fs::remove_dir_all(&copy);
    if result.is_ok() {
        remove_file(to, SALVAGE_FILE).map_err(&failed)?;
    }
    result
}

/// The ways to open a damaged store, each on a fresh copy.
struct Tries {
    source: PathBuf,
    copy: PathBuf,
    dir: PathBuf,
    engine: Engine,
}

type OpenedCopy = (Box<dyn OpenEngine>, Option<u64>);

impl Tries {
    /// The way that gives most. Nothing beyond the first is tried where that gives everything.
    fn best(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<usize, ToolError> {
        let mut best: Option<(u64, usize)> = None;
        let mut detail = String::new();
        for attempt in 0.. {
            let (opened, commits_lost) = match self.try_open(attempt, progress)? {
                None => break,
                Some(Ok(opened)) => opened,
                Some(Err(EngineOpenError::Corrupt(text))) => {
                    detail = text;
                    continue;
                }
                Some(Err(EngineOpenError::Failed(error))) => {
                    detail = error.to_string();
                    continue;
                }
            };
            let mut counter = Keeper::new(opened.as_ref(), None, &self.dir, progress);
            walk(opened.as_ref(), &mut counter)?;
            if best.is_none_or(|(kept, _)| counter.kept > kept) {
                best = Some((counter.kept, attempt));
            }
            if counter.lost_count == 0 && counter.gaps == 0 && commits_lost == Some(0) {
                break;
            }
        }
        match best {
            Some((_, attempt)) => Ok(attempt),
            None => Err(ToolError::NothingLeft {
                dir: self.dir.clone(),
                detail,
            }),
        }
    }

    fn open(&mut self, attempt: usize, progress: &mut dyn FnMut(Progress)) -> Result<OpenedCopy, ToolError> {
        let nothing = |detail| ToolError::NothingLeft {
            dir: self.dir.clone(),
            detail,
        };
        match self.try_open(attempt, progress)? {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(EngineOpenError::Corrupt(detail))) => Err(nothing(detail)),
            Some(Err(EngineOpenError::Failed(error))) => Err(nothing(error.to_string())),
            None => Err(nothing("no way to open it is left".to_owned())),
        }
    }

    /// None: there is no such way. The commits lost are none where they cannot be told.
    fn try_open(
        &self,
        attempt: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Result<OpenedCopy, EngineOpenError>>, ToolError> {
        copy_files(&self.source, &self.copy, progress)?;
        progress(Progress {
            step: Step::Opening,
            done: 0,
        });
        let Some(opened) = self.engine.open_damaged(&self.copy, TOOL_CACHE_BYTES, attempt) else {
            return Ok(None);
        };
        Ok(Some(opened.map(|opened| {
            let commits_lost = match opened
                .get(COUNTER_KEY)
                .map(|counter| held(&self.dir, counter.as_deref()))
            {
                Ok(Ok(_)) => Some(0),
                Ok(Err(WatermarkError::Lost(lost))) => Some(lost),
                Ok(Err(WatermarkError::Malformed | WatermarkError::Io(_))) | Err(_) => None,
            };
            (opened, commits_lost)
        })))
    }
}

/// Writes what can be read to the new store, or only counts it.
struct Keeper<'a> {
    from: &'a dyn OpenEngine,
    to: Option<&'a Store>,
    dir: &'a Path,
    progress: &'a mut dyn FnMut(Progress),
    batch: Batch,
    read: u64,
    kept: u64,
    kept_bytes: u64,
    lost: Vec<String>,
    lost_count: u64,
    gaps: u64,
}

impl<'a> Keeper<'a> {
    fn new(
        from: &'a dyn OpenEngine,
        to: Option<&'a Store>,
        dir: &'a Path,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            from,
            to,
            dir,
            progress,
            batch: Batch::new(),
            read: 0,
            kept: 0,
            kept_bytes: 0,
            lost: Vec::new(),
            lost_count: 0,
            gaps: 0,
        }
    }

    fn commit(&mut self) -> Result<(), ToolError> {
        let batch = std::mem::take(&mut self.batch);
        match self.to {
            Some(store) => store.commit_blocking(batch).map_err(|source| ToolError::Commit {
                dir: self.dir.to_owned(),
                source,
            }),
            None => Ok(()),
        }
    }

    /// The value whose raw record this is, or what is wrong with it.
    fn value(&self, key: &[u8], raw: Vec<u8>) -> Result<Vec<u8>, String> {
        let head = match Record::decode(key, raw).map_err(|error| error.to_string())? {
            Record::Inline(value) => return Ok(value),
            Record::Chunked(head) => head,
        };
        let read = |chunk: &[u8]| self.from.get(chunk).map_err(crate::committer::failed("read"));
        match head.assemble(key, &read) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(format!("a chunk of the value under {} is gone", key.escape_ascii())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Visitor for Keeper<'_> {
    fn record(&mut self, (key, raw): RawRecord) -> Result<(), ToolError> {
        self.read += 1;
        if self.read.is_multiple_of(REPORT_RECORDS) {
            let step = if self.to.is_some() {
                Step::Writing
            } else {
                Step::Reading
            };
            (self.progress)(Progress { step, done: self.read });
        }
        // The format record and the counter are the new store's own; chunks are asked for by their head.
        if is_reserved(&key) {
            return Ok(());
        }
        match self.value(&key, raw) {
            Ok(value) => {
                let mut one = Batch::new();
                one.put(key.as_slice(), value);
                if one.check().is_err() {
                    self.lost_count += 1;
                    return Ok(());
                }
                self.kept += 1;
                self.kept_bytes += one.bytes() as u64;
                if self.to.is_some() {
                    self.batch.append(one);
                    if self.batch.bytes() >= BATCH_BYTES {
                        self.commit()?;
                    }
                }
            }
            Err(problem) => {
                self.lost_count += 1;
                if self.lost.len() < LOST_TOLD_MAX {
                    self.lost.push(problem);
                }
            }
        }
        Ok(())
    }

    fn gap(&mut self, _: &[u8], _: &EngineError) -> Result<(), ToolError> {
        self.gaps += 1;
        Ok(())
    }
}

fn left_behind(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut others: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| !is_own(name)))
        .collect();
    others.sort();
    others
}
