//! The library of `tests/faults`, as it is put before a process: what it is told, and where it lies.

use std::ffi::OsString;
use std::path::Path;

use cofferdam_tests::artifacts::{built, target_dir};

/// A variable of the process that is to be started.
pub(crate) type Variable = (&'static str, OsString);

/// The library looks at this folder.
fn preloaded(folder: &Path) -> Vec<Variable> {
    let library = built(target_dir().join("debug/libcofferdam_faults.so"));
    vec![("LD_PRELOAD", library.into()), ("COFFERDAM_FAULTS_DIR", folder.into())]
}

/// Everything that is done in the folder is recorded there.
pub(crate) fn recording(folder: &Path, journal: &Path) -> Vec<Variable> {
    let mut variables = preloaded(folder);
    variables.push(("COFFERDAM_FAULTS_JOURNAL", journal.into()));
    variables
}

/// What fails in the folder, from the `from`th operation of its kind that meets it; while `when` is there, if that is said.
pub(crate) fn failing(folder: &Path, fault: &str, from: u64, when: Option<&Path>) -> Vec<Variable> {
    let mut variables = preloaded(folder);
    variables.push(("COFFERDAM_FAULTS", fault.into()));
    variables.push(("COFFERDAM_FAULTS_FROM", from.to_string().into()));
    variables.extend(when.map(|when| ("COFFERDAM_FAULTS_WHEN", when.into())));
    variables
}
