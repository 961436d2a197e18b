//! What the environment asks for, read once.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::OnceLock;

use crate::fault::Rule;
use crate::raw;

/// The folder; absolute and without links, or nothing is found to lie in it.
const FOLDER: &str = "COFFERDAM_FAULTS_DIR";

/// Where to record.
const JOURNAL: &str = "COFFERDAM_FAULTS_JOURNAL";

/// What the process says through the journal it writes to a file of this name in the folder; there is no such file.
pub(crate) const MARKS: &[u8] = b".marks";

/// Said there, it kills the process: from outside, a kill can come between an operation and its record.
pub(crate) const DIE: &[u8] = b"die";

/// What to do with which files.
pub(crate) struct Settings {
    /// Without a slash at its end.
    pub(crate) folder: Vec<u8>,
    /// The journal, open for appending.
    pub(crate) journal: Option<c_int>,
    /// What fails.
    pub(crate) rule: Option<Rule>,
}

/// None when nothing is asked for.
pub(crate) fn settings() -> Option<&'static Settings> {
    static SETTINGS: OnceLock<Option<Settings>> = OnceLock::new();
    SETTINGS.get_or_init(read).as_ref()
}

fn read() -> Option<Settings> {
    let folder = std::env::var_os(FOLDER)?.into_vec();
    let journal = std::env::var_os(JOURNAL).map(|path| {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        let path = CString::new(path.into_vec()).unwrap_or_else(|_| raw::give_up("the journal's path is none"));
        match raw::openat(libc::AT_FDCWD, &path, flags, 0o600) {
            fd if fd < 0 => raw::give_up("the journal cannot be opened"),
            fd => fd,
        }
    });
    Some(Settings {
        folder,
        journal,
        rule: Rule::from_environment(),
    })
}
