//! The file with the first token: whole or not at all, and never in anybody else's hands.
//!
//! It is written beside its place, as a new file that only this user can read, and then renamed. So whatever stood there
//! before, a link to elsewhere or a file that others can read, is replaced and not written into.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Its name in the data folder.
pub(super) const NAME: &str = "admin.token";

/// What a crash may leave half-written. It has never been a token that the server knows.
const DRAFT: &str = "admin.token.draft";

/// Writes the file; durable when this returns.
pub(super) fn write(dir: &Path, token: &str) -> io::Result<()> {
    let draft = dir.join(DRAFT);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(draft, dir.join(NAME))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    /// Writes into a folder that `prepare` has put something into; the file must be a new one, whatever that was.
    fn check(prepare: impl FnOnce(&Path, &Path)) {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere: PathBuf = dir.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        prepare(dir.path(), &elsewhere);
        write(dir.path(), "t0ken").unwrap();
        let path = dir.path().join(NAME);
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "t0ken\n");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
        assert!(!dir.path().join(DRAFT).exists());
    }

    #[test]
    fn the_file_is_new_and_private_whatever_stood_in_its_place() {
        check(|_, _| {});
        for name in [NAME, DRAFT] {
            check(|dir, elsewhere| symlink(elsewhere, dir.join(name)).unwrap());
            check(|dir, elsewhere| fs::hard_link(elsewhere, dir.join(name)).unwrap());
            check(|dir, _| {
                fs::write(dir.join(name), "an older and much longer text that others can read").unwrap();
                fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o666)).unwrap();
            });
        }
    }

    #[test]
    fn who_reads_the_former_file_does_not_see_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "former").unwrap();
        let mut opened_before = File::open(&path).unwrap();
        write(dir.path(), "t0ken").unwrap();
        assert_eq!(io::read_to_string(&mut opened_before).unwrap(), "former");
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error() {
        for name in [NAME, DRAFT] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join(name)).unwrap();
            assert!(write(dir.path(), "t0ken").is_err(), "{name}");
        }
    }
}
