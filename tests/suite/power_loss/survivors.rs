//! Which of the changes that no fsync has covered are found after a power loss.
//!
//! Disks and kernels write back in any order, so each change survives or does not, whatever became of those before it. A
//! write that survives may be torn: of its 512-byte or 4-KiB sectors each survives or does not. A write that is lost may
//! leave its length behind, full of zeros, as file systems do that allocate late.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disk::{Change, index, put};

/// Sizes that a write is torn at, in bytes.
const SECTORS: [usize; 2] = [512, 4096];

/// Of the writes that survive, so many are torn.
const TORN: f64 = 0.3;

/// Of the writes that are lost at a file's end, so many leave its length.
const LENGTH_LEFT: f64 = 0.3;

/// How cruel the power loss is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Nothing survives that was not fsynced.
    DropAll,
    /// Everything survives, as after a `kill -9`.
    KeepAll,
    /// Each change survives with this probability, and may be torn.
    Random(f64),
}

impl Mode {
    /// Draws one.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..2 => Self::DropAll,
            2 => Self::KeepAll,
            3..6 => Self::Random(0.5),
            6..8 => Self::Random(0.9),
            _ => Self::Random(0.1),
        }
    }
}

/// Decides for one power loss.
pub(crate) struct Survivors {
    mode: Mode,
    rng: StdRng,
}

impl Survivors {
    /// The same seed decides alike about the same changes.
    pub(crate) fn new(mode: Mode, seed: u64) -> Self {
        Self {
            mode,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Which of so many changes of a folder survive.
    pub(crate) fn namings(&mut self, count: usize) -> Vec<bool> {
        (0..count).map(|_| self.keeps()).collect()
    }

    /// The file's content: the durable one and what survives of the changes after it.
    pub(crate) fn content(&mut self, mut content: Vec<u8>, since: &[&Change]) -> Vec<u8> {
        for change in since {
            let kept = self.keeps();
            match change {
                Change::Write { offset, data } if kept => self.write(&mut content, *offset, data),
                Change::Write { offset, data } => self.lose(&mut content, *offset, data.len()),
                Change::Truncate { .. } if kept => change.apply(&mut content),
                Change::Truncate { .. } => {}
            }
        }
        content
    }

    fn keeps(&mut self) -> bool {
        match self.mode {
            Mode::DropAll => false,
            Mode::KeepAll => true,
            Mode::Random(share) => self.rng.random_bool(share),
        }
    }

    fn chance(&mut self, of: f64) -> bool {
        match self.mode {
            Mode::DropAll | Mode::KeepAll => false,
            Mode::Random(_) => self.rng.random_bool(of),
        }
    }

    fn write(&mut self, content: &mut Vec<u8>, offset: u64, data: &[u8]) {
        if !self.chance(TORN) {
            return put(content, offset, data);
        }
        let sector = SECTORS[self.rng.random_range(0..SECTORS.len())];
        let mut begin = index(offset);
        let mut rest = data;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(sector - begin % sector));
            if self.rng.random_bool(0.5) {
                put(content, begin as u64, now);
            }
            begin += now.len();
            rest = later;
        }
    }

    fn lose(&mut self, content: &mut Vec<u8>, offset: u64, len: usize) {
        let end = index(offset) + len;
        if end > content.len() && self.chance(LENGTH_LEFT) {
            content.resize(end, 0);
        }
    }
}
