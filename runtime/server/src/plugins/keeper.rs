//! The one task that changes what is known of the folder, and with it which version of a connector is the current one.
//!
//! A switch is one durable record: read → check whose it is → compile → look at what it exports → read its descriptor → call it once
//! → keep its bytes → commit → show it. Before the commit the old version runs, after it the new one, for the next attempt of every
//! connection that may run it; attempts under way keep what they began with. A crash leaves the one or the other.

mod claims;
mod commands;
mod loads;
mod room;
mod shelves;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::{ConnectorName, Digest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::loads::{Load, UnderWay};
use super::Command;
use super::catalogue::{Catalogue, Problem};
use super::folder::{self, Listing, Signatures};
use super::loader::{Loader, LoaderSettings};
use super::tracker::{Looked, Moment, Tracker};
use super::trust::Trust;
use super::versions::Versions;
use super::watcher::Watcher;
use crate::app::App;
use crate::metrics::LoadResult;

/// Between two looks, however often something changes.
const LOOK_GAP: Duration = Duration::from_millis(100);

/// What could not be loaded for a reason that is not its own is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Keeps what is known of the folder true until the server stops.
pub(crate) async fn keep(app: App, versions: Versions, commands: mpsc::Receiver<Command>, stop: CancellationToken) {
    let mut keeper = Keeper::new(app, versions);
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeper.run(commands) => {}
    }
}

struct Keeper {
    app: App,
    loader: Arc<Loader>,
    signatures: Signatures,
    tracker: Tracker,
    watcher: Watcher,
    /// What is published after each step that changed it.
    catalogue: Catalogue,
    loads: JoinSet<Load>,
    /// Files, by their names.
    files: BTreeMap<String, UnderWay>,
    /// Versions that are kept, and who waits for them.
    kept: BTreeMap<Digest, (Id, Vec<Wanted>)>,
    retries: BTreeMap<String, Instant>,
    kept_retries: BTreeMap<Digest, Instant>,
    /// Connectors whose file holds another one now, and when they go.
    leaving: BTreeMap<ConnectorName, Instant>,
    /// Versions whose bytes go, as soon as no file is being loaded that may hold the same.
    to_remove: BTreeSet<Digest>,
    /// Looks so far.
    looks: u64,
    /// Whether some file does not stand still yet.
    is_unsettled: bool,
    /// Whether another connector is there, or one is not any more, since the last time that everybody was told.
    moved: bool,
    /// A file is to be looked at once more, and soon.
    again: bool,
}

/// Who waits for a version.
type Wanted = oneshot::Sender<Result<Arc<cofferdam_host::Connector>, String>>;

impl Keeper {
    fn new(app: App, versions: Versions) -> Self {
        let plugins = &app.plugins;
        let trust = Trust::new(&plugins.config);
        let signatures = if trust.looks_at_signatures() {
            Signatures::LookedAt
        } else {
            Signatures::Ignored
        };
        let loader = Loader::new(LoaderSettings {
            engine: app.engine.clone(),
            dir: plugins.dir(),
            versions,
            trust,
            compiles: plugins.compiles,
            disk: Arc::clone(&app.disk),
        });
        Self {
            loader: Arc::new(loader),
            signatures,
            tracker: Tracker::new(plugins.config.settle),
            watcher: Watcher::default(),
            catalogue: Catalogue::default(),
            loads: JoinSet::new(),
            files: BTreeMap::new(),
            kept: BTreeMap::new(),
            retries: BTreeMap::new(),
            kept_retries: BTreeMap::new(),
            leaving: BTreeMap::new(),
            to_remove: BTreeSet::new(),
            looks: 0,
            is_unsettled: true,
            moved: false,
            again: false,
            app,
        }
    }

    async fn run(&mut self, mut commands: mpsc::Receiver<Command>) {
        let mut configured = self.app.connections.changed();
        self.remember().await;
        let mut look_at = self.look().await;
        let mut earliest = Instant::now() + LOOK_GAP;
        loop {
            configured.mark_unchanged();
            self.load_what_is_wanted();
            self.remove_bytes().await;
            self.publish();
            if std::mem::take(&mut self.again) {
                look_at = look_at.min(earliest);
            }
            // Cancel-safe, all of them: nothing is lost when they are dropped.
            tokio::select! {
                () = self.watcher.changed(), if look_at > earliest => look_at = earliest,
                _ = configured.changed() => {}
                Some(ended) = self.loads.join_next_with_id() => self.ended(ended).await,
                Some(command) = commands.recv() => self.obey(command).await,
                () = tokio::time::sleep_until(look_at.into()) => {
                    look_at = self.look().await;
                    earliest = Instant::now() + LOOK_GAP;
                }
            }
        }
    }

