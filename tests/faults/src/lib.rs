//! Stands between a process and its disk (`LD_PRELOAD`), for the files under `$COFFERDAM_FAULTS_DIR`, in one of two modes:
//!
//! - **record** (`$COFFERDAM_FAULTS_JOURNAL` names a file outside of that folder): every operation that changes a file or a
//!   folder is done and appended to the journal with its data, in the order in which it was done; see [`format`]. An fsync
//!   has a beginning and an end there, since what is written meanwhile is not covered by it.
//! - **inject** (`$COFFERDAM_FAULTS` names a fault, see [`fault`]): operations fail, or take their time.
//!
//! In both, what the process writes to `.marks` in that folder, a file that is not there, goes into the journal as its own
//! words; `die` kills it.
//!
//! What is recorded: open (creation, truncation), write, pwrite, writev, pwritev, ftruncate, truncate, fallocate, rename,
//! unlink, mkdir, rmdir, fsync, fdatasync, through whichever descriptor, duplicates included.
//!
//! What is not: `sync_file_range`, `sync` and `syncfs`, deliberately: the first makes nothing durable that a power loss would
//! respect, the others are nobody's business here. Modes, owners and times. What cannot be told apart afterwards is written
//! down as unsupported, for the suite to fail on: shared writable mappings, links, punched holes, nameless files. A raw
//! system call and C's own `FILE` pass unseen; whoever uses the journal must hold its end against the folder.
//!
//! `copy_file_range`, `sendfile` and `splice` into these files answer `ENOSYS`, so that callers fall back to writing.
//!
//! Linux on 64-bit machines only. Variadic C functions (`open`, `fcntl`) are defined with their optional argument: on those
//! machines it is passed as any other.

#![expect(
    unsafe_code,
    reason = "C symbols are replaced, and the kernel is called in their place"
)]

mod fault;
mod file;
#[expect(dead_code, reason = "this side only writes it")]
mod format;
mod interpose;
mod journal;
mod names;
mod path;
mod raw;
mod settings;
mod tracked;
