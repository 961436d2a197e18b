//! From bytes to a connector. Files whose code is in the cache do not wait for those that have to be compiled, and what waits for
//! its turn holds no bytes: so neither many files nor a hostile one delays or fills anything but its own turn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::{COMPONENT_BYTES_MAX, Connector, Engine, LoadError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::catalogue::Catalogue;
use super::file::{self, ReadError};
use super::folder::Stamps;
use super::record::VersionRecord;
use super::trust::{SIGNATURE_BYTES_MAX, SIGNATURE_SUFFIX, Trust};
use super::versions::{KeptError, Versions};
use crate::disk::Disk;

/// Files at once that are read, or loaded from the cache.
const QUICK_MAX: usize = 4;

/// Loads files of one folder, and versions that are kept.
pub(super) struct Loader {
    engine: Engine,
    dir: PathBuf,
    versions: Versions,
    trust: Trust,
    quick: Semaphore,
    slow: Semaphore,
    disk: Arc<Disk>,
}

/// What loading takes.
pub(super) struct LoaderSettings<'a> {
    pub(super) engine: Engine,
    pub(super) dir: &'a Path,
    pub(super) versions: Versions,
    pub(super) trust: Trust,
    /// Files that are compiled at once.
    pub(super) compiles: u32,
    pub(super) disk: Arc<Disk>,
}

/// A file that is to be loaded.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) file: String,
    pub(super) stamps: Stamps,
    /// What it provides now.
    pub(super) provides: Option<ConnectorName>,
}

/// What has become of one.
pub(super) enum Made {
    /// It can be called.
    Ready(Ready),
    /// It has to be compiled, which takes long.
    ToCompile(Digest),
    /// It cannot be used.
    Not(LoadError),
}

/// A connector, and who has signed it.
pub(super) struct Ready {
    pub(super) connector: Arc<Connector>,
    pub(super) signature: Option<String>,
    pub(super) signer: Option<String>,
}

/// Bytes that were read and may be used.
struct Read {
    bytes: Arc<[u8]>,
    digest: Digest,
    signature: Option<String>,
    signer: Option<String>,
}

impl Loader {
    pub(super) fn new(settings: LoaderSettings<'_>) -> Self {
        Self {
            engine: settings.engine,
            dir: settings.dir.to_owned(),
            versions: settings.versions,
            trust: settings.trust,
            quick: Semaphore::new(QUICK_MAX),
            slow: Semaphore::new(settings.compiles.max(1) as usize),
            disk: settings.disk,
        }
    }

    /// What is kept.
    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Loads a file, unless it has to be compiled. What is loaded already is not loaded again.
    pub(super) async fn quickly(self: Arc<Self>, job: Job, present: Arc<Catalogue>) -> Made {
        self.quick_part(job, &present).await.unwrap_or_else(Made::Not)
    }

    async fn quick_part(self: &Arc<Self>, job: Job, present: &Catalogue) -> Result<Made, LoadError> {
        let _turn = turn(&self.quick).await?;
        let provides = job.provides.clone();
        let read = self.read(job).await?;
        if let Some(name) = provides {
            self.trust.pinned(&name, read.digest).map_err(LoadError::Unfit)?;
        }
        if let Some(connector) = present.loaded(read.digest) {
            return Ok(Made::Ready(Ready {
                connector,
                signature: read.signature,
                signer: read.signer,
            }));
        }
        if !self.engine.is_compiled(read.digest) {
            return Ok(Made::ToCompile(read.digest));
        }
        self.made(read).await.map(Made::Ready)
    }

    /// Loads a file of this digest that has to be compiled. Cancel-safe: a compiler that was started ends.
    pub(super) async fn slowly(self: Arc<Self>, job: Job, digest: Digest) -> Made {
        self.slow_part(job, digest).await.map_or_else(Made::Not, Made::Ready)
    }

    async fn slow_part(self: &Arc<Self>, job: Job, digest: Digest) -> Result<Ready, LoadError> {
        let _turn = turn(&self.slow).await?;
        let read = self.read(job).await?;
        if read.digest != digest {
            return Err(not_now(&ReadError::Changed));
        }
        self.made(read).await
    }

