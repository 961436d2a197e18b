//! The process as others see it: its memory holds secrets while it uses them, so a crash leaves none of it on a disk and nobody
//! but root reads it.
//!
//! Two settings, because each leaves a gap. The limit on core files is not looked at where the system hands a core to a
//! program (core(5)); that a process is not dumpable is, and it closes `/proc/PID/mem` and ptrace(2) to the same user as well.
//! What root does, and what is swapped or written by a hibernating machine, no process can prevent.

use std::io;

use anyhow::Context;

/// No core file from here on; the limit cannot be raised again, by children neither.
pub(super) fn forbid_core_dumps() -> anyhow::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is read from a valid place and nothing is written.
    #[expect(unsafe_code, reason = "the standard library does not set limits")]
    let done = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    checked(done).context("core dumps cannot be turned off; --core-dumps starts the server with them")
}

/// Not to be dumped, read or traced by its own user from here on (PR_SET_DUMPABLE of prctl(2)).
pub(super) fn close_memory() -> anyhow::Result<()> {
    let off: libc::c_ulong = 0;
    // SAFETY: this option takes one number and no address.
    #[expect(unsafe_code, reason = "the standard library does not set it")]
    let done = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, off, off, off, off) };
    checked(done)
        .context("the server's memory cannot be closed to its user; --core-dumps starts the server all the same")
}

/// What is as large as this comes from the system and goes back to it when it is freed. Left to itself glibc takes the first
/// large buffer for a sign of more to come, and keeps memory behind a burst of large bodies for good (mallopt(3)).
#[cfg(target_env = "gnu")]
pub(super) fn give_large_buffers_back() {
    const LARGE_BYTES: libc::c_int = 1024 * 1024;
    // SAFETY: the option takes a number and no address.
    #[expect(unsafe_code, reason = "the standard library does not set it")]
    let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    if set != 1 {
        tracing::warn!("the allocator cannot be told to give large buffers back; idle memory may stay high");
    }
}

/// Other allocators decide by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_large_buffers_back() {}

fn checked(done: libc::c_int) -> io::Result<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
