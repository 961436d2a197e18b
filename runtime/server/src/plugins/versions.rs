//! The bytes of every version that is kept, by digest, in a folder that only the host can read. What is read from it is
//! hashed before it is used; a file is written beside and renamed, so there is a whole one or none.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cofferdam_domain::Digest;
use cofferdam_host::COMPONENT_BYTES_MAX;

/// The end of a file's name that is not finished.
const DRAFT: &str = "draft";

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    dir: PathBuf,
}

/// Why a version's bytes are not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    /// They are not what they were.
    #[error("its kept copy is damaged or gone; put its file into the plugins folder again")]
    Damaged,
    /// The file system's word.
    #[error("its kept copy cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Versions {
    /// Makes the folder if it is not there.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}.wasm"))
    }

    /// Keeps the bytes of this digest, durably. What is there already and whole stays.
    pub(super) fn keep(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        if self.read(digest).is_ok() {
            return Ok(());
        }
        let (path, draft) = (self.path(digest), self.dir.join(format!("{digest}.{DRAFT}")));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// The bytes, if they are what they were.
    pub(super) fn read(&self, digest: Digest) -> Result<Vec<u8>, KeptError> {
        let file = match File::open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeptError::Damaged),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(KeptError::Damaged)
        }
    }

    /// Removes everything but these.
    pub(super) fn keep_only(&self, digests: &BTreeSet<Digest>) -> io::Result<()> {
        let kept: BTreeSet<PathBuf> = digests.iter().map(|digest| self.path(*digest)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !kept.contains(&path) && is_ours(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the bytes of these.
    pub(super) fn remove(&self, digests: &[Digest]) {
        for digest in digests {
            // What is left is removed at the next start.
            if let Err(error) = fs::remove_file(self.path(*digest)) {
                tracing::debug!(%digest, %error, "a version that is no longer kept could not be removed");
            }
        }
    }
}

/// Nothing else is removed, if somebody should have put it there.
fn is_ours(path: &Path) -> bool {
    let is_digest = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .is_some_and(|stem| stem.parse::<Digest>().is_ok());
    is_digest && path.extension().is_some_and(|end| end == "wasm" || end == DRAFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_handed_back_only_if_they_are_what_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::open(dir.path().join("versions")).unwrap();
        let digest = Digest::of(b"one");
        assert!(matches!(versions.read(digest), Err(KeptError::Damaged)));
        versions.keep(digest, b"one").unwrap();
        assert_eq!(versions.read(digest).unwrap(), b"one");
        fs::write(versions.path(digest), b"two").unwrap();
        assert!(matches!(versions.read(digest), Err(KeptError::Damaged)));
        versions.keep(digest, b"one").unwrap();
        assert_eq!(versions.read(digest).unwrap(), b"one");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&versions.dir), mode(&versions.path(digest))), (0o700, 0o600));
    }

    #[test]
    fn only_what_is_ours_and_not_kept_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::open(dir.path().to_owned()).unwrap();
        let (kept, other, half) = (Digest::of(b"kept"), Digest::of(b"other"), Digest::of(b"half"));
        versions.keep(kept, b"kept").unwrap();
        versions.keep(other, b"other").unwrap();
        fs::write(dir.path().join(format!("{half}.draft")), "ha").unwrap();
        fs::write(dir.path().join("README"), "mine").unwrap();
        versions.keep_only(&BTreeSet::from([kept])).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = vec!["README".to_owned(), format!("{kept}.wasm")];
        expected.sort();
        assert_eq!(left, expected);
    }
}
