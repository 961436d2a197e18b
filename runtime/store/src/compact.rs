//! A store rewritten record by record: it gives back space that deleted records hold, and changes the engine.
//!
//! The new store grows in the folder beside the old one, is read back in full and compared, and is made durable. Then the
//! `format` file is replaced, which is one atomic step: before it the old store is the store, after it the new one. A crash
//! at any point leaves one of the two complete, and the folder that is not the store goes at the next opening.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Bound;
use std::path::Path;

use crate::check::REPORT_RECORDS;
use crate::copy::folder_bytes;
use crate::engine::{Engine, EngineOpenError, OpenEngine, RawRecord, Writes};
use crate::error::{EngineError, OpenError};
use crate::layout::{Directory, Place};
use crate::open::open_in;
use crate::tool::{Progress, Step, TOOL_CACHE_BYTES, ToolError};

/// Records of a store go to the new one in commits of so many, at 4 KiB each at most.
const COMMIT_RECORDS: usize = 1024;

/// What a rewrite has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The engine before.
    pub from: Engine,
    /// The engine now.
    pub engine: Engine,
    /// Raw records, chunks of large values and the store's own included.
    pub records: u64,
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk now.
    pub bytes_after: u64,
}

/// Rewrites the store of a directory that nobody has open, with the same engine or another. It needs room for both.
pub fn compact(dir: &Path, engine: Option<Engine>, progress: &mut dyn FnMut(Progress)) -> Result<Compacted, ToolError> {
    let (directory, old) = Directory::existing(dir)?;
    let new = old.beside(engine.unwrap_or(old.engine));
    progress(Progress {
        step: Step::Opening,
        done: 0,
    });
    let opened = open_in(&directory, old.engine, |path| old.engine.open(path, TOOL_CACHE_BYTES))?;
    directory.remove_leftovers(old);
    let records = match rewrite(&directory, opened.engine.as_ref(), new, progress) {
        Ok(records) => records,
        Err(error) => {
            let _kept = fs::remove_dir_all(directory.folder(new));
            return Err(error);
        }
    };
    drop(opened);
    let bytes_before = folder_bytes(&directory.folder(old));
    directory.name(new)?;
    directory.remove_leftovers(new);
    Ok(Compacted {
        from: old.engine,
        engine: new.engine,
        records,
        bytes_before,
        bytes_after: folder_bytes(&directory.folder(new)),
    })
}

/// Writes everything to the new folder, reads it back and makes it durable.
fn rewrite(
    directory: &Directory,
    old: &dyn OpenEngine,
    new: Place,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, ToolError> {
    let folder = directory.folder(new);
    let write = |source| ToolError::Write {
        dir: folder.clone(),
        source,
    };
    let unreadable = |source| ToolError::Unreadable {
        dir: directory.path().to_owned(),
        source,
    };
    let target = new
        .engine
        .open(&folder, TOOL_CACHE_BYTES)
        .map_err(|error| match error {
            EngineOpenError::Corrupt(detail) => write(std::sync::Arc::from(Box::from(detail))),
            EngineOpenError::Failed(source) => write(source),
        })?;
    let mut written = Fingerprint::new(Step::Writing, progress);
    each_page(old, unreadable, |page| {
        written.add(&page);
        let writes: Writes = page.into_iter().map(|(key, value)| (key, Some(value))).collect();
        target.commit(writes).map_err(write)
    })?;
    let written = written.end();
    let mut read_back = Fingerprint::new(Step::Verifying, progress);
    each_page(target.as_ref(), write, |page| {
        read_back.add(&page);
        Ok(())
    })?;
    if read_back.end() != written {
        return Err(ToolError::Differs);
    }
    drop(target);
    // The engine has made its records durable; here it is the folder's own entry.
    File::open(directory.path())
        .and_then(|directory| directory.sync_all())
        .map_err(|source| OpenError::NotWritable {
            dir: directory.path().to_owned(),
            source,
        })?;
    Ok(written.0)
}

fn each_page(
    engine: &dyn OpenEngine,
    unreadable: impl Fn(EngineError) -> ToolError,
    mut take: impl FnMut(Vec<RawRecord>) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    let mut low = Bound::Unbounded;
    loop {
        let page = engine
            .scan((low.clone(), Bound::Unbounded), COMMIT_RECORDS, false)
            .map_err(&unreadable)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        low = Bound::Excluded(last.clone());
        take(page)?;
    }
}

/// How many records there were, and a hash over all of them in order: against mistakes, not against malice.
struct Fingerprint<'a> {
    records: u64,
    hash: DefaultHasher,
    step: Step,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Fingerprint<'a> {
    fn new(step: Step, progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            records: 0,
            hash: DefaultHasher::new(),
            step,
            progress,
        }
    }

    fn add(&mut self, page: &[RawRecord]) {
        for (key, value) in page {
            for part in [key, value] {
                self.hash.write_usize(part.len());
                self.hash.write(part);
            }
            self.records += 1;
            if self.records.is_multiple_of(REPORT_RECORDS) {
                (self.progress)(Progress {
                    step: self.step,
                    done: self.records,
                });
            }
        }
    }

    fn end(self) -> (u64, u64) {
        (self.records, self.hash.finish())
    }
}
