//! The C library's symbols, each handed to what knows about it. One line each; those with `64` at their end are the same
//! functions on 64-bit machines.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};

use libc::{AT_FDCWD, iovec, mode_t, off_t, size_t, ssize_t};

use crate::fault::Ruling;
use crate::raw::{self, fail, int, kernel, size};
use crate::tracked::{copied, forget, tracked};
use crate::{file, names};

/// Defines C functions under their own names.
macro_rules! replace {
    ($(fn $($name:ident)|+ : $arguments:tt -> $answer:ty $body:block)*) => {
        $($(define! { $name $arguments $answer, $body })+)*
    };
}

macro_rules! define {
    ($name:ident ($($argument:ident : $type:ty),*) $answer:ty, $body:block) => {
        /// Stands for the C function of this name.
        ///
        /// # Safety
        /// That of the C function.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> $answer $body
    };
}

/// A C string of a caller.
fn text<'a>(path: *const c_char) -> &'a CStr {
    if path.is_null() {
        return c"";
    }
    // SAFETY: the caller of the C function vouches for its strings.
    unsafe { CStr::from_ptr(path) }
}

/// The parts of a vectored write of a caller.
fn parts<'a>(parts: *const iovec, count: c_int) -> &'a [iovec] {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 || parts.is_null() {
        return &[];
    }
    // SAFETY: the caller of the C function vouches for its buffers.
    unsafe { std::slice::from_raw_parts(parts, count) }
}

fn one(data: *const c_void, len: size_t) -> [iovec; 1] {
    [iovec {
        iov_base: data.cast_mut(),
        iov_len: len,
    }]
}

