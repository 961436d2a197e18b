//! The store's folder, and small files beside the engine's.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes a folder for this user alone, and the missing ones above it. Its own name is durable when this returns, and that
/// of each one that was made here: a power loss would otherwise take the folder with everything in it, fsynced or not.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let missing = dir
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .count();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // The one itself even if it was there: whoever made it may have stopped before this.
    for made in dir.ancestors().take(missing.max(1)) {
        let above = match made.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => continue,
        };
        match File::open(above) {
            Ok(above) => above.sync_all()?,
            // Who may not read it has not made anything in it just now.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a file whole, or leaves the one that is there, whatever happens meanwhile; durable when this returns.
pub(crate) fn replace_file(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.draft"));
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(draft, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Removes a file; durable when this returns.
pub(crate) fn remove_file(dir: &Path, name: &str) -> io::Result<()> {
    fs::remove_file(dir.join(name))?;
    File::open(dir)?.sync_all()
}
