//! The one task that changes what is known of the folder.

mod claims;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::ConnectorName;
use cofferdam_host::{Connector, LoadError};
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, Claim, Problem};
use super::folder::{self, Listing, Stamp};
use super::loader::{Loaded, Loader};
use super::tracker::{Looked, Moment, Tracker};
use super::watcher::Watcher;
use crate::app::App;
use crate::metrics::LoadResult;

/// Between two looks, however often the bell rings.
const LOOK_GAP: Duration = Duration::from_millis(100);

/// What could not be loaded for a reason that is not its own is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Keeps what is known of the folder true until the server stops.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    let mut keeper = Keeper::new(app);
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeper.run() => {}
    }
}

struct Keeper {
    app: App,
    loader: Arc<Loader>,
    tracker: Tracker,
    watcher: Watcher,
    /// What is published after each step that changed it.
    catalogue: Catalogue,
    loads: JoinSet<Loaded>,
    under_way: BTreeMap<String, UnderWay>,
    retries: BTreeMap<String, Instant>,
    /// Looks so far.
    looks: u64,
    /// Whether some file does not stand still yet.
    is_unsettled: bool,
    /// Whether another connector is there, or one is not any more, since the last time that everybody was told.
    moved: bool,
    /// A file is to be looked at once more, and soon.
    again: bool,
}

struct UnderWay {
    task: AbortHandle,
    stamp: Stamp,
    look: u64,
}

impl Keeper {
    fn new(app: App) -> Self {
        let plugins = &app.plugins;
        Self {
            loader: Arc::new(Loader::new(app.engine.clone(), plugins.dir(), plugins.compiles)),
            tracker: Tracker::new(plugins.config.settle),
            watcher: Watcher::default(),
            catalogue: Catalogue::default(),
            loads: JoinSet::new(),
            under_way: BTreeMap::new(),
            retries: BTreeMap::new(),
            looks: 0,
            is_unsettled: true,
            moved: false,
            again: false,
            app,
        }
    }