    /// Loads a version that is kept, by the same rules as a file.
    pub(super) async fn kept(
        self: Arc<Self>,
        name: ConnectorName,
        version: VersionRecord,
    ) -> Result<Arc<Connector>, LoadError> {
        let turns = if self.engine.is_compiled(version.digest) {
            &self.quick
        } else {
            &self.slow
        };
        let _turn = turn(turns).await?;
        let loader = Arc::clone(&self);
        let digest = version.digest;
        let read = spawn_blocking(move || {
            loader.trust.pinned(&name, digest).map_err(LoadError::Unfit)?;
            let bytes = loader.versions.read(digest).map_err(|error| not_kept(&error))?;
            let signer = loader.trust.signer(&bytes, version.signature.as_deref());
            signer.map_err(LoadError::Unfit)?;
            Ok(Arc::<[u8]>::from(bytes))
        });
        let bytes = read.await.unwrap_or_else(|_panicked| Err(broken()))?;
        Connector::of_bytes(&self.engine, digest, bytes).await.map(Arc::new)
    }

    /// Reads a file, and checks whose it is before anything looks into it.
    async fn read(self: &Arc<Self>, job: Job) -> Result<Read, LoadError> {
        let loader = Arc::clone(self);
        let read = spawn_blocking(move || {
            let path = loader.dir.join(&job.file);
            let bytes =
                file::bytes(&path, job.stamps.component, COMPONENT_BYTES_MAX).map_err(|error| not_now(&error))?;
            let signature = match job.stamps.signature {
                None => None,
                Some(stamp) => {
                    let beside = loader.dir.join(format!("{}{SIGNATURE_SUFFIX}", job.file));
                    let text = file::bytes(&beside, stamp, SIGNATURE_BYTES_MAX);
                    let text = text.map_err(|error| LoadError::NotNow(format!("has a signature that {error}")))?;
                    Some(String::from_utf8_lossy(&text).into_owned())
                }
            };
            let signer = loader
                .trust
                .signer(&bytes, signature.as_deref())
                .map_err(LoadError::Unfit)?;
            Ok(Read {
                digest: Digest::of(&bytes),
                bytes: bytes.into(),
                signature,
                signer,
            })
        });
        read.await.unwrap_or_else(|_panicked| Err(broken()))
    }

    /// Makes a connector of it, and keeps its bytes: before it runs anywhere it can be come back to.
    async fn made(self: &Arc<Self>, read: Read) -> Result<Ready, LoadError> {
        let Read {
            bytes,
            digest,
            signature,
            signer,
        } = read;
        let connector = Connector::of_bytes(&self.engine, digest, Arc::clone(&bytes)).await?;
        let name = &connector.descriptor.name;
        self.trust.pinned(name, digest).map_err(LoadError::Unfit)?;
        let (versions, disk) = (self.versions.clone(), Arc::clone(&self.disk));
        let kept = spawn_blocking(move || {
            // What is there already takes no more room.
            if disk.is_almost_full() && versions.read(digest).is_err() {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is almost full"));
            }
            versions.keep(digest, &bytes)
        });
        let kept = kept.await;
        match kept {
            Ok(Ok(())) => Ok(Ready {
                connector: Arc::new(connector),
                signature,
                signer,
            }),
            Ok(Err(error)) => Err(LoadError::NotNow(format!("cannot be kept in the data folder: {error}"))),
            Err(_panicked) => Err(broken()),
        }
    }
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, LoadError> {
    let turn = turns.acquire().await;
    turn.map_err(|_closed| LoadError::NotNow("the server is stopping".to_owned()))
}

fn not_now(error: &ReadError) -> LoadError {
    LoadError::NotNow(error.to_string())
}

fn not_kept(error: &KeptError) -> LoadError {
    match error {
        KeptError::Damaged => LoadError::Unfit(error.to_string()),
        KeptError::Unreadable(_) => LoadError::NotNow(error.to_string()),
    }
}

fn broken() -> LoadError {
    LoadError::NotNow("could not be read".to_owned())
}
