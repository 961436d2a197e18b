//! What is done to names: open, make, move, take away.

use std::ffi::{CStr, CString, c_int};

use libc::mode_t;

use crate::fault::{Kind, Ruling};
use crate::file::ruling;
use crate::format::Record;
use crate::journal::Journal;
use crate::path::below;
use crate::raw::{self, fail, int, kernel};
use crate::settings::{MARKS, settings};
use crate::tracked::{Tracked, forget, track};

/// The path from the folder; none if it lies elsewhere.
fn ours(dir: c_int, path: &CStr) -> Option<Vec<u8>> {
    below(&settings()?.folder, dir, path)
}

/// The path from the root.
fn whole(path: &[u8]) -> CString {
    let folder = settings()
        .map(|settings| settings.folder.as_slice())
        .unwrap_or_default();
    CString::new([folder, b"/", path].concat()).unwrap_or_default()
}

pub(crate) fn open(dir: c_int, path: &CStr, flags: c_int, mode: mode_t) -> c_int {
    let Some(name) = ours(dir, path) else {
        return passed(raw::openat(dir, path, flags, mode));
    };
    if name == MARKS {
        let fd = raw::openat(libc::AT_FDCWD, c"/dev/null", libc::O_WRONLY | libc::O_CLOEXEC, 0);
        if fd >= 0 {
            track(fd, Tracked::Marks);
        }
        return fd;
    }
    let journal = Journal::lock();
    let existed = raw::status_at(&whole(&name)).is_some();
    let kind = if flags & libc::O_CREAT != 0 && !existed {
        Some(Kind::Create)
    } else {
        (flags & libc::O_ACCMODE != libc::O_RDONLY).then_some(Kind::OpenForWriting)
    };
    if let Some(Ruling::Fail(errno)) = kind.map(ruling) {
        return fail(errno);
    }
    let fd = raw::openat(dir, path, flags, mode);
    if fd < 0 {
        return fd;
    }
    let Some(status) = raw::status(fd) else {
        raw::give_up("an open file has no status");
    };
    let file = status.st_ino;
    track(fd, Tracked::File(file));
    if let Some(journal) = &journal {
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            journal.unsupported("a nameless file");
        } else if !existed {
            journal.append(&Record::Create { path: name, file });
        } else if flags & libc::O_TRUNC != 0 {
            journal.append(&Record::Truncate { file, len: 0 });
        }
    }
    fd
}

/// A descriptor may have been another's before, closed by a way that is not seen here.
fn passed(fd: c_int) -> c_int {
    if fd >= 0 {
        forget(fd);
    }
    fd
}

pub(crate) fn mkdir(dir: c_int, path: &CStr, mode: mode_t) -> c_int {
    let make = || int(kernel!(SYS_mkdirat, dir, path.as_ptr(), mode));
    let Some(name) = ours(dir, path) else {
        return make();
    };
    let whole = whole(&name);
    // A folder that is there is said to be there, whatever else is wrong.
    if raw::status_at(&whole).is_none()
        && let Ruling::Fail(errno) = ruling(Kind::Create)
    {
        return fail(errno);
    }
    let journal = Journal::lock();
    let answer = make();
    if let (0, Some(journal)) = (answer, &journal) {
        let Some(status) = raw::status_at(&whole) else {
            raw::give_up("a folder that was made is not there");
        };
        let folder = status.st_ino;
        journal.append(&Record::Mkdir { path: name, folder });
    }
    answer
}

pub(crate) fn unlink(dir: c_int, path: &CStr, flags: c_int) -> c_int {
    let remove = || int(kernel!(SYS_unlinkat, dir, path.as_ptr(), flags));
    let Some(name) = ours(dir, path) else {
        return remove();
    };
    if let Ruling::Fail(errno) = ruling(Kind::Alter) {
        return fail(errno);
    }
    let journal = Journal::lock();
    let answer = remove();
    if let (0, Some(journal)) = (answer, &journal) {
        journal.append(&Record::Unlink { path: name });
    }
    answer
}

pub(crate) fn rename(from: (c_int, &CStr), to: (c_int, &CStr), flags: u32) -> c_int {
    let ((from_dir, from), (to_dir, to)) = (from, to);
    let (old, new) = (ours(from_dir, from), ours(to_dir, to));
    let move_it = || {
        int(kernel!(
            SYS_renameat2,
            from_dir,
            from.as_ptr(),
            to_dir,
            to.as_ptr(),
            flags
        ))
    };
    if old.is_none() && new.is_none() {
        return move_it();
    }
    if let Ruling::Fail(errno) = ruling(Kind::Alter) {
        return fail(errno);
    }
    let journal = Journal::lock();
    let answer = move_it();
    if let (0, Some(journal)) = (answer, &journal) {
        match (old, new) {
            (Some(from), Some(to)) if flags & !libc::RENAME_NOREPLACE == 0 => {
                journal.append(&Record::Rename { from, to });
            }
            _ => journal.unsupported("a move across the folder's border, or an exchange"),
        }
    }
    answer
}

/// A second name of a file, or a symbolic one.
pub(crate) fn note_link(dir: c_int, path: &CStr) {
    if ours(dir, path).is_some()
        && let Some(journal) = Journal::lock()
    {
        journal.unsupported("a link");
    }
}

/// Modes are not recorded; they can still fail.
pub(crate) fn alter(dir: c_int, path: &CStr) -> Ruling {
    match ours(dir, path) {
        Some(_) => ruling(Kind::Alter),
        None => Ruling::Pass,
    }
}
