//! One journal of the writer's life: six processes on the same folder. One is killed at work, one while it opens what that has
//! left, one closes its store, one is killed while it rewrites that, one rewrites it, and the last is killed at work again.
//! Many power losses are cut out of one recording.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disk::{Disk, Image};
use super::format::Record;
use super::survivors::{Mode, Survivors};
use crate::engine::Engine;
use crate::shim;

/// How long the process works that closes its store, and the others at most, in milliseconds.
const WORK_MILLIS: u64 = 900;

/// When a process dies that is to die while it opens its store or rewrites it, in milliseconds after its beginning.
const EARLY_MILLIS: Range<u64> = 0..30;

/// What the kernel calls a `kill -9`.
const SIGKILL: i32 = 9;

/// The journal, decoded.
pub(crate) struct Recording {
    /// Of the store that was written.
    pub(crate) engine: Engine,
    /// In the order in which they were done.
    pub(crate) records: Vec<Record>,
    /// Its bytes, to be kept when something is found.
    pub(crate) journal: Vec<u8>,
}

impl Recording {
    /// Records anew.
    pub(crate) fn make(engine: Engine, seed: u64) -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("cofferdam-power-loss-").tempdir()?;
        let base = fs::canonicalize(temporary.path())?;
        let (folder, journal) = (base.join("disk"), base.join("journal"));
        fs::create_dir(&folder)?;
        let mut rng = StdRng::seed_from_u64(seed);
        let lives = [
            Life::DiesAtWork,
            Life::DiesEarly,
            Life::Closes,
            Life::DiesCompacting,
            Life::Compacts,
            Life::DiesAtWork,
        ];
        for (session, life) in (0..).zip(lives) {
            let writer = Process {
                folder: &folder,
                journal: &journal,
                engine,
                seed: seed.wrapping_mul(16).wrapping_add(session),
            };
            writer.run(life, &mut rng)?;
        }
        let recording = Self::read(engine, fs::read(&journal)?);
        recording.holds_against(&folder)?;
        Ok(recording)
    }

    /// Takes up a journal that was kept.
    pub(crate) fn read(engine: Engine, journal: Vec<u8>) -> Self {
        let mut rest = journal.as_slice();
        let records = std::iter::from_fn(|| Record::decode(&mut rest)).collect();
        Self {
            engine,
            records,
            journal,
        }
    }

    /// What the journal comes to must be what the folder holds: otherwise something wrote past the library.
    fn holds_against(&self, folder: &Path) -> anyhow::Result<()> {
        let mut disk = Disk::default();
        for record in &self.records {
            disk.play(record)?;
        }
        let played = disk.image(&mut Survivors::new(Mode::KeepAll, 0));
        let mut real = Image::default();
        walk(folder, &[], &mut real)?;
        let paths = |files: &BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<_> {
            let texts = files
                .iter()
                .map(|(path, content)| (String::from_utf8_lossy(path).into_owned(), content.len()));
            texts.collect()
        };
        let (played_paths, real_paths) = (paths(&played.files), paths(&real.files));
        ensure!(
            played_paths == real_paths,
            "the journal says {played_paths:?}, the folder {real_paths:?}"
        );
        for (path, content) in &real.files {
            ensure!(
                played.files[path] == *content,
                "the journal does not say what {} holds",
                String::from_utf8_lossy(path)
            );
        }
        Ok(())
    }
}

fn walk(folder: &Path, below: &[u8], image: &mut Image) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_encoded_bytes();
        let path = if below.is_empty() {
            name
        } else {
            [below, b"/", &name].concat()
        };
        if entry.file_type()?.is_dir() {
            image.folders.push(path.clone());
            walk(&entry.path(), &path, image)?;
        } else {
            image.files.insert(path, fs::read(entry.path())?);
        }
    }
    Ok(())
}

struct Process<'a> {
    folder: &'a Path,
    journal: &'a Path,
    engine: Engine,
    seed: u64,
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    DiesAtWork,
    DiesEarly,
    Closes,
    DiesCompacting,
    Compacts,
}

impl Process<'_> {
    fn run(&self, life: Life, rng: &mut StdRng) -> anyhow::Result<()> {
        let dies = match life {
            Life::DiesAtWork => Some(rng.random_range(WORK_MILLIS / 2..WORK_MILLIS)),
            Life::DiesEarly | Life::DiesCompacting => Some(rng.random_range(EARLY_MILLIS)),
            Life::Closes | Life::Compacts => None,
        };
        let compacts = matches!(life, Life::DiesCompacting | Life::Compacts);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("power-loss-writer")
            .args(["--engine", self.engine.name()])
            .args(["--seed", &self.seed.to_string()])
            .args(["--works-millis", &WORK_MILLIS.to_string()])
            .args(compacts.then_some("--compacts"))
            .args(dies.map(|millis| format!("--dies-millis={millis}")))
            .arg("--folder")
            .arg(self.folder)
            .envs(shim::recording(self.folder, self.journal))
            .stdin(Stdio::null());
        let status = command.status().context("the writer cannot be started")?;
        match dies {
            Some(_) => ensure!(
                status.signal() == Some(SIGKILL),
                "the writer was to be killed and ended with {status}"
            ),
            None => ensure!(status.success(), "the writer ended with {status}"),
        }
        Ok(())
    }
}
