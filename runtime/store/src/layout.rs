//! What lies in a store's directory, and which of it is the store.
//!
//! - `lock` is held for as long as a store is open, or one of the tools works on it.
//! - `format` is written once the first store was durable. It names the engine and, where a rewrite has moved it, the folder:
//!   replacing this one file is how a rewritten store takes the place of the old one. It also says that there must be
//!   records, so that an engine that takes a damaged file for an empty one is found out.
//! - `watermark` is explained in [`crate::watermark`].
//! - `sled/` or `redb/` holds the engine's files. A folder of this kind that `format` does not name, and a folder with a
//!   copy for the tools, is what a crash in the middle of a rewrite or a check has left; the next opening removes it.
//!
//! The directory is closed to all other users at every opening.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::engine::{Engine, io_error, is_full};
use crate::error::OpenError;
use crate::files::{make_dir, replace_file};
use crate::watermark;

/// Stands in a directory while a salvage fills it: what is there is not all there will be.
pub(crate) const SALVAGE_FILE: &str = "salvage.unfinished";

/// Where a tool puts its copy of the engine's files.
pub(crate) const COPY_FOLDER: &str = "copy.draft";

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";

/// Which engine's folder is the store. A rewrite with the same engine goes to the other of its two folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) engine: Engine,
    folder: Folder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folder {
    First,
    Second,
}

impl Place {
    /// Where a new store goes.
    pub(crate) fn first(engine: Engine) -> Self {
        Self {
            engine,
            folder: Folder::First,
        }
    }

    /// Where a rewrite by this engine goes.
    pub(crate) fn beside(self, engine: Engine) -> Self {
        let folder = match self.folder {
            Folder::First if self.engine == engine => Folder::Second,
            Folder::First | Folder::Second => Folder::First,
        };
        Self { engine, folder }
    }

    /// The folder's name in the store's directory.
    pub(crate) fn folder(self) -> &'static str {
        match (self.engine, self.folder) {
            (Engine::Sled, Folder::First) => "sled",
            (Engine::Sled, Folder::Second) => "sled.b",
            (Engine::Redb, Folder::First) => "redb",
            (Engine::Redb, Folder::Second) => "redb.b",
        }
    }

    /// What the `format` file says: for people, and for a version that must refuse what it cannot read.
    fn text(self) -> String {
        let engine = match self.engine {
            Engine::Sled => "sled 0.34",
            Engine::Redb => "redb 4",
        };
        let folder = match self.folder {
            Folder::First => String::new(),
            Folder::Second => format!(", folder {}", self.folder()),
        };
        format!("cofferdam store, format 1, engine {engine}{folder}\n")
    }

    fn all() -> impl Iterator<Item = Self> {
        let both = [Folder::First, Folder::Second];
        Engine::ALL
            .into_iter()
            .flat_map(move |engine| both.into_iter().map(move |folder| Self { engine, folder }))
    }
}

