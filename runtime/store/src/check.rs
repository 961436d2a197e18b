//! Whether a store is sound: every record read and held against the rules of its format, on a copy of its files.
//!
//! A copy, since opening is no reading: sled cuts off what it cannot make sense of, and redb repairs. What is found here
//! leaves the store as it was, but for a folder with the copy that is gone afterwards.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::engine::{Engine, EngineOpenError, RawRecord};
use crate::error::EngineError;
use crate::keyspace::Keyspace;
use crate::layout::{COPY_FOLDER, Directory};
use crate::record::{CHUNK_PREFIX, FORMAT, FORMAT_KEY, Head, Record, chunk_of, is_reserved};
use crate::tool::{Progress, Step, TOOL_CACHE_BYTES, ToolError};
use crate::walk::{Visitor, walk};
use crate::watermark::{COUNTER_KEY, WatermarkError, held};

/// So many problems are told one by one; the rest is counted.
const PROBLEMS_TOLD_MAX: usize = 100;

/// Records between two reports.
pub(crate) const REPORT_RECORDS: u64 = 10_000;

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The store's engine.
    pub engine: Engine,
    /// Groups of commits that the store counts.
    pub commits: u64,
    /// What callers have stored, by keyspace, largest first.
    pub keyspaces: Vec<KeyspaceCount>,
    /// The first hundred things that are wrong, a line each.
    pub problems: Vec<String>,
    /// How many there are in all.
    pub problems_count: u64,
}

/// What a keyspace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceCount {
    /// Its name, or its first byte where this version knows no name for it.
    pub name: String,
    /// Records, a large value being one.
    pub records: u64,
    /// Keys and values, chunks included, in bytes.
    pub bytes: u64,
}

impl Checked {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems_count == 0
    }

    /// Records in all.
    pub fn records(&self) -> u64 {
        self.keyspaces.iter().map(|space| space.records).sum()
    }

    /// Keys and values in all, in bytes.
    pub fn bytes(&self) -> u64 {
        self.keyspaces.iter().map(|space| space.bytes).sum()
    }
}

/// Checks the store of a directory that nobody has open. The copy needs as much room as the store where the file system cannot
/// clone files. Memory grows with the number of values over 4 KiB, about 150 bytes each.
pub fn check(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Checked, ToolError> {
    let (directory, place) = Directory::existing(dir)?;
    let copy = directory.path().join(COPY_FOLDER);
    let result = crate::copy::copy_files(&directory.folder(place), &copy, progress)
        .and_then(|()| check_copy(&copy, dir, place.engine, progress));
    // What stays behind is removed at the next opening.
    let _kept = fs::remove_dir_all(&copy);
    result
}

fn check_copy(
    copy: &Path,
    dir: &Path,
    engine: Engine,
    progress: &mut dyn FnMut(Progress),
) -> Result<Checked, ToolError> {
    progress(Progress {
        step: Step::Opening,
        done: 0,
    });
    let mut census = Census::new(progress);
    let mut commits = 0;
    match engine.open(copy, TOOL_CACHE_BYTES) {
        Err(EngineOpenError::Corrupt(detail)) => census.problem(|| format!("the engine's files are damaged: {detail}")),
        Err(EngineOpenError::Failed(source)) => {
            return Err(ToolError::Unreadable {
                dir: dir.to_owned(),
                source,
            });
        }
        Ok(opened) => {
            let counter = opened.get(COUNTER_KEY).unwrap_or_default();
            match held(dir, counter.as_deref()) {
                Ok((counted, _)) => commits = counted,
                Err(WatermarkError::Lost(lost)) => census.problem(|| format!("its last {lost} commits are gone")),
                Err(WatermarkError::Malformed) => census.problem(|| "its watermark makes no sense".to_owned()),
                Err(WatermarkError::Io(error)) => census.problem(|| format!("its watermark cannot be read: {error}")),
            }
            match opened.get(FORMAT_KEY) {
                Ok(Some(format)) if format == FORMAT => {}
                Ok(Some(_)) => census.problem(|| "its format is that of another version".to_owned()),
                Ok(None) => census.problem(|| "its format record is gone".to_owned()),
                Err(error) => census.problem(|| format!("its format record cannot be read: {error}")),
            }
            walk(opened.as_ref(), &mut census)?;
        }
    }
    Ok(census.end(engine, commits))
}

/// What was counted so far. Heads come before all chunks, in key order.
struct Census<'a> {
    progress: &'a mut dyn FnMut(Progress),
    read: u64,
    counts: BTreeMap<u8, (u64, u64)>,
    large: HashMap<u64, Large>,
    stray_chunks: u64,
    problems: Vec<String>,
    problems_count: u64,
}

