//! What fails, and when. `$COFFERDAM_FAULTS` is one of
//!
//! - `no-space`: writes and creations answer `ENOSPC`; the first write is cut short before that, as on a disk that fills;
//! - `io-error`: writes answer `EIO`;
//! - `read-only`: whatever would change anything answers `EROFS`;
//! - `sync-fails-once`: one fsync answers `EIO`, those after it succeed, as Linux does when it has dropped the pages;
//! - `slow-sync`: each fsync takes 200 ms more.
//!
//! `$COFFERDAM_FAULTS_WHEN`, if set, names a file: nothing fails while it is not there. `$COFFERDAM_FAULTS_FROM` lets that
//! many operations of the kind pass before.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::raw;

const SLOW_SYNC: Duration = Duration::from_millis(200);

/// What an operation is to a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes a file's content or length.
    Write,
    /// Makes a name.
    Create,
    /// Changes or takes away a name, or a mode.
    Alter,
    /// Opens an existing file for writing.
    OpenForWriting,
    /// Makes durable.
    Sync,
}

/// What becomes of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// As ever.
    Pass,
    /// It answers this.
    Fail(c_int),
    /// Only the first half is written.
    Half,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoSpace,
    IoError,
    ReadOnly,
    SyncFailsOnce,
    SlowSync,
}

/// One fault and its conditions.
pub(crate) struct Rule {
    fault: Fault,
    when: Option<CString>,
    from: u64,
    seen: AtomicU64,
    struck: AtomicBool,
}

impl Rule {
    pub(crate) fn from_environment() -> Option<Self> {
        let fault = match std::env::var("COFFERDAM_FAULTS").ok()?.as_str() {
            "no-space" => Fault::NoSpace,
            "io-error" => Fault::IoError,
            "read-only" => Fault::ReadOnly,
            "sync-fails-once" => Fault::SyncFailsOnce,
            "slow-sync" => Fault::SlowSync,
            _ => raw::give_up("COFFERDAM_FAULTS names no fault"),
        };
        let when = std::env::var_os("COFFERDAM_FAULTS_WHEN").map(|path| match CString::new(path.into_vec()) {
            Ok(path) => path,
            Err(_) => raw::give_up("COFFERDAM_FAULTS_WHEN is no path"),
        });
        let from = std::env::var("COFFERDAM_FAULTS_FROM").map(|text| match text.parse() {
            Ok(from) => from,
            Err(_) => raw::give_up("COFFERDAM_FAULTS_FROM is no number"),
        });
        Some(Self {
            fault,
            when,
            from: from.unwrap_or(0),
            seen: AtomicU64::new(0),
            struck: AtomicBool::new(false),
        })
    }

    /// Waits, if it is that kind of fault, and says what becomes of the operation.
    pub(crate) fn rule(&self, kind: Kind) -> Ruling {
        let concerned = match self.fault {
            Fault::NoSpace => matches!(kind, Kind::Write | Kind::Create),
            Fault::IoError => kind == Kind::Write,
            Fault::ReadOnly => kind != Kind::Sync,
            Fault::SyncFailsOnce | Fault::SlowSync => kind == Kind::Sync,
        };
        let awake = || self.when.as_ref().is_none_or(|when| raw::status_at(when).is_some());
        if !concerned || !awake() || self.seen.fetch_add(1, Ordering::SeqCst) < self.from {
            return Ruling::Pass;
        }
        let first = !self.struck.swap(true, Ordering::SeqCst);
        match self.fault {
            Fault::NoSpace if first && kind == Kind::Write => Ruling::Half,
            Fault::NoSpace => Ruling::Fail(libc::ENOSPC),
            Fault::IoError => Ruling::Fail(libc::EIO),
            Fault::ReadOnly => Ruling::Fail(libc::EROFS),
            Fault::SyncFailsOnce if first => Ruling::Fail(libc::EIO),
            Fault::SyncFailsOnce => Ruling::Pass,
            Fault::SlowSync => {
                std::thread::sleep(SLOW_SYNC);
                Ruling::Pass
            }
        }
    }
}
