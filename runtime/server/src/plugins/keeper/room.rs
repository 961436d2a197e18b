//! Room for versions that are kept: by count of names, and by bytes in all. What no connection names goes first, the one whose
//! file has been gone for longest; then the oldest of what nobody runs, was granted last, or falls back on.

use std::collections::BTreeSet;
use std::sync::Arc;

use cofferdam_domain::{ConnectorName, Digest};
use cofferdam_store::Batch;

use super::super::choice::at_hand;
use super::super::record::{self, SHELVES_MAX, ShelfRecord};
use super::Keeper;

impl Keeper {
    /// Room for one more name.
    pub(super) async fn make_room(&mut self) -> bool {
        self.catalogue.shelves.len() < SHELVES_MAX || self.forget_idle().await
    }

    /// This record within the bytes that may be kept in all, with what of it is not kept any more; none if everything else that
    /// is kept is needed.
    pub(super) async fn within_bytes(
        &mut self,
        mut record: ShelfRecord,
        mut gone: Vec<Digest>,
    ) -> Option<(ShelfRecord, Vec<Digest>)> {
        let bytes_max = self.app.plugins.config.versions_bytes;
        while self.bytes_beside(&record.name) + record.bytes() > bytes_max {
            if self.forget_idle().await || self.forget_unused(&record.name).await {
                continue;
            }
            let fewer = record.versions.len().saturating_sub(1);
            let (next, more) = record.within(fewer, |digest| self.is_in_use(&record, digest));
            if more.is_empty() {
                return None;
            }
            gone.extend(more);
            record = next;
        }
        Some((record, gone))
    }

    /// Whether some connection has to have this version at hand: with the connector as it is, or as it is once nobody holds back
    /// what its file holds.
    pub(super) fn is_in_use(&self, shelf: &ShelfRecord, digest: Digest) -> bool {
        let plugins = &self.app.plugins;
        let released = shelf.held.is_some().then(|| shelf.released(shelf.updated_at));
        self.app.connections.all().iter().any(|connection| {
            let standing = plugins.standings.of(connection);
            connection.spec.connector == shelf.name
                && [Some(shelf), released.as_ref()].into_iter().flatten().any(|shelf| {
                    at_hand(shelf, connection, &standing, plugins.config.updates).any(|needed| needed == digest)
                })
        })
    }

    /// What the other shelves take.
    fn bytes_beside(&self, name: &ConnectorName) -> u64 {
        let others = self.catalogue.shelves.values();
        others
            .filter(|shelf| shelf.record.name != *name)
            .map(|shelf| shelf.record.bytes())
            .sum()
    }

    /// Forgets a connector whose file has gone and that no connection names, the one for longest first.
    async fn forget_idle(&mut self) -> bool {
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

    /// Forgets the oldest version of another connector that nobody has to have at hand.
    async fn forget_unused(&mut self, beside: &ConnectorName) -> bool {
        let others = self.catalogue.shelves.values().map(|shelf| &shelf.record);
        let mut oldest = None;
        for record in others.filter(|record| record.name != *beside) {
            let fewer = record.versions.len().saturating_sub(1);
            let (next, gone) = record.within(fewer, |digest| self.is_in_use(record, digest));
            let first_seen = gone.first().and_then(|gone| record.version(*gone));
            let Some(first_seen) = first_seen.map(|version| version.first_seen) else {
                continue;
            };
            if oldest.as_ref().is_none_or(|(seen, _, _)| first_seen < *seen) {
                oldest = Some((first_seen, next, gone));
            }
        }
        let Some((_, next, gone)) = oldest else {
            return false;
        };
        let is_gone = self.commit(&next, &gone).await;
        if is_gone {
            self.replace(next);
        }
        is_gone
    }
}
