//! What is no regular file, and names that are hard to write down.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{BadFile, Expected, Made};

pub(super) fn files() -> Vec<BadFile> {
    let link: &[_] = &["is a symbolic link"];
    let no_text: &[_] = &["has a name that is not plain text"];
    let no_wasm: &[_] = &["is not WebAssembly"];
    vec![
        BadFile::new("folder", Made::Folder, Expected::Refused(&["is a folder"])),
        BadFile::new("pipe", Made::Pipe, Expected::Refused(&["is a pipe"])),
        BadFile::new("loop", Made::Link("loop.wasm".into()), Expected::Refused(link)),
        BadFile::new("dangling", Made::Link("not-there".into()), Expected::Refused(link)),
        BadFile::new("zeroes", Made::Link("/dev/zero".into()), Expected::Refused(link)),
        BadFile::new("nothing", Made::Link("/dev/null".into()), Expected::Refused(link)),
        named("line\nbreak", no_text),
        named("\u{1b}[31mred", no_text),
        named(OsString::from_vec(vec![0xff, 0xfe]), no_text),
        named("\u{202e}backwards", no_wasm),
        named("n".repeat(250), no_wasm),
    ]
}

/// A file of this name that would be a problem under any.
fn named(name: impl Into<OsString>, says: &'static [&'static str]) -> BadFile {
    BadFile::refused(name, b"no connector".to_vec(), says)
}
