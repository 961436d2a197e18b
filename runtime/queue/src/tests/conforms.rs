//! The store-backed queue passes the suite of all queues, over each engine.

use std::marker::PhantomData;

use cofferdam_store::{Engine, OpenOptions, Store};
use tempfile::TempDir;

use super::*;
use crate::conformance::{Harness, SecondProcess};

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
        let queue = StoreQueue::open(store, now, rng()).await;
        queue.map_err(|error| error.to_string())
    }
}

mod over_sled {
    crate::conformance_tests!(super::Place<super::Sled>);
}

mod over_redb {
    crate::conformance_tests!(super::Place<super::Redb>);
}

mod in_memory {
    use super::*;

    /// The store outlives each queue, as a disk does.
    struct Place(Store);

    impl Harness for Place {
        type Queue = StoreQueue;

        const SECOND_PROCESS: Option<SecondProcess> = None;

        fn new() -> Self {
            Self(Store::in_memory())
        }

        async fn open(&self, now: Timestamp) -> Result<StoreQueue, String> {
            let queue = StoreQueue::open(self.0.clone(), now, rng()).await;
            queue.map_err(|error| error.to_string())
        }
    }

    crate::conformance_tests!(Place);
}
