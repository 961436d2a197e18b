//! Changes of shelves: each durable before it is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use cofferdam_domain::grant::Asks;
use cofferdam_domain::limits::one_line;
use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_host::Connector;
use cofferdam_store::Batch;
use tokio::task::spawn_blocking;

use super::super::catalogue::{Claim, Shelf};
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
        let at = Instant::now();
        for record in records.into_iter().map(ShelfRecord::at_start) {
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
            self.to_remove.insert(connector.digest);
            return;
        }
        if !self.has_room(&name) {
            self.not_now(
                file,
                format!("is one more than the {SHELVES_MAX} connectors that are remembered"),
            );
            self.to_remove.insert(connector.digest);
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
        let needed = self.needed(&offering);
        let versions_kept = self.app.plugins.config.versions_kept;
        let (mut after, mut gone) = offering.within(versions_kept, |digest| needed.contains(&digest));
        let is_new = before.offered != after.offered || before.file != after.file || before.versions != after.versions;
        if is_new {
            let Some(within) = self.within_bytes(after, gone).await else {
                let bytes_max = self.app.plugins.config.versions_bytes;
                let reason = format!(
                    "cannot be kept: with it the versions that are needed take more than the {bytes_max} bytes of \
                     plugins.versions_bytes"
                );
                self.not_now(file, reason);
                self.to_remove.insert(connector.digest);
                return;
            };
            (after, gone) = within;
            let mut batch = Batch::new();
            self.tell(&mut batch, &before, &after);
            self.commit_with(&mut batch, &after);
            if !self.make_room(&name).await || !self.write(batch, &after).await {
                self.not_now(file, "its record could not be made durable".to_owned());
                return;
            }
            self.to_remove.extend(gone);
        }
        self.show(&connector, file, before.offered);
        self.catalogue.problems.remove(file);
        let others = self.catalogue.shelves.values().map(|shelf| &shelf.record);
        let others = others.filter(|record| record.file.as_deref() == Some(file) && record.name != name);
        let provided: Vec<ConnectorName> = others.map(|record| record.name.clone()).collect();
        self.leaving.remove(&name);
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
        for previous in provided {
            self.leaves(previous, file);
        }
    }

    /// Its file holds another connector now. That is a removal: it goes unless another file comes in time, and until then that
    /// file may have its name.
    fn leaves(&mut self, name: ConnectorName, file: &str) {
        tracing::warn!(
            %name,
            file,
            "the file of a connector holds another connector now; if no other file brings it, deliveries to its connections wait"
        );
        if let Some(shelf) = self.catalogue.shelves.get_mut(&name) {
            Arc::make_mut(&mut shelf.record).file = None;
        }
        self.leaving
            .insert(name, Instant::now() + self.app.plugins.config.settle);
        self.again = true;
    }

    /// Connectors whose time has come that [`Keeper::leaves`] gave them.
    pub(super) async fn gone_with_their_files(&mut self, now: Instant) {
        let due: Vec<ConnectorName> = self
            .leaving
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.leaving.remove(&name);
            tracing::warn!(%name, "the file of a connector was replaced by another connector; deliveries to its connections wait");
            self.free(&name).await;
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
            let after = shelf.record.without_file(now());
            // If that fails the next start finds by itself that the file has gone.
            _ = self.commit(&after).await;
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

    /// Makes a change durable.
    pub(super) async fn commit(&self, record: &ShelfRecord) -> bool {
        let mut batch = Batch::new();
        self.commit_with(&mut batch, record);
        self.write(batch, record).await
    }

    pub(super) fn commit_with(&self, batch: &mut Batch, record: &ShelfRecord) {
        record::put(batch, record);
    }

    pub(super) async fn write(&self, batch: Batch, record: &ShelfRecord) -> bool {
        if let Err(error) = self.app.store.commit(batch).await {
            tracing::error!(name = %record.name, error = chain(&error), "a change of a connector could not be made durable");
            return false;
        }
        true
    }

    /// Removes the bytes of what is no longer kept, and of what came to nothing, so that files which are refused fill nothing. Not
    /// while a file is being loaded: it may hold the same, and have found its bytes kept already.
    pub(super) async fn remove_bytes(&mut self) {
        if self.to_remove.is_empty() || !self.files.is_empty() {
            return;
        }
        let mut digests: Vec<Digest> = std::mem::take(&mut self.to_remove).into_iter().collect();
        let shelves = &self.catalogue.shelves;
        digests.retain(|digest| !shelves.values().any(|shelf| shelf.record.version(*digest).is_some()));
        let versions = self.loader.versions().clone();
        // What is left is removed at the next start.
        _ = spawn_blocking(move || versions.remove(&digests)).await;
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
