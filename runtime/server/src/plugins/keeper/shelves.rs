//! Changes of shelves: each durable before it is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam_domain::grant::Asks;
use cofferdam_domain::limits::one_line;
use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::Connector;
use cofferdam_store::Batch;
use tokio::task::spawn_blocking;

use super::super::catalogue::{Claim, Shelf};
use super::super::choice::choose;
use super::super::loader::Ready;
use super::super::record::{self, REASON_BYTES_MAX, SHELVES_MAX, ShelfRecord, VersionRecord};
use super::{Keeper, claims};
use crate::clock::now;
use crate::metrics::LoadResult;
use crate::problem::chain;

/// The claim of a file that provided its connector before the server started.
const EARLIER: u64 = 0;

impl Keeper {
    /// What was known when the server stopped. Nothing runs by it before the folder was looked at.
    pub(super) async fn remember(&mut self) {
        let records = match record::read_all(&self.app.store) {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(error = chain(&error), "what was kept of connectors cannot be read");
                return;
            }
        };
        let kept: BTreeSet<Digest> = records
            .iter()
            .flat_map(|record| record.versions.iter().map(|version| version.digest))
            .collect();
        let versions = self.loader.versions().clone();
        let swept = spawn_blocking(move || versions.keep_only(&kept)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "what is not kept any more could not be removed");
        }
        let at = std::time::Instant::now();
        for record in records {
            let file = record.file.clone().unwrap_or_default();
            if let Some(file) = &record.file {
                self.tracker.expect(file.clone(), at);
            }
            let shelf = Shelf {
                claim: (EARLIER, file),
                loaded: BTreeMap::new(),
                record: Arc::new(record),
            };
            self.catalogue.shelves.insert(shelf.record.name.clone(), shelf);
        }
    }

    /// Puts a connector on its shelf, or says who has it already.
    pub(super) async fn provide(&mut self, file: &str, claim: Claim, ready: Ready) {
        let Ready {
            connector,
            signature,
            signer,
        } = ready;
        let name = connector.descriptor.name.clone();
        if let Err(reason) = claims::check(&self.catalogue, &self.tracker, file, &claim, &connector) {
            self.refused(file, reason, Some(name));
            self.let_go(connector.digest).await;
            return;
        }
        if !self.catalogue.shelves.contains_key(&name) && !self.make_room().await {
            self.not_now(
                file,
                format!("is one more than the {SHELVES_MAX} connectors that are remembered"),
            );
            self.let_go(connector.digest).await;
            return;
        }
        let present = self.catalogue.shelves.get(&name);
        let before = present.map_or_else(|| empty(&name), |shelf| ShelfRecord::clone(&shelf.record));
        let ousted = before.file.clone().filter(|other| other.as_str() != file);
        // A file that is replaced stays the one that came first.
        let claim = match present {
            Some(shelf) if before.file.as_deref() == Some(file) => shelf.claim.clone(),
            Some(_) | None => claim,
        };
        let version = VersionRecord {
            digest: connector.digest,
            version: connector.descriptor.version.to_string(),
            bytes: connector.bytes,
            first_seen: now(),
            file: file.to_owned(),
            exports: connector.exports,
            asks: Asks::of(&connector.descriptor),
            signature,
            signer,
            unusable: None,
        };
        let offering = before.offering(file, version, now());
        let (after, gone) = offering.within(self.app.plugins.config.versions_kept, |digest| {
            self.is_in_use(&offering, digest)
        });
        let is_new = before.offered != after.offered || before.file != after.file || before.versions != after.versions;
        if is_new && !self.commit(&after, &gone).await {
            self.not_now(file, "its record could not be made durable".to_owned());
            return;
        }
        self.show(&connector, file, before.offered);
        self.catalogue.problems.remove(file);
        let previous = self.catalogue.provided_by(file).filter(|previous| *previous != name);
        let shelf = self.catalogue.shelves.entry(name).or_insert_with(|| Shelf {
            record: Arc::new(before),
            claim: claim.clone(),
            loaded: BTreeMap::new(),
        });
        shelf.record = Arc::new(if is_new {
            after
        } else {
            ShelfRecord::clone(&shelf.record)
        });
        shelf.claim = claim;
        shelf.loaded.insert(connector.digest, connector);
        self.moved = true;
        if let Some(other) = ousted {
            // If it is still there, it says now who has its name.
            self.tracker.again(&other);
            self.again = true;
        }
        if let Some(previous) = previous {
            self.free(&previous).await;
        }
    }

    fn show(&self, connector: &Connector, file: &str, before: Option<Digest>) {
        self.app.metrics.count_load(LoadResult::Loaded);
        let (name, version, digest) = (
            &connector.descriptor.name,
            &connector.descriptor.version,
            connector.digest,
        );
        match before.filter(|before| *before != digest) {
            Some(before) => {
                tracing::info!(%name, %version, digest = digest.short(), before = before.short(), file, "another version of a connector is there");
            }
            None => tracing::info!(%name, %version, digest = digest.short(), file, "connector loaded"),
        }
    }

    /// Its file has gone. Files that wait for its name are tried again.
    pub(super) async fn free(&mut self, name: &ConnectorName) {
        if let Some(shelf) = self.catalogue.shelves.get(name) {
            let mut after = ShelfRecord::clone(&shelf.record);
            (after.file, after.offered, after.updated_at) = (None, None, now());
            // If that fails the next start finds by itself that the file has gone.
            _ = self.commit(&after, &[]).await;
            self.replace(after);
        }
        for (file, problem) in &self.catalogue.problems {
            if problem.taken.as_ref() == Some(name) {
                self.tracker.again(file);
            }
        }
        self.again = true;
    }

    /// What everybody sees from now on.
    pub(super) fn replace(&mut self, record: ShelfRecord) {
        if let Some(shelf) = self.catalogue.shelves.get_mut(&record.name) {
            shelf.record = Arc::new(record);
            self.moved = true;
        }
    }

    /// A version that cannot be loaded any more is not chosen any more, in this process.
    pub(super) fn unusable(&mut self, name: &ConnectorName, digest: Digest, reason: &str) {
        let Some(shelf) = self.catalogue.shelves.get(name) else {
            return;
        };
        let mut record = ShelfRecord::clone(&shelf.record);
        for version in &mut record.versions {
            if version.digest == digest {
                version.unusable = Some(one_line(reason, REASON_BYTES_MAX));
            }
        }
        self.replace(record);
    }

    /// Makes a change durable; and then removes the bytes of what is no longer kept.
    pub(super) async fn commit(&self, record: &ShelfRecord, gone: &[Digest]) -> bool {
        let mut batch = Batch::new();
        self.commit_with(&mut batch, record);
        self.write(batch, record, gone).await
    }

    pub(super) fn commit_with(&self, batch: &mut Batch, record: &ShelfRecord) {
        record::put(batch, record);
    }

    pub(super) async fn write(&self, batch: Batch, record: &ShelfRecord, gone: &[Digest]) -> bool {
        if let Err(error) = self.app.store.commit(batch).await {
            tracing::error!(name = %record.name, error = chain(&error), "a change of a connector could not be made durable");
            return false;
        }
        if !gone.is_empty() {
            let (versions, gone) = (self.loader.versions().clone(), gone.to_vec());
            // What is left is removed at the next start.
            _ = spawn_blocking(move || versions.remove(&gone)).await;
        }
        true
    }

    /// Removes the bytes of a version that came to nothing, so that files which are refused fill nothing.
    async fn let_go(&self, digest: Digest) {
        let mut shelves = self.catalogue.shelves.values();
        if shelves.any(|shelf| shelf.record.version(digest).is_some()) {
            return;
        }
        let versions = self.loader.versions().clone();
        // What is left is removed at the next start.
        _ = spawn_blocking(move || versions.remove(&[digest])).await;
    }

    /// Whether some connection runs it, was granted it last, or has it to fall back on.
    fn is_in_use(&self, shelf: &ShelfRecord, digest: Digest) -> bool {
        let plugins = &self.app.plugins;
        self.app.connections.all().iter().any(|connection| {
            let standing = plugins.standings.of(connection);
            connection.spec.connector == shelf.name
                && (connection.granted == Some(digest)
                    || standing.good.first() == Some(&digest)
                    || choose(shelf, connection, &standing, plugins.config.updates).runs == Some(digest))
        })
    }

    /// Forgets a connector whose file has gone and that no connection names, the one for longest first, if there are too many.
    async fn make_room(&mut self) -> bool {
        if self.catalogue.shelves.len() < SHELVES_MAX {
            return true;
        }
        let named: BTreeSet<ConnectorName> = self
            .app
            .connections
            .all()
            .iter()
            .map(|connection| connection.spec.connector.clone())
            .collect();
        let idle = self
            .catalogue
            .shelves
            .values()
            .filter(|shelf| shelf.record.current().is_none() && !named.contains(&shelf.record.name));
        let Some(record) = idle
            .min_by_key(|shelf| shelf.record.updated_at)
            .map(|shelf| Arc::clone(&shelf.record))
        else {
            return false;
        };
        let mut batch = Batch::new();
        record::delete(&mut batch, &record.name);
        let gone: Vec<Digest> = record.versions.iter().map(|version| version.digest).collect();
        let is_gone = self.write(batch, &record, &gone).await;
        if is_gone {
            self.catalogue.shelves.remove(&record.name);
        }
        is_gone
    }
}

fn empty(name: &ConnectorName) -> ShelfRecord {
    ShelfRecord {
        name: name.clone(),
        file: None,
        offered: None,
        held: None,
        versions: Vec::new(),
        updated_at: now(),
    }
}
