//! What has happened in a run: a hash of all of it, and the last of it for people.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Lines that are kept to be shown with a failure.
const TAIL_LINES: usize = 40;

/// Everything that has happened.
#[derive(Default)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    tail: VecDeque<String>,
}

impl Trace {
    /// One more thing, at this time.
    pub(super) fn note(&mut self, at_ms: u64, what: &str) {
        (at_ms, what).hash(&mut self.hasher);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail
            .push_back(format!("{:>11.3} s  {what}", at_ms as f64 / 1_000.0));
    }

    /// Equal for two runs in which the same has happened at the same times.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last lines.
    pub(super) fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}
