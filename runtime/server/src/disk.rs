//! The disk-space guard: nothing new is accepted while the disk of the data folder is almost full, so that what is under way
//! can still be settled. A disk that is really full stops the store for good until a restart.
//!
//! The disk is asked once a second by a task of its own; whoever accepts reads an atomic.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often the disk is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// Above the minimum by this part of it, accepting begins again: at the edge itself it would come and go with every event.
const SLACK: u64 = 20;

/// How much room is left, as last seen.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    free_bytes_min: u64,
    free_bytes: AtomicU64,
    almost_full: AtomicBool,
    unreadable: AtomicBool,
}

/// What a look at the disk has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Full,
    RoomAgain,
}

impl Disk {
    /// Looks for the first time. A minimum of 0 turns the guard off.
    pub(crate) fn open(dir: &Path, free_bytes_min: u64) -> Self {
        let disk = Self {
            dir: dir.to_owned(),
            free_bytes_min,
            free_bytes: AtomicU64::new(0),
            almost_full: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
        };
        disk.look();
        disk
    }

    /// Whether nothing new may be accepted.
    pub(crate) fn is_almost_full(&self) -> bool {
        self.almost_full.load(Ordering::Relaxed)
    }

    /// Room that was left when last seen, in bytes.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Asks the disk; logs once for each change.
    fn look(&self) {
        self.note(cofferdam_store::free_bytes(&self.dir));
    }

    fn note(&self, seen: io::Result<u64>) {
        match seen {
            Ok(free) => {
                self.unreadable.store(false, Ordering::Relaxed);
                let (free_bytes, minimum) = (free, self.free_bytes_min);
                match self.see(free) {
                    Change::None => {}
                    Change::Full => {
                        tracing::error!(free_bytes, minimum, "the disk is almost full; nothing is accepted");
                    }
                    Change::RoomAgain => tracing::info!(free_bytes, "there is room on the disk again"),
                }
            }
            // What is not known refuses nobody.
            Err(error) => {
                if !self.unreadable.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the disk does not say how much room is left");
                }
            }
        }
    }

    fn see(&self, free: u64) -> Change {
        self.free_bytes.store(free, Ordering::Relaxed);
        let was = self.is_almost_full();
        let enough = if was {
            self.free_bytes_min.saturating_add(self.free_bytes_min / SLACK)
        } else {
            self.free_bytes_min
        };
        let is = free < enough;
        self.almost_full.store(is, Ordering::Relaxed);
        match (was, is) {
            (false, true) => Change::Full,
            (true, false) => Change::RoomAgain,
            (true, true) | (false, false) => Change::None,
        }
    }
}

/// Watches the disk until the server stops.
pub(crate) async fn watch(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let disk = std::sync::Arc::clone(&app.disk);
        // A file system may take its time to answer (a network's, for one). A panic in it is seen at the next look.
        let looked = tokio::task::spawn_blocking(move || disk.look()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "the disk could not be looked at");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_bytes_min: u64) -> Disk {
        Disk::open(Path::new("/"), free_bytes_min)
    }

    #[test]
    fn accepting_stops_below_the_minimum_and_begins_again_a_little_above_it() {
        let disk = disk(0);
        let disk = Disk {
            free_bytes_min: 1000,
            ..disk
        };
        for (free, change, full) in [
            (1000, Change::None, false),
            (999, Change::Full, true),
            (1000, Change::None, true),
            (1049, Change::None, true),
            (1050, Change::RoomAgain, false),
            (1000, Change::None, false),
        ] {
            assert_eq!((disk.see(free), disk.is_almost_full()), (change, full), "{free}");
            assert_eq!(disk.free_bytes(), free);
        }
    }

    #[test]
    fn a_minimum_of_zero_never_refuses_and_a_silent_disk_neither() {
        let off = disk(0);
        assert_eq!(off.see(0), Change::None);
        let silent = disk(1);
        silent.note(Err(io::Error::other("gone")));
        assert!(!silent.is_almost_full());
        let full = disk(u64::MAX);
        assert!(full.is_almost_full(), "the first look is made at once");
    }
}
