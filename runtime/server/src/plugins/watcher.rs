//! The system's word that something has changed in the folder (inotify). What has changed is found by looking, and a look comes
//! by itself every so often, because notifications get lost and some file systems have none.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// Read at once, in bytes; what it says is not looked at.
const NOTICES_BYTES: usize = 4096;

/// Opening and reading change nothing, and the server does both.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Watches the folder for as long as it is the same folder.
#[derive(Default)]
pub(super) struct Watcher {
    notices: Option<Receiver>,
    /// The folder's device and inode: a watch stays with the folder that it was made for, whatever has its name now.
    folder: Option<(u64, u64)>,
}

impl Watcher {
    /// Watches what is the folder now. Without a watch the looks that come by themselves are all there is.
    pub(super) fn follow(&mut self, dir: &Path) {
        let folder = fs::metadata(dir).ok().map(|found| (found.dev(), found.ino()));
        if self.folder == folder {
            return;
        }
        self.folder = folder;
        self.notices = None;
        if folder.is_none() {
            return;
        }
        match watch(dir) {
            Ok(notices) => self.notices = Some(notices),
            Err(error) => tracing::warn!(
                folder = %dir.display(),
                %error,
                "the plugins folder cannot be watched; it is looked at every plugins.scan_every_ms"
            ),
        }
    }

    /// Waits for the next change; for ever if nothing is watched. Cancel-safe.
    pub(super) async fn changed(&self) {
        let Some(notices) = &self.notices else {
            return std::future::pending().await;
        };
        let mut buffer = [0; NOTICES_BYTES];
        loop {
            let read = match notices.readable().await {
                Ok(()) => notices.try_read(&mut buffer),
                Err(error) => Err(error),
            };
            match read {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "notices of the plugins folder cannot be read");
                    return std::future::pending().await;
                }
            }
        }
    }
}

fn watch(dir: &Path) -> io::Result<Receiver> {
    let notices = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&notices, dir, CHANGES)?;
    // To a reader it is like a pipe: bytes that come when there are any.
    Receiver::from_file_unchecked(File::from(notices))
}
