//! Reading one file of the folder: without following a link, without waiting for a pipe, never more than may be, and only if
//! it is still what was looked at.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::folder::Stamp;

/// Why a file could not be read. It may end otherwise the next time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is not what was looked at; the next look takes it up as it is then.
    #[error("changed while it was read")]
    Changed,
    /// It has more than may be.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The file system's word.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Everything in it, which is at most so many bytes.
pub(super) fn bytes(path: &Path, stamp: Stamp, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let mut file = open(path, stamp)?.take(bytes_max + 1);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    unchanged(file.get_ref(), stamp)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLarge(bytes_max));
    }
    Ok(bytes)
}

fn open(path: &Path, stamp: Stamp) -> Result<File, ReadError> {
    // A link or a pipe that took the file's place since the look is met here.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    unchanged(&file, stamp)?;
    Ok(file)
}

fn unchanged(file: &File, stamp: Stamp) -> Result<(), ReadError> {
    if Stamp::of(&file.metadata()?) == stamp {
        Ok(())
    } else {
        Err(ReadError::Changed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_only_while_it_is_what_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, "bytes").unwrap();
        let stamp = Stamp::of(&fs::symlink_metadata(&path).unwrap());
        assert_eq!(bytes(&path, stamp, 5).unwrap(), b"bytes");
        assert!(matches!(bytes(&path, stamp, 4), Err(ReadError::TooLarge(4))));
        let other = dir.path().join("b");
        fs::write(&other, "other").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(matches!(bytes(&path, stamp, 5), Err(ReadError::Changed)));
    }

    #[test]
    fn a_link_or_a_pipe_that_took_its_place_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("a.wasm"), dir.path().join("target"));
        fs::write(&target, "bytes").unwrap();
        let stamp = Stamp::of(&fs::symlink_metadata(&target).unwrap());
        symlink(&target, &path).unwrap();
        assert!(matches!(bytes(&path, stamp, 5), Err(ReadError::Unreadable(_))));
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(matches!(bytes(&path, stamp, 5), Err(ReadError::Changed)));
    }
}
