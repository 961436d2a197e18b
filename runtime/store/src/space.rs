//! How much room is left on the disk.

use std::io;
use std::path::Path;

/// Bytes that this user may still write on the file system of `dir`; what is kept for root does not count.
pub fn free_bytes(dir: impl AsRef<Path>) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir.as_ref())?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_there_is_a_directory_and_an_error_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(free_bytes(dir.path().join("none")).is_err());
    }
}
