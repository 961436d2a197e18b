//! Paths as the journal names them: from the folder, without detours.

use std::ffi::{CStr, CString, c_int};

use crate::raw;

/// Longest path that is looked at, in bytes: what Linux takes.
const PATH_BYTES_MAX: usize = 4096;

/// The path below `folder` that this is; none if it is elsewhere. The folder itself is the empty path.
pub(crate) fn below(folder: &[u8], dir: c_int, path: &CStr) -> Option<Vec<u8>> {
    let absolute = absolute(dir, path.to_bytes())?;
    let rest = absolute.strip_prefix(folder)?;
    match rest.split_first() {
        None => Some(Vec::new()),
        Some((b'/', rest)) => Some(rest.to_vec()),
        Some(_) => None,
    }
}

/// Nobody makes links in the folder, so `..` can be taken back by name.
fn absolute(dir: c_int, path: &[u8]) -> Option<Vec<u8>> {
    let mut whole = if path.starts_with(b"/") {
        Vec::new()
    } else if dir == libc::AT_FDCWD {
        raw::read_link(c"/proc/self/cwd")?
    } else {
        raw::read_link(&CString::new(format!("/proc/self/fd/{dir}")).ok()?)?
    };
    whole.push(b'/');
    whole.extend(path);
    if whole.len() > PATH_BYTES_MAX {
        return None;
    }
    let mut clean: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    let mut joined = Vec::with_capacity(whole.len());
    for part in clean {
        joined.push(b'/');
        joined.extend(part);
    }
    Some(joined)
}
