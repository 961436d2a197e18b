//! Files that are no connectors, whatever they are named and however they begin: each is a problem with a reason, the server goes
//! on with the others, its neighbour is served meanwhile, and the memory that looking at them took is given back.

mod bombs;
mod damaged;
mod disguised;
mod liars;
mod odd;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use cofferdam_domain::limits::one_line;
use cofferdam_tests::frame;

use super::bed::Bed;
use super::extent::Extent;
use super::memory::mib;
use crate::table::Table;
use crate::tally::Tally;

/// One of them.
pub(crate) struct BadFile {
    pub(crate) name: OsString,
    pub(crate) made: Made,
    pub(crate) expected: Expected,
}

/// What lies under the name.
pub(crate) enum Made {
    Bytes(Vec<u8>),
    /// A file of so many bytes, all of them holes.
    Holes(u64),
    Link(PathBuf),
    Folder,
    /// A FIFO that nobody writes to.
    Pipe,
}

/// What the host must make of it.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// A problem whose reason says one of these.
    Refused(&'static [&'static str]),
    /// A problem, or a connector like any other: what is random may be harmless.
    Either,
}

/// Drops all of them into the folder of a running server.
pub(crate) async fn run(seed: u64, extent: Extent) -> anyhow::Result<(Tally, Vec<String>)> {
    let files = all(seed, extent)?;
    let bed = Bed::start(&[]).await?;
    let plugins = bed.server().setup().plugins();
    let quiet = bed.neighbour.mark();
    bed.neighbour.pass(ALONE).await;
    let (began, from) = (Instant::now(), bed.neighbour.mark());
    for file in &files {
        file.put(&plugins)
            .with_context(|| format!("{} cannot be made", shown(&file.name)))?;
    }
    let names = files.iter().map(BadFile::listed_as).collect();
    let found = bed.looked_at(&names).await?;
    let (took, to) = (began.elapsed(), bed.neighbour.mark());

    let mut table = Table::new(&["file", "came to"]);
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for file in &files {
        let reason = found.get(&file.listed_as()).and_then(Option::as_deref);
        let fault = file.judged(reason);
        tally.count(fault.is_none());
        let came_to = reason.map_or_else(|| "in use".to_owned(), |reason| one_line(reason, REASON_BYTES));
        table.row(vec![one_line(&shown(&file.name), NAME_BYTES), came_to]);
        failures.extend(fault.map(|fault| format!("{}: {fault}", shown(&file.name))));
    }
    table.print();
    let alone = bed.neighbour.heard(quiet..from).await;
    let heard = bed.neighbour.heard(from..to).await;
    let (bytes, not_back) = bed.baseline.back(bed.server()).await;
    println!(
        "{} files, looked at in {:.1} s; the neighbour's p99 meanwhile is {:.1} ms, {:.1} ms alone; {} MiB resident, {} before",
        files.len(),
        took.as_secs_f64(),
        heard.p99_ms(),
        alone.p99_ms(),
        mib(bytes),
        mib(bed.baseline.bytes())
    );
    let mut faults = bed.faults().await;
    faults.extend(heard.disturbed(&alone));
    faults.extend(not_back);
    faults.extend(alone.faults.into_iter().chain(heard.faults));
    tally.count(faults.is_empty());
    failures.extend(faults);
    bed.stop().await?;
    Ok((tally, failures))
}

/// The neighbour's events before the first file.
pub(crate) const ALONE: usize = 50;

/// Of a name and of a reason in the table.
const NAME_BYTES: usize = 40;
const REASON_BYTES: usize = 120;

fn all(seed: u64, extent: Extent) -> anyhow::Result<Vec<BadFile>> {
    let connector = frame::assembled(&frame::text("harmless", HARMLESS))?;
    let mut files = damaged::files(seed, extent, &connector);
    files.extend(disguised::files(&connector)?);
    files.extend(odd::files());
    files.extend(bombs::files(extent.files_that_take_long)?);
    files.extend(liars::files()?);
    Ok(files)
}

/// Does nothing, well.
pub(crate) const HARMLESS: &str =
    "(import \"libc\" \"memory\" (memory 1))\n(func (export \"deliver\") (param i32) (result i32) (i32.const 16))";

impl BadFile {
    fn new(name: impl Into<OsString>, made: Made, expected: Expected) -> Self {
        let mut name = name.into();
        name.push(".wasm");
        Self { name, made, expected }
    }

    fn refused(name: impl Into<OsString>, bytes: Vec<u8>, says: &'static [&'static str]) -> Self {
        Self::new(name, Made::Bytes(bytes), Expected::Refused(says))
    }

    fn put(&self, plugins: &Path) -> anyhow::Result<()> {
        // Made beside the folder and renamed into it, as a careful admin would.
        let made = tempfile::tempdir_in(plugins.parent().context("the folder has one above it")?)?;
        let path = made.path().join("made");
        match &self.made {
            Made::Bytes(bytes) => fs::write(&path, bytes)?,
            Made::Holes(bytes) => fs::File::create(&path)?.set_len(*bytes)?,
            Made::Link(to) => symlink(to, &path)?,
            Made::Folder => fs::create_dir(&path)?,
            Made::Pipe => {
                let made = Command::new("mkfifo").arg(&path).status()?;
                anyhow::ensure!(made.success(), "mkfifo ended with {made}");
            }
        }
        fs::rename(path, plugins.join(&self.name))?;
        Ok(())
    }

    /// As the server names it: what is not plain text is escaped.
    fn listed_as(&self) -> String {
        match self.name.to_str().filter(|name| !name.chars().any(char::is_control)) {
            Some(name) => name.to_owned(),
            None => shown(&self.name),
        }
    }

    /// What is wrong with its end: a reason, or none if it is in use.
    fn judged(&self, reason: Option<&str>) -> Option<String> {
        match (reason, self.expected) {
            (Some(reason), Expected::Refused(says)) => {
                let said = says.iter().any(|part| reason.contains(part));
                (!said).then(|| format!("is refused with {reason:?}, which says none of {says:?}"))
            }
            (None, Expected::Refused(_)) => Some("is in use".to_owned()),
            (Some(reason), Expected::Either) => reason.is_empty().then(|| "has no reason".to_owned()),
            (None, Expected::Either) => None,
        }
    }
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}
