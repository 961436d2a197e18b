//! The system's word that something has changed in the folder. What has changed is found by looking, and a look comes by itself
//! every so often, because notifications get lost and some file systems have none.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folder for as long as it is the same folder.
#[derive(Default)]
pub(super) struct Watcher {
    watching: Option<RecommendedWatcher>,
    /// The folder's device and inode: a watch stays with the folder that it was made for, whatever has its name now.
    folder: Option<(u64, u64)>,
    /// Any number of changes between two looks are one.
    changed: Arc<Notify>,
}

impl Watcher {
    /// Watches what is the folder now. Without a watch the looks that come by themselves are all there is.
    pub(super) fn follow(&mut self, dir: &Path) {
        let folder = fs::metadata(dir).ok().map(|found| (found.dev(), found.ino()));
        if self.folder == folder {
            return;
        }
        self.folder = folder;
        self.watching = None;
        if folder.is_none() {
            return;
        }
        match watch(dir, Arc::clone(&self.changed)) {
            Ok(watching) => self.watching = Some(watching),
            Err(error) => tracing::warn!(
                folder = %dir.display(),
                %error,
                "the plugins folder cannot be watched; it is looked at every plugins.scan_every_ms"
            ),
        }
    }

    /// Waits for the next change; for ever if nothing is watched. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn watch(dir: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watching = notify::recommended_watcher(move |noticed: notify::Result<notify::Event>| {
        // A watch that reports trouble may have lost a change.
        if noticed.map_or(true, |event| is_change(event.kind)) {
            changed.notify_one();
        }
    })?;
    watching.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watching)
}

/// Opening and reading change nothing, and the server does both.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