/// A large value, and what was seen of it.
struct Large {
    key: Vec<u8>,
    head: Head,
    chunks: u32,
    bytes: u64,
}

impl<'a> Census<'a> {
    fn new(progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            progress,
            read: 0,
            counts: BTreeMap::new(),
            large: HashMap::new(),
            stray_chunks: 0,
            problems: Vec::new(),
            problems_count: 0,
        }
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_TOLD_MAX {
            self.problems.push(text());
        }
    }

    fn chunk(&mut self, key: &[u8], bytes: usize) {
        let Some((generation, index)) = chunk_of(key) else {
            return self.problem(|| format!("a chunk lies under {}, which is no chunk's key", key.escape_ascii()));
        };
        match self.large.get_mut(&generation) {
            Some(large) if index < large.head.extent().1 => {
                large.chunks += 1;
                large.bytes += bytes as u64;
                if let Some((_, counted)) = large.key.first().and_then(|first| self.counts.get_mut(first)) {
                    *counted += bytes as u64;
                }
            }
            Some(_) | None => self.stray_chunks += 1,
        }
    }

    fn value(&mut self, key: Vec<u8>, raw: Vec<u8>) {
        let first = key.first().copied().unwrap_or_default();
        let (records, bytes) = self.counts.entry(first).or_default();
        *records += 1;
        *bytes += key.len() as u64;
        let raw_bytes = raw.len() as u64;
        match Record::decode(&key, raw) {
            Ok(Record::Inline(value)) => *bytes += value.len() as u64,
            Ok(Record::Chunked(head)) => {
                let shown = key.clone();
                let large = Large {
                    key,
                    head,
                    chunks: 0,
                    bytes: 0,
                };
                if self.large.insert(head.generation(), large).is_some() {
                    self.problem(|| format!("{} shares its chunks with another value", shown.escape_ascii()));
                }
            }
            Err(error) => {
                *bytes += raw_bytes;
                self.problem(|| error.to_string());
            }
        }
    }

    fn end(mut self, engine: Engine, commits: u64) -> Checked {
        let mut broken: Vec<_> = std::mem::take(&mut self.large)
            .into_values()
            .filter(|large| (large.bytes, large.chunks) != large.head.extent())
            .collect();
        broken.sort_by(|one, other| one.key.cmp(&other.key));
        for large in broken {
            let (bytes, chunks) = large.head.extent();
            self.problem(|| {
                format!(
                    "the value under {} is not whole: {} of {chunks} chunks, {} of {bytes} bytes",
                    large.key.escape_ascii(),
                    large.chunks,
                    large.bytes
                )
            });
        }
        if self.stray_chunks > 0 {
            let stray = self.stray_chunks;
            self.problem(|| format!("{stray} chunks belong to no value"));
        }
        let mut keyspaces: Vec<_> = self
            .counts
            .into_iter()
            .map(|(first, (records, bytes))| KeyspaceCount {
                name: Keyspace::of_byte(first).map_or_else(|| format!("'{}'", [first].escape_ascii()), Keyspace::name),
                records,
                bytes,
            })
            .collect();
        keyspaces.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name)));
        Checked {
            engine,
            commits,
            keyspaces,
            problems: self.problems,
            problems_count: self.problems_count,
        }
    }
}

impl Visitor for Census<'_> {
    fn record(&mut self, (key, raw): RawRecord) -> Result<(), ToolError> {
        self.read += 1;
        if self.read.is_multiple_of(REPORT_RECORDS) {
            (self.progress)(Progress {
                step: Step::Reading,
                done: self.read,
            });
        }
        if key.first() == Some(&CHUNK_PREFIX) {
            self.chunk(&key, raw.len());
        } else if !is_reserved(&key) {
            self.value(key, raw);
        } else if key != FORMAT_KEY && key != COUNTER_KEY {
            self.problem(|| format!("{} is nothing that the store keeps for itself", key.escape_ascii()));
        }
        Ok(())
    }

    fn gap(&mut self, after: &[u8], why: &EngineError) -> Result<(), ToolError> {
        self.problem(|| match after {
            [] => format!("records at the beginning cannot be read: {why}"),
            after => format!("records after {} cannot be read: {why}", after.escape_ascii()),
        });
        Ok(())
    }
}
