//! From a file to a connector. Files whose code is in the cache do not wait for those that have to be compiled, and a file that
//! waits for its turn holds no bytes: so neither many files nor a hostile one delays or fills anything but its own turn.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_domain::Digest;
use cofferdam_host::{Connector, Engine, LoadError};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::catalogue::Catalogue;
use super::file::{self, ReadError};
use super::folder::Stamp;

/// Files at once that are read, or loaded from the cache.
const QUICK_MAX: usize = 4;

/// Loads files of one folder.
pub(super) struct Loader {
    engine: Engine,
    dir: PathBuf,
    quick: Semaphore,
    slow: Semaphore,
}

/// What has become of a file.
pub(super) struct Loaded {
    pub(super) file: String,
    pub(super) stamp: Stamp,
    pub(super) made: Result<Arc<Connector>, LoadError>,
}

impl Loader {
    pub(super) fn new(engine: Engine, dir: &Path, compiles: u32) -> Self {
        Self {
            engine,
            dir: dir.to_owned(),
            quick: Semaphore::new(QUICK_MAX),
            slow: Semaphore::new(compiles.max(1) as usize),
        }
    }

    /// Loads one file. What is loaded already is not loaded again. Cancel-safe: a compiler that was started ends.
    pub(super) async fn load(self: Arc<Self>, file: String, stamp: Stamp, present: Arc<Catalogue>) -> Loaded {
        let made = self.made(self.dir.join(&file), stamp, &present).await;
        Loaded { file, stamp, made }
    }

    async fn made(&self, path: PathBuf, stamp: Stamp, present: &Catalogue) -> Result<Arc<Connector>, LoadError> {
        let digest = {
            let _turn = turn(&self.quick).await?;
            let to_hash = path.clone();
            let digest = blocking(move || file::digest(&to_hash, stamp)).await?;
            if let Some(loaded) = present.loaded(digest) {
                return Ok(loaded);
            }
            if self.engine.is_compiled(digest) {
                return self.connector(path, stamp, digest).await;
            }
            digest
        };
        let _turn = turn(&self.slow).await?;
        self.connector(path, stamp, digest).await
    }

    async fn connector(&self, path: PathBuf, stamp: Stamp, digest: Digest) -> Result<Arc<Connector>, LoadError> {
        let (bytes, read) = blocking(move || {
            let bytes = file::bytes(&path, stamp)?;
            let digest = Digest::of(&bytes);
            Ok((Arc::<[u8]>::from(bytes), digest))
        })
        .await?;
        if read != digest {
            return Err(not_now(&ReadError::Changed));
        }
        Connector::of_bytes(&self.engine, digest, bytes).await.map(Arc::new)
    }
}

async fn turn(turns: &Semaphore) -> Result<tokio::sync::SemaphorePermit<'_>, LoadError> {
    let turn = turns.acquire().await;
    turn.map_err(|_closed| LoadError::NotNow("the server is stopping".to_owned()))
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, LoadError> {
    match spawn_blocking(read).await {
        Ok(read) => read.map_err(|error| not_now(&error)),
        Err(_panicked) => Err(LoadError::NotNow("could not be read".to_owned())),
    }
}

fn not_now(error: &ReadError) -> LoadError {
    LoadError::NotNow(error.to_string())
}