replace! {
    fn open | open64: (path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        names::open(AT_FDCWD, text(path), flags, mode)
    }

    fn openat | openat64: (dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        names::open(dir, text(path), flags, mode)
    }

    fn creat | creat64: (path: *const c_char, mode: mode_t) -> c_int {
        names::open(AT_FDCWD, text(path), libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode)
    }

    fn close: (fd: c_int) -> c_int {
        // Before the descriptor can be somebody else's.
        forget(fd);
        raw::close(fd)
    }

    fn dup: (fd: c_int) -> c_int {
        let copy = int(kernel!(SYS_dup, fd));
        copied(fd, copy);
        copy
    }

    fn dup2: (fd: c_int, copy: c_int) -> c_int {
        // Unlike dup3, this is no mistake, unless there is no such descriptor.
        if fd == copy {
            return if raw::status(fd).is_some() { fd } else { -1 };
        }
        let copy = int(kernel!(SYS_dup3, fd, copy, 0));
        copied(fd, copy);
        copy
    }

    fn dup3: (fd: c_int, copy: c_int, flags: c_int) -> c_int {
        let copy = int(kernel!(SYS_dup3, fd, copy, flags));
        copied(fd, copy);
        copy
    }

    fn fcntl | fcntl64: (fd: c_int, command: c_int, argument: c_ulong) -> c_int {
        let answer = int(kernel!(SYS_fcntl, fd, command, argument));
        if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
            copied(fd, answer);
        }
        answer
    }

    fn write: (fd: c_int, data: *const c_void, len: size_t) -> ssize_t {
        file::write(fd, &one(data, len), None)
    }

    fn pwrite | pwrite64: (fd: c_int, data: *const c_void, len: size_t, offset: off_t) -> ssize_t {
        file::write(fd, &one(data, len), Some(offset))
    }

    fn writev: (fd: c_int, list: *const iovec, count: c_int) -> ssize_t {
        file::write(fd, parts(list, count), None)
    }

    fn pwritev | pwritev64: (fd: c_int, list: *const iovec, count: c_int, offset: off_t) -> ssize_t {
        file::write(fd, parts(list, count), Some(offset))
    }

    fn pwritev2 | pwritev64v2: (fd: c_int, list: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t {
        if tracked(fd).is_none() {
            return size(kernel!(SYS_pwritev2, fd, list, count, offset, 0, flags));
        }
        file::write(fd, parts(list, count), (offset >= 0).then_some(offset))
    }

    fn ftruncate | ftruncate64: (fd: c_int, len: off_t) -> c_int {
        file::truncate(fd, len)
    }

    fn truncate | truncate64: (path: *const c_char, len: off_t) -> c_int {
        let fd = names::open(AT_FDCWD, text(path), libc::O_WRONLY | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return fd;
        }
        let answer = file::truncate(fd, len);
        forget(fd);
        raw::close(fd);
        answer
    }

    fn fallocate | fallocate64: (fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
        file::allocate(fd, mode, offset, len)
    }

    fn posix_fallocate | posix_fallocate64: (fd: c_int, offset: off_t, len: off_t) -> c_int {
        match file::allocate(fd, 0, offset, len) {
            0 => 0,
            // SAFETY: the address of this thread's errno is always good.
            _ => unsafe { *libc::__errno_location() },
        }
    }

    fn fsync: (fd: c_int) -> c_int {
        file::sync(fd, false)
    }

    fn fdatasync: (fd: c_int) -> c_int {
        file::sync(fd, true)
    }

    fn rename: (from: *const c_char, to: *const c_char) -> c_int {
        names::rename((AT_FDCWD, text(from)), (AT_FDCWD, text(to)), 0)
    }

    fn renameat: (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int {
        names::rename((from_dir, text(from)), (to_dir, text(to)), 0)
    }

    fn renameat2: (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int {
        names::rename((from_dir, text(from)), (to_dir, text(to)), flags)
    }

    fn unlink: (path: *const c_char) -> c_int {
        names::unlink(AT_FDCWD, text(path), 0)
    }

    fn unlinkat: (dir: c_int, path: *const c_char, flags: c_int) -> c_int {
        names::unlink(dir, text(path), flags)
    }

    fn remove: (path: *const c_char) -> c_int {
        match names::unlink(AT_FDCWD, text(path), 0) {
            0 => 0,
            _ => names::unlink(AT_FDCWD, text(path), libc::AT_REMOVEDIR),
        }
    }

    fn rmdir: (path: *const c_char) -> c_int {
        names::unlink(AT_FDCWD, text(path), libc::AT_REMOVEDIR)
    }

    fn mkdir: (path: *const c_char, mode: mode_t) -> c_int {
        names::mkdir(AT_FDCWD, text(path), mode)
    }

    fn mkdirat: (dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
        names::mkdir(dir, text(path), mode)
    }

    fn link: (from: *const c_char, to: *const c_char) -> c_int {
        names::note_link(AT_FDCWD, text(to));
        int(kernel!(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0))
    }

    fn linkat: (from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int) -> c_int {
        names::note_link(to_dir, text(to));
        int(kernel!(SYS_linkat, from_dir, from, to_dir, to, flags))
    }

    fn symlink: (target: *const c_char, path: *const c_char) -> c_int {
        names::note_link(AT_FDCWD, text(path));
        int(kernel!(SYS_symlinkat, target, AT_FDCWD, path))
    }

    fn chmod: (path: *const c_char, mode: mode_t) -> c_int {
        match names::alter(AT_FDCWD, text(path)) {
            Ruling::Fail(errno) => fail(errno),
            Ruling::Pass | Ruling::Half => int(kernel!(SYS_fchmodat, AT_FDCWD, path, mode)),
        }
    }

    fn mmap | mmap64: (address: *mut c_void, len: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void {
        file::note_mapping(fd, protection, flags);
        kernel!(SYS_mmap, address, len, protection, flags, fd, offset) as *mut c_void
    }

    fn copy_file_range: (from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, len: size_t, flags: c_uint) -> ssize_t {
        if tracked(to).is_some() {
            return fail(libc::ENOSYS) as ssize_t;
        }
        size(kernel!(SYS_copy_file_range, from, from_at, to, to_at, len, flags))
    }

    fn sendfile | sendfile64: (to: c_int, from: c_int, at: *mut off_t, len: size_t) -> ssize_t {
        if tracked(to).is_some() {
            return fail(libc::ENOSYS) as ssize_t;
        }
        size(kernel!(SYS_sendfile, to, from, at, len))
    }

    fn splice: (from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, len: size_t, flags: c_uint) -> ssize_t {
        if tracked(to).is_some() {
            return fail(libc::ENOSYS) as ssize_t;
        }
        size(kernel!(SYS_splice, from, from_at, to, to_at, len, flags))
    }
}