    /// Looks at the folder, and begins what follows from it; when to look again.
    async fn look(&mut self) -> Instant {
        self.looks += 1;
        let (dir, known, signatures) = (self.app.plugins.dir().to_owned(), self.tracker.known(), self.signatures);
        self.watcher.follow(&dir);
        let listed = spawn_blocking(move || folder::list(&dir, &known, signatures)).await;
        let listed = listed.unwrap_or_else(|_panicked| Err(std::io::Error::other("looking at it failed")));
        let now = Instant::now();
        let scan_every = self.app.plugins.config.scan_every;
        let Listing { files, left_out } = match listed {
            Ok(listing) => listing,
            Err(error) => {
                // A disk that is away for a while is no reason to take every connector away.
                self.note_folder(Some(format!(
                    "cannot be looked at ({error}); what is loaded stays as it is"
                )));
                return now + scan_every;
            }
        };
        self.note_folder(left_out);
        let tracker = &mut self.tracker;
        self.retries.retain(|file, at| {
            let is_due = *at <= now;
            if is_due {
                tracker.again(file);
            }
            !is_due
        });
        self.kept_retries.retain(|_, at| *at > now);
        let looked = self.tracker.look(files, Moment::now());
        let again_in = looked.again_in;
        self.is_unsettled = again_in.is_some();
        self.act(looked).await;
        self.gone_with_their_files(now).await;
        self.read_through();
        let retries = self.retries.values().chain(self.kept_retries.values());
        let retry_at = retries.chain(self.leaving.values()).min().copied();
        let retry_at = retry_at.unwrap_or(now + scan_every);
        let next = now + again_in.map_or(scan_every, |again| again.min(scan_every));
        next.min(retry_at).max(now + LOOK_GAP)
    }

    async fn act(&mut self, looked: Looked) {
        // First, so that what they provided is free for those that have come.
        for file in looked.gone {
            self.gone(&file).await;
        }
        for (file, stamps) in looked.take_up {
            self.begin(file, stamps);
        }
        for (file, reason) in looked.odd {
            self.stop_loading(&file);
            self.refused(&file, reason, None);
        }
    }

    async fn gone(&mut self, file: &str) {
        self.stop_loading(file);
        self.catalogue.problems.remove(file);
        // More than one, if the server stopped while a file that held another connector still stood for both.
        while let Some(name) = self.catalogue.provided_by(file) {
            tracing::warn!(%name, file, "the file of a connector was removed; deliveries to its connections wait");
            self.free(&name).await;
        }
    }

    fn refused(&mut self, file: &str, reason: String, taken: Option<ConnectorName>) {
        tracing::warn!(file, reason, "a file in the plugins folder is not in use");
        self.app.metrics.count_load(LoadResult::Refused);
        let problem = Problem { reason, taken };
        self.catalogue.problems.insert(file.to_owned(), problem);
    }

    fn not_now(&mut self, file: &str, reason: String) {
        tracing::warn!(
            file,
            reason,
            "a file in the plugins folder could not be loaded now; it is tried again"
        );
        self.app.metrics.count_load(LoadResult::NotNow);
        self.retries.insert(file.to_owned(), Instant::now() + RETRY_AFTER);
        let problem = Problem { reason, taken: None };
        self.catalogue.problems.insert(file.to_owned(), problem);
    }

    fn note_folder(&mut self, reason: Option<String>) {
        if let Some(reason) = &reason
            && self.catalogue.folder.as_ref() != Some(reason)
        {
            let folder = self.app.plugins.dir().display();
            tracing::warn!(%folder, reason, "the plugins folder is not looked at as a whole");
        }
        self.catalogue.folder = reason;
    }

    /// Everybody sees what is known now, and lanes look whether they can go on.
    fn publish(&mut self) {
        self.app.plugins.publish(self.catalogue.clone());
        if std::mem::take(&mut self.moved) {
            let there = self
                .catalogue
                .shelves
                .values()
                .filter(|shelf| shelf.current().is_some());
            let connectors = i64::try_from(there.count()).unwrap_or(i64::MAX);
            self.app.metrics.connectors.set(connectors);
            self.app.connections.wake();
        }
    }

    /// Says once that everything has been dealt with that was there at the start.
    fn read_through(&mut self) {
        if !self.catalogue.is_read && !self.is_unsettled && self.files.is_empty() {
            self.catalogue.is_read = true;
            let there = self
                .catalogue
                .shelves
                .values()
                .filter(|shelf| shelf.current().is_some());
            let (connectors, problems) = (there.count(), self.catalogue.problems.len());
            tracing::info!(connectors, problems, "the plugins folder was read");
        }
    }
}
