//! Which descriptors belong to files under the folder, and to which.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::raw;

/// Descriptors above this are not looked at; a tracked one there ends the process.
const DESCRIPTORS_MAX: usize = 65_536;

const NONE: u64 = 0;
const MARKS: u64 = 1;

/// Inodes are kept one higher than they are, beside the two words above.
const FIRST: u64 = 2;

static DESCRIPTORS: [AtomicU64; DESCRIPTORS_MAX] = [const { AtomicU64::new(NONE) }; DESCRIPTORS_MAX];

/// What a tracked descriptor is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// A file or folder, by inode.
    File(u64),
    /// The way into the journal.
    Marks,
}

/// What this descriptor is; none if it is nobody's business here.
pub(crate) fn tracked(fd: c_int) -> Option<Tracked> {
    match slot(fd)?.load(Ordering::SeqCst) {
        NONE => None,
        MARKS => Some(Tracked::Marks),
        file => {
            let what = Tracked::File(file - FIRST);
            // `closedir` and raw calls close unseen, and the number is somebody else's then.
            let is_it = |status: &libc::stat| {
                let kind = status.st_mode & libc::S_IFMT;
                status.st_ino == file - FIRST && (kind == libc::S_IFREG || kind == libc::S_IFDIR)
            };
            raw::status(fd).as_ref().is_some_and(is_it).then_some(what)
        }
    }
}

/// From now on this descriptor is that.
pub(crate) fn track(fd: c_int, what: Tracked) {
    let Some(slot) = slot(fd) else {
        raw::give_up("a descriptor is too high to be tracked");
    };
    let value = match what {
        Tracked::Marks => MARKS,
        Tracked::File(inode) => inode + FIRST,
    };
    slot.store(value, Ordering::SeqCst);
}

/// From now on this descriptor is nothing.
pub(crate) fn forget(fd: c_int) {
    if let Some(slot) = slot(fd) {
        slot.store(NONE, Ordering::SeqCst);
    }
}

/// `copy` is what `fd` is.
pub(crate) fn copied(fd: c_int, copy: c_int) {
    if copy < 0 {
        return;
    }
    match tracked(fd) {
        Some(what) => track(copy, what),
        None => forget(copy),
    }
}

fn slot(fd: c_int) -> Option<&'static AtomicU64> {
    DESCRIPTORS.get(usize::try_from(fd).ok()?)
}
