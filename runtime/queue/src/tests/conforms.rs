//! The store-backed queue passes the suite of all queues, over each engine.

use cofferdam_store::{Engine, OpenOptions, Store};
use tempfile::TempDir;

use super::*;
use crate::conformance::{Harness, SecondProcess};

async fn open_in(dir: &TempDir, engine: Engine, now: Timestamp) -> Result<StoreQueue, String> {
    let options = OpenOptions::new(dir.path()).engine(engine).cache_bytes(4 << 20);
    let store = Store::open(&options).map_err(|error| error.to_string())?;
    let queue = StoreQueue::open(store, now, rng()).await;
    queue.map_err(|error| error.to_string())
}

mod over_sled {
    use super::*;

    struct Place(TempDir);

    impl Harness for Place {
        type Queue = StoreQueue;

        const SECOND_PROCESS: Option<SecondProcess> = Some(SecondProcess::Refused);

        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        async fn open(&self, now: Timestamp) -> Result<StoreQueue, String> {
            open_in(&self.0, Engine::Sled, now).await
        }
    }

    crate::conformance_tests!(Place);
}

mod over_redb {
    use super::*;

    struct Place(TempDir);

    impl Harness for Place {
        type Queue = StoreQueue;

        const SECOND_PROCESS: Option<SecondProcess> = Some(SecondProcess::Refused);

        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        async fn open(&self, now: Timestamp) -> Result<StoreQueue, String> {
            open_in(&self.0, Engine::Redb, now).await
        }
    }

    crate::conformance_tests!(Place);
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
