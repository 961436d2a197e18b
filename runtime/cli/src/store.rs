//! `cofferdam store`: the data folder itself, while no server runs on it.

use std::panic;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Subcommand;
use cofferdam_store::{Checked, Compacted, Engine, Progress, Salvaged, Step, check, compact, salvage};
use serde::Serialize;

use crate::output::{self, Output};
use crate::paint::Paint;
use crate::render::{Table, printable};

/// How often long work says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// Check, salvage and compact a data folder, while no server runs on it
///
/// These commands work on the files of a data folder and ask no server. A folder that a server, or another of these commands,
/// has open is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
If a server says that its store is damaged:
  1. Keep a copy of the data folder as it is.
  2. If there is a backup, restore the whole folder from it.
  3. If there is none: cofferdam store check --data ./data
     and then:          cofferdam store salvage --data ./data --to ./data.new")]
pub(crate) struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read every record and say whether the store is sound, and what it holds
    ///
    /// It changes nothing: it works on a copy of the files inside the data folder, which is removed afterwards. That takes as
    /// much room as the store does, where the file system cannot clone files.
    #[command(after_help = "\
Examples:
  cofferdam store check --data ./data
  cofferdam store check --data ./data --json | jq '.keyspaces[0]'

Exit status: 0 the store is sound, 1 it is damaged, in use, or cannot be read.")]
    Check {
        #[command(flatten)]
        data: Data,
    },
    /// Take over what can still be read of a damaged store into a new data folder
    ///
    /// The damaged folder is not touched. What was kept and what was lost is told as far as it can be known. The new folder
    /// needs room for a copy of the old store and for the new one.
    #[command(after_help = "\
Examples:
  cofferdam store salvage --data ./data --to ./data.new
  cp -p ./data/vault.key ./data/admin.token ./data.new/
  cofferdam serve --data ./data.new --plugins ./connectors

Only the store is taken over. Other files of the data folder are named and not copied: the vault's key should not come to lie \
in one more place without somebody deciding so. Without vault.key no credential in the store can be read.

What was kept may be the past: deliveries that were settled after it may be delivered once more.")]
    Salvage {
        #[command(flatten)]
        data: Data,

        /// The new data folder: empty, or not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Rewrite the store: gives back space that deleted records hold, and can change the engine
    ///
    /// sled keeps the space that it once took, redb most of it. The new store is written beside the old one, read back and
    /// compared, and takes its place in one step, so that a crash at any moment leaves one of the two, whole. It needs room
    /// for both.
    #[command(after_help = "\
Examples:
  cofferdam store compact --data ./data
  cofferdam store compact --data ./data --engine redb     and set store.engine = \"redb\"")]
    Compact {
        #[command(flatten)]
        data: Data,

        /// The engine of the rewritten store, sled or redb; the same as now if it is not given
        #[arg(long, value_name = "NAME")]
        engine: Option<Engine>,
    },
}

/// Which data folder.
#[derive(Debug, clap::Args)]
struct Data {
    /// The data folder
    #[arg(long = "data", env = "COFFERDAM_DATA", value_name = "DIR", default_value = "./data")]
    dir: PathBuf,
}

impl Store {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<()> {
        // An engine may panic on what is damaged; that is caught, and told in one line and not as a failure of this program.
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            output::complain(&format!("the engine stumbled over something ({place})"));
        }));
        let mut ticker = Ticker { last: Instant::now() };
        let mut progress = |progress| ticker.tell(progress);
        match self.command {
            StoreCommand::Check { data } => {
                let found = check(&data.dir, &mut progress)?;
                output.show(&CheckedView::new(&found), |paint| checked(&found, paint))?;
                if !found.is_sound() {
                    bail!("the store in {} is damaged", data.dir.display());
                }
                Ok(())
            }
            StoreCommand::Salvage { data, to } => {
                let done = salvage(&data.dir, &to, &mut progress)?;
                output.show(&SalvagedView::new(&done), |_| salvaged(&done))
            }
            StoreCommand::Compact { data, engine } => {
                let done = compact(&data.dir, engine, &mut progress)?;
                output.show(&CompactedView::new(done), |_| compacted(done))
            }
        }
    }
}

/// Says on standard error how far long work is, now and then.
struct Ticker {
    last: Instant,
}

impl Ticker {
    fn tell(&mut self, progress: Progress) {
        if self.last.elapsed() >= REPORT_EVERY {
            self.last = Instant::now();
            output::complain(&told(progress));
        }
    }
}

fn told(Progress { step, done }: Progress) -> String {
    match step {
        Step::Copying => format!("copying the files: {} so far", size(done)),
        Step::Opening => "opening the store".to_owned(),
        Step::Reading => format!("reading: {done} records so far"),
        Step::Writing => format!("writing: {done} records so far"),
        Step::Verifying => format!("reading back: {done} records so far"),
    }
}

