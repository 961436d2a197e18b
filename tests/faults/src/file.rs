//! What is done to files that are open: write, truncate, fsync.

use std::ffi::c_int;

use libc::{iovec, off_t, ssize_t};

use crate::fault::{Kind, Ruling};
use crate::format::Record;
use crate::journal::Journal;
use crate::raw::{self, fail, int, kernel};
use crate::settings::{self, settings};
use crate::tracked::{Tracked, tracked};

/// What becomes of an operation on a file under the folder.
pub(crate) fn ruling(kind: Kind) -> Ruling {
    settings()
        .and_then(|settings| settings.rule.as_ref())
        .map_or(Ruling::Pass, |rule| rule.rule(kind))
}

/// Writes at an offset, or where the descriptor stands.
pub(crate) fn write(fd: c_int, parts: &[iovec], offset: Option<off_t>) -> ssize_t {
    let Some(what) = tracked(fd) else {
        return pass(fd, parts, offset);
    };
    let file = match what {
        Tracked::File(file) => file,
        Tracked::Marks => return mark(parts),
    };
    match ruling(Kind::Write) {
        Ruling::Pass => {}
        Ruling::Fail(errno) => return fail(errno) as ssize_t,
        Ruling::Half => {
            let mut half = parts[..parts.len().min(1)].to_vec();
            half.iter_mut().for_each(|part| part.iov_len /= 2);
            // A write of nothing would look like success without end to `write_all`.
            return match half.first() {
                Some(part) if part.iov_len > 0 => pass(fd, &half, offset),
                _ => fail(libc::ENOSPC) as ssize_t,
            };
        }
    }
    let Some(journal) = Journal::lock() else {
        return pass(fd, parts, offset);
    };
    let at = match offset {
        Some(offset) => u64::try_from(offset).unwrap_or(0),
        None => raw::position(fd),
    };
    let written = pass(fd, parts, offset);
    if let Ok(len @ 1..) = usize::try_from(written) {
        let mut data = gather(parts);
        data.truncate(len);
        journal.append(&Record::Write { file, offset: at, data });
    }
    written
}

fn pass(fd: c_int, parts: &[iovec], offset: Option<off_t>) -> ssize_t {
    match offset {
        Some(offset) => raw::pwritev(fd, parts, offset),
        None => raw::writev(fd, parts),
    }
}

fn mark(parts: &[iovec]) -> ssize_t {
    let data = gather(parts);
    let len = data.len();
    if let Some(journal) = Journal::lock() {
        if data == settings::DIE {
            // Under the lock nothing is done and not yet recorded.
            kernel!(SYS_kill, std::process::id(), libc::SIGKILL);
        }
        journal.append(&Record::Mark { data });
    }
    ssize_t::try_from(len).unwrap_or(ssize_t::MAX)
}

fn gather(parts: &[iovec]) -> Vec<u8> {
    let mut data = Vec::new();
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        // SAFETY: the caller of write vouches for its buffers.
        data.extend(unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len) });
    }
    data
}

pub(crate) fn truncate(fd: c_int, len: off_t) -> c_int {
    let Some(Tracked::File(file)) = tracked(fd) else {
        return int(kernel!(SYS_ftruncate, fd, len));
    };
    if let Ruling::Fail(errno) = ruling(Kind::Write) {
        return fail(errno);
    }
    let journal = Journal::lock();
    let answer = int(kernel!(SYS_ftruncate, fd, len));
    if let (0, Some(journal)) = (answer, &journal) {
        let len = u64::try_from(len).unwrap_or(0);
        journal.append(&Record::Truncate { file, len });
    }
    answer
}

/// Space that is only set aside changes nothing; a file that becomes longer is one that was lengthened.
pub(crate) fn allocate(fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
    let Some(Tracked::File(file)) = tracked(fd) else {
        return int(kernel!(SYS_fallocate, fd, mode, offset, len));
    };
    if let Ruling::Fail(errno) = ruling(Kind::Write) {
        return fail(errno);
    }
    let journal = Journal::lock();
    let before = raw::status(fd).map_or(0, |status| status.st_size);
    let answer = int(kernel!(SYS_fallocate, fd, mode, offset, len));
    if let (0, Some(journal)) = (answer, &journal) {
        match mode {
            0 if offset + len > before => journal.append(&Record::Truncate {
                file,
                len: u64::try_from(offset + len).unwrap_or(0),
            }),
            0 | libc::FALLOC_FL_KEEP_SIZE => {}
            _ => journal.unsupported("fallocate with holes"),
        }
    }
    answer
}

/// Beginning and end are recorded apart, and nobody is kept from writing in between.
pub(crate) fn sync(fd: c_int, data_only: bool) -> c_int {
    let raw = || {
        int(if data_only {
            kernel!(SYS_fdatasync, fd)
        } else {
            kernel!(SYS_fsync, fd)
        })
    };
    let Some(Tracked::File(file)) = tracked(fd) else {
        return raw();
    };
    if let Ruling::Fail(errno) = ruling(Kind::Sync) {
        return fail(errno);
    }
    let token = Journal::lock().map(|mut journal| {
        let token = journal.token();
        journal.append(&Record::SyncBegin { file, token });
        token
    });
    let answer = raw();
    if let (0, Some(token)) = (answer, token)
        && let Some(journal) = Journal::lock()
    {
        journal.append(&Record::SyncEnd { token });
    }
    answer
}

/// What a mapping of a file could do that nobody would see.
pub(crate) fn note_mapping(fd: c_int, protection: c_int, flags: c_int) {
    let shared = flags & libc::MAP_SHARED != 0 && protection & libc::PROT_WRITE != 0;
    if shared
        && tracked(fd).is_some()
        && let Some(journal) = Journal::lock()
    {
        journal.unsupported("a shared writable mapping");
    }
}