    async fn run(&mut self) {
        let mut look_at = self.look().await;
        let mut earliest = Instant::now() + LOOK_GAP;
        loop {
            // Cancel-safe: `changed`, `join_next_with_id` and `sleep_until` lose nothing when dropped.
            tokio::select! {
                () = self.watcher.changed(), if look_at > earliest => look_at = earliest,
                Some(ended) = self.loads.join_next_with_id() => {
                    self.loaded(ended);
                    self.publish();
                    if std::mem::take(&mut self.again) {
                        look_at = look_at.min(earliest);
                    }
                }
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
        let (dir, known) = (self.app.plugins.dir().to_owned(), self.tracker.known());
        self.watcher.follow(&dir);
        let listed = spawn_blocking(move || folder::list(&dir, &known)).await;
        let listed = listed.unwrap_or_else(|_panicked| Err(std::io::Error::other("looking at it failed")));
        let now = Instant::now();
        let scan_every = self.app.plugins.config.scan_every;
        let Listing { files, left_out } = match listed {
            Ok(listing) => listing,
            Err(error) => {
                // A disk that is away for a while is no reason to take every connector away.
                let reason = format!("cannot be looked at ({error}); what is loaded stays as it is");
                self.note_folder(Some(reason));
                self.publish();
                return now + scan_every;
            }
        };
        self.note_folder(left_out);
        self.retries.retain(|file, at| {
            let is_due = *at <= now;
            if is_due {
                self.tracker.again(file);
            }
            !is_due
        });
        let looked = self.tracker.look(files, Moment::now());
        let again_in = looked.again_in;
        self.is_unsettled = again_in.is_some();
        self.act(looked);
        self.read_through();
        self.publish();
        let retry_at = self.retries.values().min().copied();
        let next = again_in.map_or(scan_every, |again| again.min(scan_every));
        let next = retry_at.map_or(now + next, |retry| retry.min(now + next));
        if std::mem::take(&mut self.again) {
            return now + LOOK_GAP;
        }
        next.max(now + LOOK_GAP)
    }

    fn act(&mut self, looked: Looked) {
        for (file, stamp) in looked.take_up {
            self.begin(file, stamp);
        }
        for (file, reason) in looked.odd {
            self.stop_loading(&file);
            self.refused(&file, reason, None);
        }
        for file in looked.gone {
            self.gone(&file);
        }
    }

    /// Begins to load a file; what it was before is not loaded any more.
    fn begin(&mut self, file: String, stamp: Stamp) {
        self.stop_loading(&file);
        let present = self.app.plugins.catalogue();
        let load = Arc::clone(&self.loader).load(file.clone(), stamp, present);
        let task = self.loads.spawn(load);
        let look = self.looks;
        self.catalogue.loading.insert(file.clone());
        self.under_way.insert(file, UnderWay { task, stamp, look });
    }

    fn stop_loading(&mut self, file: &str) {
        self.retries.remove(file);
        self.catalogue.loading.remove(file);
        if let Some(under_way) = self.under_way.remove(file) {
            under_way.task.abort();
        }
    }

    fn loaded(&mut self, ended: Result<(tokio::task::Id, Loaded), JoinError>) {
        match ended {
            Ok((_, loaded)) => self.ended(loaded),
            Err(error) if error.is_cancelled() => {}
            Err(error) => self.broke_down(error.id()),
        }
        self.read_through();
    }

    fn ended(&mut self, loaded: Loaded) {
        let Loaded { file, stamp, made } = loaded;
        let Some(under_way) = self.under_way.get(&file).filter(|begun| begun.stamp == stamp) else {
            return;
        };
        let claim = (under_way.look, file.clone());
        self.stop_loading(&file);
        match made {
            Ok(connector) => self.provide(&file, claim, connector),
            Err(LoadError::Unfit(reason)) => self.refused(&file, reason, None),
            // Another look takes it up as it is then.
            Err(LoadError::NotNow(_)) if !self.tracker.is_still(&file, stamp) => {}
            Err(LoadError::NotNow(reason)) => self.not_now(&file, reason),
        }
    }

    /// A fault of ours while a file was loaded.
    fn broke_down(&mut self, task: tokio::task::Id) {
        let mut under_way = self.under_way.iter();
        let found = under_way.find(|(_, under_way)| under_way.task.id() == task);
        if let Some(file) = found.map(|(file, _)| file.clone()) {
            self.stop_loading(&file);
            self.not_now(&file, "loading it broke down".to_owned());
        }
    }

    /// Puts a connector on its shelf, or says who has it already.
    fn provide(&mut self, file: &str, claim: Claim, connector: Arc<Connector>) {
        let name = connector.descriptor.name.clone();
        if let Err(reason) = claims::check(&self.catalogue, &self.tracker, file, &claim, &connector) {
            self.refused(file, reason, Some(name));
            return;
        }
        let before = self.catalogue.provided_by(file).filter(|before| *before != name);
        self.catalogue.problems.remove(file);
        let (version, digest) = (&connector.descriptor.version, connector.digest);
        tracing::info!(%name, %version, digest = digest.short(), file, "connector loaded");
        self.app.metrics.count_load(LoadResult::Loaded);
        let ousted = claims::put(&mut self.catalogue, name, file, claim, connector);
        if let Some(file) = ousted {
            // It is still there, and says now who has its name.
            self.tracker.again(&file);
            self.again = true;
        }
        if let Some(before) = before {
            self.free(&before);
        }
        self.moved = true;
    }

    fn refused(&mut self, file: &str, reason: String, taken: Option<ConnectorName>) {
        tracing::warn!(file, reason, "a file in the plugins folder is not in use");
        self.app.metrics.count_load(LoadResult::Refused);
        self.catalogue
            .problems
            .insert(file.to_owned(), Problem { reason, taken });
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

    fn gone(&mut self, file: &str) {
        self.stop_loading(file);
        self.catalogue.problems.remove(file);
        if let Some(name) = self.catalogue.provided_by(file) {
            tracing::warn!(%name, file, "the file of a connector was removed; deliveries to its connections wait");
            self.free(&name);
        }
    }

    /// Takes a connector away; files that wait for its name are tried again.
    fn free(&mut self, name: &ConnectorName) {
        self.catalogue.shelves.remove(name);
        self.moved = true;
        for (file, problem) in &self.catalogue.problems {
            if problem.taken.as_ref() == Some(name) {
                self.tracker.again(file);
            }
        }
        self.again = true;
    }

    fn note_folder(&mut self, reason: Option<String>) {
        if let Some(reason) = reason
            .as_ref()
            .filter(|reason| self.catalogue.folder.as_ref() != Some(reason))
        {
            tracing::warn!(folder = %self.app.plugins.dir().display(), reason, "the plugins folder is not looked at as a whole");
        }
        self.catalogue.folder = reason;
    }

    /// Everybody sees what is known now, and lanes look whether they can go on.
    fn publish(&mut self) {
        self.app.plugins.publish(self.catalogue.clone());
        if std::mem::take(&mut self.moved) {
            let connectors = i64::try_from(self.catalogue.shelves.len()).unwrap_or(i64::MAX);
            self.app.metrics.connectors.set(connectors);
            self.app.connections.wake();
        }
    }

    /// Says once that everything has been dealt with that was there at the start.
    fn read_through(&mut self) {
        if !self.catalogue.is_read && !self.is_unsettled && self.under_way.is_empty() {
            self.catalogue.is_read = true;
            let (connectors, problems) = (self.catalogue.shelves.len(), self.catalogue.problems.len());
            tracing::info!(connectors, problems, "the plugins folder was read");
        }
    }
}
