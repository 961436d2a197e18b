//! A copy of an engine's files, for what may not touch the files themselves: opening a damaged store changes it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::space::free_bytes;
use crate::tool::{Progress, Step, ToolError};

/// Bytes copied between two reports.
const PIECE_BYTES: u64 = 16 * 1024 * 1024;

/// Copies the files of `from` to the new directory `to`, closed to all other users. Where the file system can clone files, that
/// takes no room and no time.
pub(crate) fn copy_files(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), ToolError> {
    let failed = |source| ToolError::Copy {
        dir: to.to_owned(),
        source,
    };
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut done = 0;
    copy_folder(from, to, &mut |file, copy| {
        let need = file.metadata().map_err(failed)?.len();
        if rustix::fs::ioctl_ficlone(&copy, &file).is_err() {
            let free = free_bytes(to).map_err(failed)?;
            if need > free {
                return Err(ToolError::NoRoom {
                    dir: to.to_owned(),
                    need,
                    free,
                });
            }
            let (mut file, mut copy) = (file, copy);
            loop {
                let piece = io::copy(&mut io::Read::take(&mut file, PIECE_BYTES), &mut copy).map_err(failed)?;
                done += piece;
                progress(Progress {
                    step: Step::Copying,
                    done,
                });
                if piece < PIECE_BYTES {
                    break;
                }
            }
        }
        Ok(())
    })
}

/// The bytes that the files of a folder take on disk, as far as they can be asked for.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            // `blocks` counts 512 bytes each, whatever the file system's own are: stat(2).
            Ok(metadata) => metadata.blocks().saturating_mul(512),
            Err(_) => 0,
        })
        .sum()
}

/// An engine keeps files, and folders of files; nothing else is followed.
fn copy_folder(
    from: &Path,
    to: &Path,
    copy: &mut dyn FnMut(File, File) -> Result<(), ToolError>,
) -> Result<(), ToolError> {
    let failed = |source| ToolError::Copy {
        dir: to.to_owned(),
        source,
    };
    DirBuilder::new().mode(0o700).create(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, target) = (entry.file_type().map_err(failed)?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target, copy)?;
        } else if kind.is_file() {
            let source = File::open(entry.path()).map_err(failed)?;
            let target = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(target)
                .map_err(failed)?;
            copy(source, target)?;
        }
    }
    Ok(())
}
