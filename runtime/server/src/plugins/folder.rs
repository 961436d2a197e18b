//! Looking at the plugins folder: which `.wasm` files there are, by what the file system says of them. It opens none.
//!
//! Whoever can write to the folder can fill it, and can put there what is no file: links, pipes, folders. Each is named with a
//! reason, and none is followed, opened or waited for. What was there before stays in sight however many more there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam_host::COMPONENT_BYTES_MAX;

use super::trust::SIGNATURE_SUFFIX;

/// Most `.wasm` files that are looked at.
pub(super) const FILES_MAX: usize = 1_000;

/// Most entries of the folder that are gone through in search of them.
const ENTRIES_MAX: usize = 20_000;

/// What a file, and what is signed of it, is told apart by from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) component: Stamp,
    /// Of the signature beside it; none if there is none, or nobody looks at it.
    pub(super) signature: Option<Stamp>,
}

/// One file at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// As `modified`; nobody can set it.
    changed: (i64, i64),
}

/// What there is under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// A file that may be opened.
    File(Stamps),
    /// Something else, and why it is not opened.
    Odd(String),
}

/// The folder at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// By the name of the file.
    pub(super) files: BTreeMap<String, Sight>,
    /// Why some of it is not looked at.
    pub(super) left_out: Option<String>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// How long ago it was written to, by its own word; none if that lies ahead.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let (seconds, nanoseconds) = self.modified;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        now.duration_since(UNIX_EPOCH.checked_add(since)?).ok()
    }
}

impl Stamps {
    /// How long ago any of it was written to, by its own word; none if that lies ahead.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        let component = self.component.age(now)?;
        match &self.signature {
            Some(signature) => Some(component.min(signature.age(now)?)),
            None => Some(component),
        }
    }
}

/// Whether the signatures beside files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signatures {
    LookedAt,
    Ignored,
}

/// Looks at the folder. `known` are the files that were there before: they are looked at in any case.
pub(super) fn list(dir: &Path, known: &BTreeSet<String>, signatures: Signatures) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut newcomers = BTreeSet::new();
    let mut entries = 0;
    for entry in fs::read_dir(dir)? {
        entries += 1;
        if entries > ENTRIES_MAX {
            listing.left_out = Some(format!(
                "holds more than {ENTRIES_MAX} entries; not all are looked at, so take away what is no connector"
            ));
            break;
        }
        let name = entry?.file_name();
        if Path::new(&name).extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        match name.to_str().filter(|name| !name.chars().any(char::is_control)) {
            Some(name) => {
                if !known.contains(name) {
                    newcomers.insert(name.to_owned());
                }
            }
            None => {
                let shown = name.to_string_lossy().escape_debug().to_string();
                let reason = "has a name that is not plain text; rename it".to_owned();
                if listing.files.len() < FILES_MAX {
                    listing.files.insert(shown, Sight::Odd(reason));
                }
            }
        }
    }
    for name in known {
        if let Some(sight) = look_at(dir, name, signatures) {
            listing.files.insert(name.clone(), sight);
        }
    }
    let room = FILES_MAX.saturating_sub(listing.files.len());
    let over = newcomers.len().saturating_sub(room);
    if over > 0 {
        let reason = format!("holds more than {FILES_MAX} .wasm files; {over} of them are not looked at");
        listing.left_out.get_or_insert(reason);
    }
    for name in newcomers.into_iter().take(room) {
        if let Some(sight) = look_at(dir, &name, signatures) {
            listing.files.insert(name, sight);
        }
    }
    Ok(listing)
}

/// None if there is nothing.
fn look_at(dir: &Path, name: &str, signatures: Signatures) -> Option<Sight> {
    let metadata = match fs::symlink_metadata(dir.join(name)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Sight::Odd(format!("cannot be looked at: {error}"))),
    };
    Some(match odd(metadata.file_type()) {
        Some(what) => Sight::Odd(format!("is {what}; put the file itself into the folder")),
        None if metadata.size() > COMPONENT_BYTES_MAX => {
            Sight::Odd(format!("is larger than {COMPONENT_BYTES_MAX} bytes"))
        }
        None => Sight::File(Stamps {
            component: Stamp::of(&metadata),
            signature: match signatures {
                // What is no file says so when it is read.
                Signatures::LookedAt => fs::symlink_metadata(dir.join(format!("{name}{SIGNATURE_SUFFIX}")))
                    .ok()
                    .map(|metadata| Stamp::of(&metadata)),
                Signatures::Ignored => None,
            },
        }),
    })
}

fn odd(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else {
        Some("a device or a socket")
    }
}

#[cfg(test)]
mod tests;
