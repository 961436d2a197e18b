//! What every engine must do for the store to keep its promises, run against each engine.

mod atomicity;
mod damage;
mod large_values;
mod opening;
mod scans;

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::engine::sled::SledEngine;
use crate::engine::{Engine, RawRecord, Writes};
use crate::error::{EngineError, OpenError};
use crate::open::open_with;
use crate::scan::KeyRange;
use crate::{Batch, CommitError, Store};

const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Runs a test once for every engine.
fn each_engine(test: impl Fn(&dyn Fn(&Path) -> Result<Store, OpenError>, &Path)) {
    let sled = |dir: &Path| open_with(dir, |path| SledEngine::open(path, CACHE_BYTES));
    let dir = tempfile::tempdir().unwrap();
    test(&sled, dir.path());
}

fn put(store: &Store, key: &str, value: &[u8]) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(key, value);
    store.commit_blocking(batch)
}

/// How many writes an engine takes before it fails, and what each group was.
#[derive(Default)]
struct Script {
    fail_from: Option<usize>,
    groups: Vec<Vec<Vec<u8>>>,
}

/// sled, until the script says otherwise.
struct Scripted {
    engine: SledEngine,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    fn open(dir: &Path, script: &Arc<Mutex<Script>>) -> Store {
        let script = Arc::clone(script);
        open_with(dir, |path| {
            SledEngine::open(path, CACHE_BYTES).map(|engine| Self { engine, script })
        })
        .unwrap()
    }
}

impl Engine for Scripted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.get(key)
    }

    fn scan(&self, range: KeyRange, limit: usize, reverse: bool) -> Result<Vec<RawRecord>, EngineError> {
        self.engine.scan(range, limit, reverse)
    }

    fn apply(&self, writes: Writes) -> Result<(), EngineError> {
        let mut script = self.script.lock().unwrap();
        if script.fail_from.is_some_and(|from| script.groups.len() >= from) {
            return Err(Arc::from(Box::from("no space left on device")));
        }
        script.groups.push(writes.keys().cloned().collect());
        self.engine.apply(writes)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.engine.sync()
    }
}
