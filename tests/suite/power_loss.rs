//! Power loss: everything that is acknowledged is on the disk, and nothing is there by half.
//!
//! A process works on a real queue over a real store, with the library of `tests/faults` between it and the disk, which writes
//! down everything that is done to the files, and when the process was told that something is durable. From that journal a
//! disk is played up to a moment, and the power goes: what was fsynced is there, of everything else any part ([`disk`],
//! [`survivors`]). The real code opens what is found and must keep every promise ([`verify`]).
//!
//! Moments are drawn evenly, just after an acknowledgement, inside an fsync, and just after a name was made, moved or taken
//! away. One recording ([`recording`]) serves many
//! power losses; it holds several processes, so that recovery and closing lose their power too.
//!
//! What is simulated: the file layout as it is, lost and torn writes, writes that overtake each other between two fsyncs,
//! lengths without content, names that were never made durable, moves that did not happen.
//! What is not: disks that lie about fsync, or that damage what was durable; blocks that show what another file held.
//!
//! A round is a seed and an engine. The journal of one that fails is kept; with `--journal` and `--seed` the very same power
//! loss happens again.

mod bed;
mod disk;
#[path = "../faults/src/format.rs"]
#[expect(dead_code, reason = "this side only reads it")]
mod format;
mod ledger;
mod marks;
mod recording;
mod survivors;
mod verify;
pub(crate) mod writer;

use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cofferdam_tests::artifacts::target_dir;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::engine::Engine;
use crate::table::Table;
use crate::tally::Tally;
use disk::{Disk, Image};
use format::Record;
use ledger::Ledger;
use marks::Mark;
use recording::Recording;
use survivors::{Mode, Survivors};
use verify::Depth;

/// Power losses that are cut out of one recording.
const CUTS_PER_RECORDING: u64 = 25;

/// Every so many rounds everything that waits is delivered, which takes its time.
const DRAIN_EVERY: u64 = 5;

/// Runs a round for each seed on each engine, or on the engine of a journal that was kept.
pub(crate) fn run(seeds: Range<u64>, journal: Option<&Path>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut table = Table::new(&[
        "engine",
        "power losses",
        "held",
        "acknowledged",
        "records",
        "drop / keep / random",
    ]);
    let kept = journal.map(kept_journal).transpose()?;
    for engine in Engine::ALL {
        if kept.as_ref().is_some_and(|kept| kept.engine != engine) {
            continue;
        }
        let mut sums = Sums::default();
        let mut made = None;
        for (number, seed) in (0..).zip(seeds.clone()) {
            if kept.is_none() && number % CUTS_PER_RECORDING == 0 {
                eprintln!("  {engine}: recording, then power losses from seed {seed}");
                made = Some(Recording::make(engine, seed).context("a writer could not be recorded")?);
            }
            let recording = kept.as_ref().or(made.as_ref()).context("there is a recording")?;
            let held = round(recording, seed, &mut sums);
            if let Err(error) = &held {
                eprintln!("  {engine}, seed {seed}: {error:#}");
                if kept.is_none() {
                    keep(recording, seed)?;
                }
            }
            tally.count(held.is_ok());
            sums.count(held.is_ok());
        }
        table.row(sums.cells(engine));
    }
    table.print();
    Ok(tally)
}

/// Figures of one engine's rounds.
#[derive(Default)]
struct Sums {
    rounds: u64,
    held: u64,
    acknowledged: usize,
    records: usize,
    modes: [u64; 3],
}

impl Sums {
    fn count(&mut self, held: bool) {
        self.rounds += 1;
        self.held += u64::from(held);
    }

    fn cells(&self, engine: Engine) -> Vec<String> {
        let [drop, keep, random] = self.modes;
        vec![
            engine.to_string(),
            self.rounds.to_string(),
            self.held.to_string(),
            self.acknowledged.to_string(),
            self.records.to_string(),
            format!("{drop} / {keep} / {random}"),
        ]
    }
}

/// One power loss.
fn round(recording: &Recording, seed: u64, sums: &mut Sums) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let cut = moment(&recording.records, &mut rng);
    let mode = Mode::draw(&mut rng);
    let mut disk = Disk::default();
    let mut ledger = Ledger::default();
    for record in &recording.records[..cut] {
        disk.play(record)?;
        if let Record::Mark { data } = record {
            let mark: Mark = serde_json::from_slice(data).context("a mark makes no sense")?;
            ledger.enter(mark);
        }
    }
    sums.acknowledged += ledger.accepted.len();
    sums.records += cut;
    sums.modes[match mode {
        Mode::DropAll => 0,
        Mode::KeepAll => 1,
        Mode::Random(_) => 2,
    }] += 1;
    let found = tempfile::Builder::new().prefix("cofferdam-power-loss-").tempdir()?;
    lay_out(&disk.image(&mut Survivors::new(mode, seed)), found.path())?;
    let depth = if seed.is_multiple_of(DRAIN_EVERY) {
        Depth::Drain
    } else {
        Depth::Usual
    };
    let data = found.path().join(bed::DATA);
    let verified = catch_unwind(AssertUnwindSafe(|| -> anyhow::Result<()> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(verify::verify(recording.engine, &data, &ledger, depth))
    }));
    verified
        .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")))
        .with_context(|| format!("power lost at record {cut} of {}, {mode:?}", recording.records.len()))
}

/// When the power goes: after so many records.
fn moment(records: &[Record], rng: &mut StdRng) -> usize {
    let places = |wanted: fn(&Record) -> bool| -> Vec<usize> {
        let found = records.iter().enumerate().filter(|(_, record)| wanted(record));
        found.map(|(at, _)| at).collect()
    };
    let marks = || places(|record| matches!(record, Record::Mark { .. }));
    let syncs = || places(|record| matches!(record, Record::SyncBegin { .. }));
    let names = || {
        places(|record| {
            matches!(
                record,
                Record::Create { .. } | Record::Mkdir { .. } | Record::Rename { .. } | Record::Unlink { .. }
            )
        })
    };
    let after = match rng.random_range(0..10) {
        0..4 => return rng.random_range(1..=records.len()),
        4..6 => marks(),
        6..8 => syncs(),
        _ => names(),
    };
    match after.len() {
        0 => records.len(),
        count => after[rng.random_range(0..count)] + 1,
    }
}

fn lay_out(image: &Image, root: &Path) -> anyhow::Result<()> {
    let path = |below: &[u8]| root.join(String::from_utf8_lossy(below).as_ref());
    for folder in &image.folders {
        fs::create_dir(path(folder))?;
    }
    for (name, content) in &image.files {
        fs::write(path(name), content)?;
    }
    Ok(())
}

/// Keeps what is needed to see it again.
fn keep(recording: &Recording, seed: u64) -> anyhow::Result<()> {
    let dir = target_dir().join("suite");
    fs::create_dir_all(&dir)?;
    let path: PathBuf = dir.join(format!("power-loss-{}-{seed}.journal", recording.engine));
    fs::write(&path, &recording.journal)?;
    eprintln!(
        "  to see it again: cargo xtask suite power-loss --seed {seed} --journal {}",
        path.display()
    );
    Ok(())
}

/// Its name says which engine it is of.
fn kept_journal(path: &Path) -> anyhow::Result<Recording> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let engine = Engine::ALL.into_iter().find(|engine| name.contains(engine.name()));
    let engine = engine.with_context(|| format!("{} does not name its engine", path.display()))?;
    let journal = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Recording::read(engine, journal))
}
