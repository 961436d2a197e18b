//! The kernel itself, without the C library's functions of the same names: those are the ones replaced here.

use std::ffi::{CStr, c_int, c_long};

use libc::{iovec, mode_t, off_t, ssize_t};

/// As the kernel answers: -1 and errno, or the result.
macro_rules! kernel {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the arguments are those of the C function that the caller stands for, and it vouches for them.
        unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}
pub(crate) use kernel;

/// What a system call answers where C says `int`.
pub(crate) fn int(answer: c_long) -> c_int {
    c_int::try_from(answer).unwrap_or(-1)
}

/// What a system call answers where C says `ssize_t`.
pub(crate) fn size(answer: c_long) -> ssize_t {
    ssize_t::try_from(answer).unwrap_or(-1)
}

/// Answers an error as the C library does.
pub(crate) fn fail(errno: c_int) -> c_int {
    // SAFETY: the address of this thread's errno is always good.
    unsafe { *libc::__errno_location() = errno };
    -1
}

pub(crate) fn openat(dir: c_int, path: &CStr, flags: c_int, mode: mode_t) -> c_int {
    int(kernel!(SYS_openat, dir, path.as_ptr(), flags, mode))
}

pub(crate) fn close(fd: c_int) -> c_int {
    int(kernel!(SYS_close, fd))
}

pub(crate) fn writev(fd: c_int, parts: &[iovec]) -> ssize_t {
    size(kernel!(SYS_writev, fd, parts.as_ptr(), parts.len()))
}

/// The kernel takes the offset in two halves; on 64-bit machines the second counts for nothing.
pub(crate) fn pwritev(fd: c_int, parts: &[iovec], offset: off_t) -> ssize_t {
    size(kernel!(SYS_pwritev, fd, parts.as_ptr(), parts.len(), offset, 0))
}

/// Writes all of it where the descriptor stands.
pub(crate) fn write_all(fd: c_int, mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let written = kernel!(SYS_write, fd, data.as_ptr(), data.len());
        match usize::try_from(written) {
            Ok(0) | Err(_) => return false,
            Ok(written) => data = &data[written.min(data.len())..],
        }
    }
    true
}

/// Where the next plain write goes.
pub(crate) fn position(fd: c_int) -> u64 {
    let append = kernel!(SYS_fcntl, fd, libc::F_GETFL) & c_long::from(libc::O_APPEND) != 0;
    if append {
        return status(fd).map_or(0, |status| u64::try_from(status.st_size).unwrap_or(0));
    }
    u64::try_from(kernel!(SYS_lseek, fd, 0, libc::SEEK_CUR)).unwrap_or(0)
}

/// What a descriptor is.
pub(crate) fn status(fd: c_int) -> Option<libc::stat> {
    // SAFETY: all zeros is a stat.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    (kernel!(SYS_fstat, fd, &raw mut status) == 0).then_some(status)
}

/// What a path is, without following a link at its end.
pub(crate) fn status_at(path: &CStr) -> Option<libc::stat> {
    // SAFETY: all zeros is a stat.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    (kernel!(SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), &raw mut status, flags) == 0).then_some(status)
}

/// Where a link points, if that has at most 4 KiB.
pub(crate) fn read_link(path: &CStr) -> Option<Vec<u8>> {
    let mut target = vec![0u8; 4096];
    let len = kernel!(
        SYS_readlinkat,
        libc::AT_FDCWD,
        path.as_ptr(),
        target.as_mut_ptr(),
        target.len()
    );
    target.truncate(usize::try_from(len).ok()?);
    Some(target)
}

/// Says something on standard error and ends the process: going on would make the record a lie.
pub(crate) fn give_up(why: &str) -> ! {
    let line = format!("cofferdam-faults: {why}\n");
    write_all(2, line.as_bytes());
    std::process::abort();
}
