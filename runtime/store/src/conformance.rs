//! What every engine must do for the store to keep its promises, run against each engine.

mod atomicity;
mod checking;
mod damage;
mod large_values;
mod opening;
mod rewriting;
mod salvaging;
mod scans;

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::engine::{Engine, OpenEngine, RawRecord, Writes, io_error};
use crate::error::{EngineError, OpenError};
use crate::open::open_with;
use crate::scan::KeyRange;
use crate::{Batch, CommitError, OpenOptions, Store};

const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Opens the store of a directory over the engine whose turn it is.
type Open<'a> = &'a dyn Fn(&Path) -> Result<Store, OpenError>;

/// Runs a test once for every engine, the one in memory too: the test opens once.
fn each_engine(test: impl Fn(Open<'_>, &Path)) {
    each_durable_engine(|engine, dir| test(&|dir| open(engine, dir), dir));
    test(&|_| Ok(Store::in_memory()), Path::new("nowhere"));
}

/// Runs a test once for every engine that writes to disk.
fn each_durable_engine(test: impl Fn(Engine, &Path)) {
    for engine in Engine::ALL {
        let dir = tempfile::tempdir().unwrap();
        test(engine, dir.path());
    }
}

fn open(engine: Engine, dir: &Path) -> Result<Store, OpenError> {
    Store::open(&OpenOptions::new(dir).engine(engine).cache_bytes(CACHE_BYTES))
}

fn put(store: &Store, key: &str, value: &[u8]) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(key, value);
    store.commit_blocking(batch)
}

/// What an engine does with the commits to come, and what each group before was.
#[derive(Default)]
struct Script {
    fault: Option<Fault>,
    groups: Vec<Vec<Vec<u8>>>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The disk is full and nothing is written.
    DiskFull,
    /// Everything is written, and then the disk says that it was not.
    AfterWriting,
    /// The engine panics.
    Panic,
}

/// An engine, until the script says otherwise.
struct Scripted {
    engine: Box<dyn OpenEngine>,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    fn open(engine: Engine, dir: &Path, script: &Arc<Mutex<Script>>) -> Store {
        let script = Arc::clone(script);
        open_with(dir, engine, |path| {
            let engine = engine.open(path, CACHE_BYTES)?;
            Ok(Self { engine, script })
        })
        .unwrap()
    }
}

impl OpenEngine for Scripted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.get(key)
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        self.engine.scan(range, limit, reverse)
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        let fault = {
            let mut script = self.script.lock().unwrap();
            script.groups.push(writes.keys().cloned().collect());
            script.fault
        };
        match fault {
            None => self.engine.commit(writes),
            Some(Fault::DiskFull) => Err(io_error(std::io::ErrorKind::StorageFull.into())),
            Some(Fault::AfterWriting) => {
                self.engine.commit(writes)?;
                Err(io_error(std::io::Error::other("input/output error")))
            }
            Some(Fault::Panic) => panic!("the engine lost its footing"),
        }
    }
}