/// What `check --json` prints.
#[derive(Serialize)]
struct CheckedView<'a> {
    sound: bool,
    engine: &'static str,
    commits: u64,
    records: u64,
    bytes: u64,
    keyspaces: Vec<KeyspaceView<'a>>,
    problems: &'a [String],
    problems_count: u64,
}

#[derive(Serialize)]
struct KeyspaceView<'a> {
    name: &'a str,
    records: u64,
    bytes: u64,
}

impl<'a> CheckedView<'a> {
    fn new(found: &'a Checked) -> Self {
        let keyspaces = found.keyspaces.iter().map(|space| KeyspaceView {
            name: &space.name,
            records: space.records,
            bytes: space.bytes,
        });
        Self {
            sound: found.is_sound(),
            engine: found.engine.name(),
            commits: found.commits,
            records: found.records(),
            bytes: found.bytes(),
            keyspaces: keyspaces.collect(),
            problems: &found.problems,
            problems_count: found.problems_count,
        }
    }
}

/// What `salvage --json` prints.
#[derive(Serialize)]
struct SalvagedView<'a> {
    whole: bool,
    engine: &'static str,
    kept: u64,
    kept_bytes: u64,
    lost: &'a [String],
    lost_count: u64,
    gaps: u64,
    commits_lost: Option<u64>,
    unverified: bool,
    left_behind: Vec<String>,
}

impl<'a> SalvagedView<'a> {
    fn new(done: &'a Salvaged) -> Self {
        let left_behind = done.left_behind.iter().map(|path| path.display().to_string());
        Self {
            whole: done.is_whole(),
            engine: done.engine.name(),
            kept: done.kept,
            kept_bytes: done.kept_bytes,
            lost: &done.lost,
            lost_count: done.lost_count,
            gaps: done.gaps,
            commits_lost: done.commits_lost,
            unverified: done.unverified,
            left_behind: left_behind.collect(),
        }
    }
}

/// What `compact --json` prints.
#[derive(Serialize)]
struct CompactedView {
    from: &'static str,
    engine: &'static str,
    records: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl CompactedView {
    fn new(done: Compacted) -> Self {
        Self {
            from: done.from.name(),
            engine: done.engine.name(),
            records: done.records,
            bytes_before: done.bytes_before,
            bytes_after: done.bytes_after,
        }
    }
}

fn checked(found: &Checked, paint: Paint) -> String {
    let mut text = String::new();
    for problem in &found.problems {
        text.push_str(&format!("{}\n", printable(problem)));
    }
    let untold = found.problems_count - found.problems.len() as u64;
    if untold > 0 {
        text.push_str(&format!("and {untold} more\n"));
    }
    if !found.keyspaces.is_empty() {
        let mut table = Table::new(["KEYSPACE", "RECORDS", "BYTES"]);
        for space in &found.keyspaces {
            table.row([space.name.clone(), space.records.to_string(), space.bytes.to_string()]);
        }
        text.push_str(&table.render(paint));
        text.push('\n');
    }
    text.push_str(&format!(
        "{}: {} records, {}, engine {}",
        if found.is_sound() { "sound" } else { "DAMAGED" },
        found.records(),
        size(found.bytes()),
        found.engine
    ));
    text
}

fn salvaged(done: &Salvaged) -> String {
    let mut lines = vec![format!("kept: {} records, {}", done.kept, size(done.kept_bytes))];
    lines.extend(done.lost.iter().map(|lost| format!("lost: {}", printable(lost))));
    let untold = done.lost_count - done.lost.len() as u64;
    if untold > 0 {
        lines.push(format!("lost: {untold} more records"));
    }
    if done.gaps > 0 {
        lines.push(format!("lost: what lay in {} places that cannot be read", done.gaps));
    }
    match done.commits_lost {
        Some(0) => {}
        Some(commits) => lines.push(format!("lost: the last {commits} commits or more")),
        None => lines.push("unknown: how many commits are lost".to_owned()),
    }
    if done.unverified {
        lines.push(
            "unknown: whether what was kept is right: the engine's own checks failed, so records may be wrong or of different moments"
                .to_owned(),
        );
    }
    if done.is_whole() {
        lines.push("nothing is lost as far as can be known".to_owned());
    }
    for path in &done.left_behind {
        lines.push(format!("not copied: {}", printable(&path.display().to_string())));
    }
    lines.join("\n")
}

fn compacted(done: Compacted) -> String {
    let (before, after) = (size(done.bytes_before), size(done.bytes_after));
    let mut text = format!("{} records rewritten: {before} before, {after} now", done.records);
    if done.from != done.engine {
        text.push_str(&format!(
            "\nthe engine is {} now: set store.engine = \"{}\"",
            done.engine, done.engine
        ));
    }
    text
}

/// `3.4 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests;
