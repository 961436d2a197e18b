//! `cofferdam compile-component`: what a server starts for each component that it has to compile, so that a component which
//! makes the compiler use up time or memory, or crash, costs this process and not the server.
//!
//! The process shuts itself in before it looks at the first byte: it keeps no file but the three that it was given, may use
//! so much processor time and memory and write so much, gets the processor behind everybody else, and ends with the
//! server. It reads a component and writes machine code; it opens nothing.

use std::io;

use anyhow::Context;
use cofferdam_host::compile_component;

/// Compile the component on standard input to machine code on standard output; for the server's own use
#[derive(Debug, clap::Args)]
pub(crate) struct CompileComponent {
    /// What the machine code must fit: the engine's compatibility hash
    engine: u64,

    /// Processor time, in seconds
    cpu_s: u64,

    /// Memory that may be written to, in bytes
    memory_bytes: u64,

    /// Machine code, in bytes
    native_bytes: u64,
}

impl CompileComponent {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.shut_in()
            .context("the compiler cannot be shut in; nothing was compiled")?;
        std::process::exit(compile_component(self.engine))
    }

    fn shut_in(&self) -> io::Result<()> {
        end_with_the_server()?;
        keep_three_files()?;
        limit(libc::RLIMIT_CORE, 0, 0)?;
        // At the first of the two comes SIGXCPU, which says what it is, and at the second SIGKILL.
        limit(libc::RLIMIT_CPU, self.cpu_s, self.cpu_s.saturating_add(1))?;
        limit(libc::RLIMIT_DATA, self.memory_bytes, self.memory_bytes)?;
        limit(libc::RLIMIT_FSIZE, self.native_bytes, self.native_bytes)?;
        give_way()
    }
}

/// SIGKILL when the thread that started this process ends, which is one of the server's executor: when the server ends
/// (prctl(2)). And no program that this one might start can gain a right by it.
fn end_with_the_server() -> io::Result<()> {
    let off: libc::c_ulong = 0;
    let on: libc::c_ulong = 1;
    let kill = libc::SIGKILL.unsigned_abs();
    #[expect(unsafe_code, reason = "the standard library does not set it")]
    // SAFETY: both options take numbers and no address.
    unsafe {
        checked(libc::prctl(
            libc::PR_SET_PDEATHSIG,
            libc::c_ulong::from(kill),
            off,
            off,
            off,
        ))?;
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, off, off, off))
    }
}

/// Closes whatever the server's own parent may have left open in it (close_range(2)).
fn keep_three_files() -> io::Result<()> {
    let (first, last, flags): (libc::c_uint, libc::c_uint, libc::c_int) = (3, libc::c_uint::MAX, 0);
    #[expect(unsafe_code, reason = "the standard library does not do it")]
    // SAFETY: this process has opened nothing yet that anything here would go on using.
    let done = unsafe { libc::close_range(first, last, flags) };
    checked(done)
}

/// The limit, and what it could be raised to.
fn limit(resource: libc::__rlimit_resource_t, now: u64, ever: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: now,
        rlim_max: ever,
    };
    #[expect(unsafe_code, reason = "the standard library does not set limits")]
    // SAFETY: the limit is read from a valid place and nothing is written.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    checked(done)
}

/// Runs this process, and every thread that it starts, behind the server: with a tenth of the weight, so that a server which is
/// busy all the time still comes to load what is new.
fn give_way() -> io::Result<()> {
    const NICENESS: libc::c_int = 10;
    #[expect(unsafe_code, reason = "the standard library does not set it")]
    // SAFETY: it takes numbers only; zero is this process.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    checked(done)
}

fn checked(done: libc::c_int) -> io::Result<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
