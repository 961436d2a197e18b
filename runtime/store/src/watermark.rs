//! A mark outside the engine of how much it had made durable.
//!
//! An engine that meets damage in the middle of its log may take it for the log's end and drop, without a word, all that
//! came after; sled does. So every group of commits raises a counter inside the store, and now and then that counter is
//! noted in a file beside it. A store that counts less than the note says has lost what it had promised.
//!
//! What was committed after the latest note is not covered: at most [`GROUPS_PER_NOTE`] groups after a crash, none after a
//! clean stop.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::replace_file;

/// Groups of commits between two notes: each note costs two or three fsyncs.
pub(crate) const GROUPS_PER_NOTE: u64 = 4096;

/// Where the counter lies in the store.
pub(crate) const COUNTER_KEY: &[u8] = b"\xfecommits";

/// Where the note is.
pub(crate) const FILE: &str = "watermark";

/// The counter and the note of it.
pub(crate) struct Watermark {
    /// None: there is nothing durable to hold the counter against.
    dir: Option<PathBuf>,
    commits: u64,
    noted: u64,
}

/// Why a watermark is not taken up.
pub(crate) enum WatermarkError {
    /// The note cannot be read or written.
    Io(io::Error),
    /// The note or the counter makes no sense.
    Malformed,
    /// Durable commits are gone.
    Lost(u64),
}

impl Watermark {
    /// Holds the counter of the store against the note in its directory, and notes what there is now.
    pub(crate) fn take_up(dir: &Path, counter: Option<&[u8]>) -> Result<Self, WatermarkError> {
        let (commits, noted) = held(dir, counter)?;
        let mut watermark = Self {
            dir: Some(dir.to_owned()),
            commits,
            noted,
        };
        watermark.note().map_err(WatermarkError::Io)?;
        Ok(watermark)
    }

    /// The counter of a store that is gone with its process.
    pub(crate) fn in_memory() -> Self {
        Self {
            dir: None,
            commits: 0,
            noted: 0,
        }
    }

    /// The record that goes with the next group.
    pub(crate) fn next(&self) -> (Vec<u8>, Vec<u8>) {
        (COUNTER_KEY.to_vec(), (self.commits + 1).to_be_bytes().to_vec())
    }

    /// That group is durable.
    pub(crate) fn committed(&mut self) {
        self.commits += 1;
        if self.commits - self.noted >= GROUPS_PER_NOTE {
            self.close();
        }
    }

    /// Notes the counter. A note that cannot be written takes away a check, not a commit.
    pub(crate) fn close(&mut self) {
        if let Err(error) = self.note() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store's watermark cannot be written"
            );
        }
    }

    fn note(&mut self) -> io::Result<()> {
        if let Some(dir) = &self.dir
            && self.noted != self.commits
        {
            replace_file(dir, FILE, format!("{}\n", self.commits).as_bytes())?;
            self.noted = self.commits;
        }
        Ok(())
    }
}

/// The store's counter and the note of it, where the counter is not behind. Changes nothing.
pub(crate) fn held(dir: &Path, counter: Option<&[u8]>) -> Result<(u64, u64), WatermarkError> {
    let commits = match counter {
        None => 0,
        Some(raw) => u64::from_be_bytes(raw.try_into().map_err(|_| WatermarkError::Malformed)?),
    };
    let noted: u64 = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text.trim().parse().map_err(|_| WatermarkError::Malformed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(WatermarkError::Malformed),
        Err(error) => return Err(WatermarkError::Io(error)),
    };
    if commits < noted {
        return Err(WatermarkError::Lost(noted - commits));
    }
    Ok((commits, noted))
}
