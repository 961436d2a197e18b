//! Which files are to be taken up, and which have gone: a file is acted upon once it has stood still for a while, so that
//! nothing is loaded that is still being copied. No I/O and no clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use super::folder::{Sight, Stamps};

/// Every file that was ever seen and has not gone.
pub(super) struct Tracker {
    settle: Duration,
    files: BTreeMap<String, Tracked>,
}

struct Tracked {
    /// None while it is missing.
    sight: Option<Sight>,
    /// Since when it is so.
    since: Instant,
    /// What was acted upon last.
    taken: Option<Sight>,
    /// It is to be acted upon once more although nothing has changed.
    again: bool,
}

/// A moment, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

/// What a look at the folder asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Files to be loaded.
    pub(super) take_up: Vec<(String, Stamps)>,
    /// What cannot be loaded as it is, and why.
    pub(super) odd: Vec<(String, String)>,
    /// Files that are no longer there.
    pub(super) gone: Vec<String>,
    /// When to look again at what does not stand still yet.
    pub(super) again_in: Option<Duration>,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

impl Tracker {
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            files: BTreeMap::new(),
        }
    }

    /// Knows of a file from earlier: if it is not there any more, it has gone.
    pub(super) fn expect(&mut self, name: String, at: Instant) {
        self.files.insert(
            name,
            Tracked {
                sight: None,
                since: at,
                taken: Some(Sight::Odd(String::new())),
                again: false,
            },
        );
    }

    /// The files that are known.
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }

    /// Whether a file is not there now. It may not have gone for good.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.files.get(name).is_none_or(|file| file.sight.is_none())
    }

    /// Whether the file is still what it was when it was taken up.
    pub(super) fn is_still(&self, name: &str, stamps: Stamps) -> bool {
        let sight = self.files.get(name).and_then(|file| file.sight.as_ref());
        sight == Some(&Sight::File(stamps))
    }

    /// Has a file acted upon once more at the next look.
    pub(super) fn again(&mut self, name: &str) {
        if let Some(file) = self.files.get_mut(name) {
            file.again = true;
        }
    }

    /// Compares the folder with what it was.
    pub(super) fn look(&mut self, mut listing: BTreeMap<String, Sight>, now: Moment) -> Looked {
        let mut looked = Looked::default();
        let names: BTreeSet<String> = self.files.keys().chain(listing.keys()).cloned().collect();
        for name in names {
            let sight = listing.remove(&name);
            let file = self.files.entry(name.clone()).or_insert(Tracked {
                sight: None,
                since: now.at,
                taken: None,
                again: false,
            });
            if file.sight != sight {
                file.since = since(sight.as_ref(), self.settle, now);
                file.sight = sight;
            }
            if file.sight == file.taken && !file.again {
                if file.sight.is_none() {
                    // It came and went before anything was made of it.
                    self.files.remove(&name);
                }
                continue;
            }
            let stood = now.at.saturating_duration_since(file.since);
            if let Some(left) = self.settle.checked_sub(stood).filter(|left| !left.is_zero()) {
                looked.again_in = Some(looked.again_in.map_or(left, |again| again.min(left)));
                continue;
            }
            file.taken.clone_from(&file.sight);
            file.again = false;
            match &file.sight {
                Some(Sight::File(stamps)) => looked.take_up.push((name, *stamps)),
                Some(Sight::Odd(reason)) => looked.odd.push((name, reason.clone())),
                None => {
                    self.files.remove(&name);
                    looked.gone.push(name);
                }
            }
        }
        looked
    }
}

/// A file that was written to long enough ago has stood still already when it is seen first: so a rename into place is quick.
fn since(sight: Option<&Sight>, settle: Duration, now: Moment) -> Instant {
    let stood = match sight {
        Some(Sight::File(stamps)) => stamps.age(now.wall).unwrap_or_default().min(settle),
        Some(Sight::Odd(_)) | None => Duration::ZERO,
    };
    now.at.checked_sub(stood).unwrap_or(now.at)
}

#[cfg(test)]
mod tests;
