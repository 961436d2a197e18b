//! Loads under way: of files, and of versions that are kept and are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::{Connector, LoadError};
use tokio::task::{AbortHandle, Id, JoinError};

use super::super::choice::at_hand;
use super::super::folder::Stamps;
use super::super::loader::{Job, Made};
use super::super::record::VersionRecord;
use super::{Keeper, RETRY_AFTER, Wanted};

/// A load that has come to its end.
pub(super) enum Load {
    File {
        job: Job,
        made: Made,
    },
    Kept {
        name: ConnectorName,
        digest: Digest,
        made: Result<Arc<Connector>, LoadError>,
    },
}

/// A file that is being loaded.
pub(super) struct UnderWay {
    task: AbortHandle,
    job: Job,
    /// At which look it was taken up.
    look: u64,
    /// It has to be compiled.
    is_slow: bool,
}

impl Keeper {
    /// Begins to load a file; what it was before is not loaded any more.
    pub(super) fn begin(&mut self, file: String, stamps: Stamps) {
        self.stop_loading(&file);
        let provides = self.catalogue.provided_by(&file);
        let job = Job {
            file: file.clone(),
            stamps,
            provides,
        };
        let (loader, begun, present) = (Arc::clone(&self.loader), job.clone(), Arc::new(self.catalogue.clone()));
        let task = self.loads.spawn(async move {
            let made = loader.quickly(begun.clone(), present).await;
            Load::File { job: begun, made }
        });
        self.catalogue.loading.insert(file.clone());
        let look = self.looks;
        self.files.insert(
            file,
            UnderWay {
                task,
                job,
                look,
                is_slow: false,
            },
        );
    }

    pub(super) fn stop_loading(&mut self, file: &str) {
        self.retries.remove(file);
        self.catalogue.loading.remove(file);
        if let Some(under_way) = self.files.remove(file) {
            under_way.task.abort();
        }
    }

    pub(super) async fn ended(&mut self, ended: Result<(Id, Load), JoinError>) {
        match ended {
            Ok((_, Load::File { job, made })) => self.file_ended(job, made).await,
            Ok((_, Load::Kept { name, digest, made })) => self.kept_ended(&name, digest, made),
            Err(error) if error.is_cancelled() => {}
            Err(error) => self.broke_down(error.id()),
        }
        self.read_through();
    }

    async fn file_ended(&mut self, job: Job, made: Made) {
        let Some(under_way) = self.files.get_mut(&job.file) else {
            return;
        };
        if under_way.job.stamps != job.stamps {
            return;
        }
        let look = under_way.look;
        let file = job.file.clone();
        let made = match made {
            Made::ToCompile(digest) => {
                under_way.is_slow = true;
                let loader = Arc::clone(&self.loader);
                under_way.task = self.loads.spawn(async move {
                    let made = loader.slowly(job.clone(), digest).await;
                    Load::File { job, made }
                });
                return;
            }
            Made::Ready(ready) => Ok(ready),
            Made::Not(error) => Err(error),
        };
        self.stop_loading(&file);
        match made {
            Ok(ready) => self.provide(&file, (look, file.clone()), ready).await,
            Err(LoadError::Unfit(reason)) => self.refused(&file, reason, None),
            // Another look takes it up as it is then.
            Err(LoadError::NotNow(_)) if !self.tracker.is_still(&file, job.stamps) => self.again = true,
            Err(LoadError::NotNow(reason)) => self.not_now(&file, reason),
        }
    }

    fn kept_ended(&mut self, name: &ConnectorName, digest: Digest, made: Result<Arc<Connector>, LoadError>) {
        let waiting = self
            .kept
            .remove(&digest)
            .map(|(_, waiting)| waiting)
            .unwrap_or_default();
        let answer = match made {
            Ok(connector) => {
                if let Some(shelf) = self.catalogue.shelves.get_mut(name) {
                    shelf.loaded.entry(digest).or_insert_with(|| Arc::clone(&connector));
                    self.moved = true;
                }
                Ok(connector)
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(%name, digest = digest.short(), reason, "a kept version of a connector cannot be loaded");
                match error {
                    LoadError::Unfit(_) => self.unusable(name, digest, &reason),
                    LoadError::NotNow(_) => {
                        self.kept_retries.insert(digest, Instant::now() + RETRY_AFTER);
                    }
                }
                Err(reason)
            }
        };
        for wanted in waiting {
            // Whoever has gone does not wait any more.
            _ = wanted.send(answer.clone());
        }
    }

    /// A fault of ours while a file was loaded.
    fn broke_down(&mut self, task: Id) {
        let mut files = self.files.iter();
        let found = files.find(|(_, under_way)| under_way.task.id() == task);
        if let Some(file) = found.map(|(file, _)| file.clone()) {
            self.stop_loading(&file);
            self.not_now(&file, "loading it broke down".to_owned());
        }
        let mut kept = self.kept.iter();
        let found = kept.find(|(_, (id, _))| *id == task).map(|(digest, _)| *digest);
        if let Some(digest) = found {
            // Who waits for it hears that nobody answers.
            self.kept.remove(&digest);
            self.kept_retries.insert(digest, Instant::now() + RETRY_AFTER);
        }
    }

    /// Begins to load a version that is kept, unless that is under way.
    pub(super) fn want(&mut self, name: &ConnectorName, version: VersionRecord, waiting: Option<Wanted>) {
        let digest = version.digest;
        if let Some((_, waiting_too)) = self.kept.get_mut(&digest) {
            waiting_too.extend(waiting);
            return;
        }
        let (loader, name) = (Arc::clone(&self.loader), name.clone());
        let task = self.loads.spawn(async move {
            let made = loader.kept(name.clone(), version).await;
            Load::Kept { name, digest, made }
        });
        self.kept.insert(digest, (task.id(), waiting.into_iter().collect()));
    }

    /// Loads what some connection runs and is not loaded, and lets go of what none runs.
    pub(super) fn load_what_is_wanted(&mut self) {
        let mut runs: BTreeMap<ConnectorName, BTreeSet<Digest>> = BTreeMap::new();
        let plugins = &self.app.plugins;
        for connection in self.app.connections.all() {
            let name = &connection.spec.connector;
            if let Some(shelf) = self.catalogue.get(name) {
                let standing = plugins.standings.of(&connection);
                // And what it would go back to, so that going back is no wait.
                let needed = at_hand(&shelf.record, &connection, &standing, plugins.config.updates);
                runs.entry(name.clone()).or_default().extend(needed);
            }
        }
        let mut missing = Vec::new();
        for (name, shelf) in &mut self.catalogue.shelves {
            let mut wanted = runs.remove(name).unwrap_or_default();
            wanted.extend(shelf.record.current());
            shelf.loaded.retain(|digest, _| wanted.contains(digest));
            // Its file is about to say what it holds.
            let is_near = shelf.record.file.as_deref().is_some_and(|file| {
                self.tracker.is_missing(file) || self.files.get(file).is_some_and(|under_way| !under_way.is_slow)
            });
            if is_near {
                continue;
            }
            let not_loaded = wanted.into_iter().filter(|digest| !shelf.loaded.contains_key(digest));
            missing.extend(not_loaded.filter_map(|digest| Some((name.clone(), shelf.record.version(digest)?.clone()))));
        }
        for (name, version) in missing {
            let is_hopeless = version.unusable.is_some() || self.kept_retries.contains_key(&version.digest);
            if !is_hopeless && !self.kept.contains_key(&version.digest) {
                self.want(&name, version, None);
            }
        }
    }
}
