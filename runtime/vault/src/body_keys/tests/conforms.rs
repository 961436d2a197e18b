//! A queue that seals keeps every promise that one that does not keeps, over each engine.

use std::marker::PhantomData;

use cofferdam_queue::conformance::{Harness, SecondProcess};
use cofferdam_store::{Engine, OpenOptions};
use tempfile::TempDir;

use super::*;

/// A folder in which an engine keeps its files.
struct Place<E>(TempDir, PhantomData<E>);

/// Names an engine, where a type must.
trait Over: Send + Sync {
    const ENGINE: Engine;
}

struct Sled;

impl Over for Sled {
    const ENGINE: Engine = Engine::Sled;
}

struct Redb;

impl Over for Redb {
    const ENGINE: Engine = Engine::Redb;
}

impl<E: Over> Harness for Place<E> {
    type Queue = StoreQueue;

    const SECOND_PROCESS: Option<SecondProcess> = Some(SecondProcess::Refused);

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), PhantomData)
    }

    async fn open(&self, now: Timestamp) -> Result<StoreQueue, String> {
        let options = OpenOptions::new(self.0.path()).engine(E::ENGINE).cache_bytes(4 << 20);
        let store = Store::open(&options).map_err(|error| error.to_string())?;
        let bodies = Bodies::Sealed(Arc::new(body_keys(&store, "11")));
        let queue = StoreQueue::open_with(store, bodies, now, rng()).await;
        queue.map_err(|error| error.to_string())
    }
}

mod over_sled {
    cofferdam_queue::conformance_tests!(super::Place<super::Sled>);
}

mod over_redb {
    cofferdam_queue::conformance_tests!(super::Place<super::Redb>);
}