/// A store's directory, locked by this process for as long as this lives.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is not there, and closes it to all other users.
    pub(crate) fn make(path: &Path) -> Result<Self, OpenError> {
        let failed = not_writable(path);
        make_dir(path).map_err(&failed)?;
        // One that was there may be open to others; behind a closed one, the modes of the files inside do not matter.
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(&failed)?;
        Self::locked(path)
    }

    /// A directory that must hold a store already.
    pub(crate) fn existing(path: &Path) -> Result<(Self, Place), OpenError> {
        if !path.join(FORMAT_FILE).exists() && !Place::all().any(|place| path.join(place.folder()).exists()) {
            return Err(OpenError::Missing { dir: path.to_owned() });
        }
        let directory = Self::locked(path)?;
        let place = match directory.place()? {
            Some(place) => place,
            // Only the first opening of a store that then never became durable leaves this.
            None => directory
                .unnamed()
                .ok_or_else(|| OpenError::Missing { dir: path.to_owned() })?,
        };
        Ok((directory, place))
    }

    /// As [`Directory::existing`], where the `format` file may be damaged too: then a folder with an engine's files is taken.
    pub(crate) fn damaged(path: &Path) -> Result<(Self, Place), OpenError> {
        match Self::existing(path) {
            Err(OpenError::Corrupt { dir, detail }) => {
                let directory = Self::locked(path)?;
                match directory.unnamed() {
                    Some(place) => Ok((directory, place)),
                    None => Err(OpenError::Corrupt { dir, detail }),
                }
            }
            found => found,
        }
    }

    fn locked(path: &Path) -> Result<Self, OpenError> {
        let failed = not_writable(path);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where `place` is.
    pub(crate) fn folder(&self, place: Place) -> PathBuf {
        self.path.join(place.folder())
    }

    /// What the `format` file names; none if no store was made durable here before.
    pub(crate) fn place(&self) -> Result<Option<Place>, OpenError> {
        if self.path.join(SALVAGE_FILE).exists() {
            return Err(OpenError::Corrupt {
                dir: self.path.clone(),
                detail: "a salvage into it has not ended; run it again, into an empty directory".to_owned(),
            });
        }
        match fs::read(self.path.join(FORMAT_FILE)) {
            Ok(found) => match Place::all().find(|place| place.text().as_bytes() == found) {
                Some(place) => Ok(Some(place)),
                None => Err(OpenError::Corrupt {
                    dir: self.path.clone(),
                    detail: "its format file is damaged or that of another version".to_owned(),
                }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.not_writable(source)),
        }
    }

    /// The store from now on; durable, and the one moment at which it changes, when this returns.
    pub(crate) fn name(&self, place: Place) -> Result<(), OpenError> {
        // The engine's folder first: a name that outlived it in a power loss would speak of records that are gone.
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .and_then(|()| replace_file(&self.path, FORMAT_FILE, place.text().as_bytes()))
            .map_err(|source| self.not_writable(source))
    }

    /// An engine's folder where no `format` file names one.
    pub(crate) fn unnamed(&self) -> Option<Place> {
        Place::all().find(|place| self.folder(*place).exists())
    }

    /// Removes what is no part of the store. What cannot be removed costs space and nothing else.
    pub(crate) fn remove_leftovers(&self, live: Place) {
        let others = Place::all().filter(|place| *place != live).map(Place::folder);
        for name in others.chain([COPY_FOLDER]) {
            match fs::remove_dir_all(self.path.join(name)) {
                Ok(()) => tracing::info!(
                    folder = name,
                    "what an interrupted rewrite or check had left was removed"
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(
                    folder = name,
                    error = &error as &dyn std::error::Error,
                    "what an interrupted rewrite or check has left cannot be removed"
                ),
            }
        }
    }

    pub(crate) fn not_writable(&self, source: io::Error) -> OpenError {
        not_writable(&self.path)(source)
    }
}

/// Whether this name in a store's directory is the store's own.
pub(crate) fn is_own(name: &OsStr) -> bool {
    let files = [FORMAT_FILE, LOCK_FILE, watermark::FILE, COPY_FOLDER];
    let folders = Place::all().map(Place::folder);
    files.into_iter().chain(folders).any(|own| name == own) || name.as_encoded_bytes().ends_with(b".draft")
}

/// What it means that a file of the directory cannot be made, read or written.
fn not_writable(dir: &Path) -> impl Fn(io::Error) -> OpenError {
    let dir = dir.to_owned();
    move |source| {
        let dir = dir.clone();
        if is_full(&source) {
            OpenError::Engine {
                dir,
                source: io_error(source),
            }
        } else {
            OpenError::NotWritable { dir, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_taken_for_a_folder_of_somebody_else() {
        let told = |kind: io::ErrorKind| not_writable(Path::new("data"))(kind.into()).to_string();
        assert!(told(io::ErrorKind::StorageFull).contains("free space"));
        assert!(told(io::ErrorKind::PermissionDenied).contains("belongs to this user"));
    }

    #[test]
    fn a_store_made_before_there_was_a_choice_is_named_as_it_was() {
        assert_eq!(
            Place::first(Engine::Sled).text(),
            "cofferdam store, format 1, engine sled 0.34\n"
        );
    }

    #[test]
    fn a_rewrite_never_goes_where_the_store_is_and_comes_back_the_next_time() {
        for place in Place::all() {
            for engine in Engine::ALL {
                let beside = place.beside(engine);
                assert_ne!(beside.folder(), place.folder());
                assert_eq!(beside.engine, engine);
            }
            assert_eq!(place.beside(place.engine).beside(place.engine), place);
        }
    }
}
