//! Appending to the journal, and the one lock that makes its order that of the operations.

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::format::Record;
use crate::raw;
use crate::settings::settings;

static LOCK: Mutex<State> = Mutex::new(State {
    began: false,
    tokens: 0,
});

struct State {
    began: bool,
    tokens: u64,
}

/// Whoever holds this does an operation and records it; nobody else's comes between.
pub(crate) struct Journal {
    fd: c_int,
    state: MutexGuard<'static, State>,
}

impl Journal {
    /// None unless this process records.
    pub(crate) fn lock() -> Option<Self> {
        let settings = settings()?;
        let mut journal = Self {
            fd: settings.journal?,
            state: LOCK.lock().unwrap_or_else(PoisonError::into_inner),
        };
        if !journal.state.began {
            journal.state.began = true;
            let folder = std::ffi::CString::new(settings.folder.clone()).ok();
            let Some(folder) = folder.and_then(|folder| raw::status_at(&folder)) else {
                raw::give_up("the folder is not there");
            };
            journal.append(&Record::Session { folder: folder.st_ino });
        }
        Some(journal)
    }

    pub(crate) fn append(&self, record: &Record) {
        if !raw::write_all(self.fd, &record.encode()) {
            raw::give_up("the journal cannot be written");
        }
    }

    pub(crate) fn unsupported(&self, what: &str) {
        self.append(&Record::Unsupported {
            what: what.as_bytes().to_vec(),
        });
    }

    /// Names one fsync. Processes that record into one journal after each other must not name two alike.
    pub(crate) fn token(&mut self) -> u64 {
        self.state.tokens += 1;
        (u64::from(std::process::id()) << 32) | self.state.tokens
    }
}
