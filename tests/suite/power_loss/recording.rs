//! One journal of the writer's life: three processes on the same folder, two of them killed in the middle of their work and
//! one that closes its store. Many power losses are cut out of one recording.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        for (session, killed) in [(0, true), (1, false), (2, true)] {
            let writer = Process {
                folder: &folder,
                journal: &journal,
                engine,
                seed: seed.wrapping_mul(16).wrapping_add(session),
            };
            writer.run(killed.then(|| Duration::from_millis(rng.random_range(WORK_MILLIS / 2..WORK_MILLIS))))?;
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

impl Process<'_> {
    /// Runs it to its end, or kills it after a while.
    fn run(&self, killed_after: Option<Duration>) -> anyhow::Result<()> {
        let before = self.marked()?;
        let millis = if killed_after.is_some() { 60_000 } else { WORK_MILLIS };
        let mut child = self.spawn(millis)?;
        if let Some(after) = killed_after {
            // The clock of its work runs once it has opened its store, however long that takes on a busy machine.
            while self.marked()? < before + 2 {
                ensure!(child.try_wait()?.is_none(), "the writer ended by itself");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(after);
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        let status = child.wait()?;
        ensure!(status.success(), "the writer ended with {status}");
        Ok(())
    }

    fn spawn(&self, millis: u64) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("power-loss-writer")
            .args(["--engine", self.engine.name()])
            .args(["--seed", &self.seed.to_string(), "--millis", &millis.to_string()])
            .arg("--folder")
            .arg(self.folder)
            .envs(shim::recording(self.folder, self.journal))
            .stdin(Stdio::null());
        command.spawn().context("the writer cannot be started")
    }

    /// How many statements there are so far.
    fn marked(&self) -> anyhow::Result<usize> {
        let journal = match fs::read(self.journal) {
            Ok(journal) => journal,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut rest = journal.as_slice();
        let records = std::iter::from_fn(|| Record::decode(&mut rest));
        Ok(records.filter(|record| matches!(record, Record::Mark { .. })).count())
    }
}
