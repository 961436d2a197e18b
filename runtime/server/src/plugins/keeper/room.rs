//! Room for versions that are kept: by count of names, and by bytes in all. What no connection names goes first, the one whose
//! file has been gone for longest; then the oldest of what nobody runs, was granted last, or falls back on. Nothing goes for a file
//! that does not fit even so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam_domain::{ConnectorName, Digest, Timestamp};
use cofferdam_store::Batch;

use super::super::choice::at_hand;
use super::super::record::{self, SHELVES_MAX, ShelfRecord};
use super::Keeper;

/// A version that nobody needs.
struct Unneeded {
    first_seen: Timestamp,
    of: ConnectorName,
    bytes: u64,
}

/// What goes so that something else fits.
#[derive(Debug, Default, PartialEq, Eq)]
struct Going {
    /// Connectors, with all their versions.
    idle: Vec<ConnectorName>,
    /// Of other connectors so many versions, the oldest that nobody needs.
    versions: BTreeMap<ConnectorName, usize>,
}

impl Keeper {
    /// Whether there is room for this name, or can be made.
    pub(super) fn has_room(&self, name: &ConnectorName) -> bool {
        self.is_within_names(name) || !self.idle().is_empty()
    }

    /// Room for this name.
    pub(super) async fn make_room(&mut self, name: &ConnectorName) -> bool {
        if self.is_within_names(name) {
            return true;
        }
        match self.idle().first() {
            Some(record) => self.forget(record).await,
            None => false,
        }
    }

    fn is_within_names(&self, name: &ConnectorName) -> bool {
        self.catalogue.shelves.contains_key(name) || self.catalogue.shelves.len() < SHELVES_MAX
    }

    /// This record within the bytes that may be kept in all, with what of it is not kept any more; none if everything else that
    /// is kept is needed.
    pub(super) async fn within_bytes(
        &mut self,
        record: ShelfRecord,
        mut gone: Vec<Digest>,
    ) -> Option<(ShelfRecord, Vec<Digest>)> {
        let kept = self.bytes_beside(&record.name) + record.bytes();
        let over = kept.saturating_sub(self.app.plugins.config.versions_bytes);
        if over == 0 {
            return Some((record, gone));
        }
        let mut idle = self.idle();
        idle.retain(|other| other.name != record.name);
        let names: BTreeSet<&ConnectorName> = idle.iter().map(|record| &record.name).collect();
        let others = self.catalogue.shelves.values().map(|shelf| &*shelf.record);
        let others = others.filter(|other| other.name != record.name && !names.contains(&other.name));
        let unneeded = others.chain([&record]).flat_map(|record| self.unneeded(record));
        let going = going(over, &idle, unneeded.collect())?;
        for record in &idle {
            if going.idle.contains(&record.name) && !self.forget(record).await {
                return None;
            }
        }
        for (name, count) in &going.versions {
            if *name != record.name && !self.forget_oldest(name, *count).await {
                return None;
            }
        }
        let own = going.versions.get(&record.name).copied().unwrap_or_default();
        let (record, more) = self.without_oldest(&record, own);
        gone.extend(more);
        Some((record, gone))
    }

    /// The versions that some connection has to have at hand: with the connector as it is, or as it is once nobody holds back what
    /// its file holds.
    pub(super) fn needed(&self, shelf: &ShelfRecord) -> BTreeSet<Digest> {
        let plugins = &self.app.plugins;
        let released = shelf.held.is_some().then(|| shelf.released(shelf.updated_at));
        let mut needed = BTreeSet::new();
        for connection in self.app.connections.all() {
            if connection.spec.connector == shelf.name {
                let standing = plugins.standings.of(&connection);
                for shelf in [Some(shelf), released.as_ref()].into_iter().flatten() {
                    needed.extend(at_hand(shelf, &connection, &standing, plugins.config.updates));
                }
            }
        }
        needed
    }

    /// What the other shelves take.
    fn bytes_beside(&self, name: &ConnectorName) -> u64 {
        let others = self.catalogue.shelves.values();
        others
            .filter(|shelf| shelf.record.name != *name)
            .map(|shelf| shelf.record.bytes())
            .sum()
    }

    /// Connectors whose file has gone and that no connection names, the one for longest first.
    fn idle(&self) -> Vec<Arc<ShelfRecord>> {
        let all = self.app.connections.all();
        let named: BTreeSet<&ConnectorName> = all.iter().map(|connection| &connection.spec.connector).collect();
        let shelves = self.catalogue.shelves.values().map(|shelf| &shelf.record);
        let idle = shelves.filter(|record| record.current().is_none() && !named.contains(&record.name));
        let mut idle: Vec<_> = idle.cloned().collect();
        idle.sort_by_key(|record| record.updated_at);
        idle
    }

    /// The versions that nobody has to have at hand, the one that was offered least lately first.
    fn unneeded(&self, shelf: &ShelfRecord) -> Vec<Unneeded> {
        let (_, gone) = self.without_oldest(shelf, shelf.versions.len());
        let versions = gone.into_iter().filter_map(|digest| shelf.version(digest));
        versions
            .map(|version| Unneeded {
                first_seen: version.first_seen,
                of: shelf.name.clone(),
                bytes: version.bytes,
            })
            .collect()
    }

    /// Without so many of the oldest that nobody has to have at hand.
    fn without_oldest(&self, shelf: &ShelfRecord, count: usize) -> (ShelfRecord, Vec<Digest>) {
        if count == 0 {
            return (shelf.clone(), Vec::new());
        }
        let needed = self.needed(shelf);
        let left = shelf.versions.len().saturating_sub(count);
        shelf.within(left, |digest| needed.contains(&digest))
    }

    /// Forgets a connector with all its versions.
    async fn forget(&mut self, record: &ShelfRecord) -> bool {
        let mut batch = Batch::new();
        record::delete(&mut batch, &record.name);
        let is_gone = self.write(batch, record).await;
        if is_gone {
            self.catalogue.shelves.remove(&record.name);
            let versions = record.versions.iter();
            self.to_remove.extend(versions.map(|version| version.digest));
        }
        is_gone
    }

    /// Forgets so many of the oldest versions of a connector that nobody has to have at hand.
    async fn forget_oldest(&mut self, name: &ConnectorName, count: usize) -> bool {
        let Some(shelf) = self.catalogue.shelves.get(name) else {
            return true;
        };
        let (next, gone) = self.without_oldest(&shelf.record, count);
        let is_gone = self.commit(&next).await;
        if is_gone {
            self.replace(next);
            self.to_remove.extend(gone);
        }
        is_gone
    }
}

/// What goes for so many bytes: `idle` in its order, and then the oldest versions, whichever connector they are of. None if all of
/// it is too little: then nothing goes.
fn going(bytes: u64, idle: &[Arc<ShelfRecord>], mut unneeded: Vec<Unneeded>) -> Option<Going> {
    let (mut going, mut freed) = (Going::default(), 0);
    for record in idle {
        if freed >= bytes {
            return Some(going);
        }
        freed += record.bytes();
        going.idle.push(record.name.clone());
    }
    // One that was offered anew is not older than those before it in its list: they go first.
    let mut latest: BTreeMap<ConnectorName, Timestamp> = BTreeMap::new();
    for version in &mut unneeded {
        let latest = latest.entry(version.of.clone()).or_insert(version.first_seen);
        *latest = version.first_seen.max(*latest);
        version.first_seen = *latest;
    }
    unneeded.sort_by_key(|version| version.first_seen);
    for version in unneeded {
        if freed >= bytes {
            break;
        }
        freed += version.bytes;
        *going.versions.entry(version.of).or_default() += 1;
    }
    (freed >= bytes).then_some(going)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ConnectorName {
        text.parse().unwrap()
    }

    /// A connector of which versions of so many bytes are kept.
    fn idle(text: &str, bytes: &[u64]) -> Arc<ShelfRecord> {
        let versions = bytes.iter().map(|bytes| {
            serde_json::json!({
                "digest": Digest::of(&bytes.to_be_bytes()), "version": "1.0.0", "bytes": bytes, "first_seen": 0,
                "file": "a.wasm", "exports": cofferdam_host::Exports::default(),
                "asks": cofferdam_domain::grant::Asks::default()
            })
        });
        Arc::new(ShelfRecord {
            name: name(text),
            file: None,
            offered: None,
            held: None,
            versions: versions
                .map(|version| serde_json::from_value(version).unwrap())
                .collect(),
            updated_at: Timestamp::from_millis(0),
        })
    }

    fn unneeded(of: &str, first_seen_ms: u64, bytes: u64) -> Unneeded {
        Unneeded {
            first_seen: Timestamp::from_millis(first_seen_ms),
            of: name(of),
            bytes,
        }
    }

    #[test]
    fn idle_connectors_go_first_then_the_oldest_versions_of_all_and_nothing_if_that_is_too_little() {
        let idle = [idle("gone", &[10, 20]), idle("left", &[30])];
        let versions = || {
            vec![
                unneeded("a", 5, 1),
                // Offered anew after the one before.
                unneeded("a", 2, 1),
                unneeded("b", 3, 1),
                unneeded("b", 7, 1),
            ]
        };
        for (bytes, expected) in [
            (1, Some((1, vec![]))),
            (30, Some((1, vec![]))),
            (31, Some((2, vec![]))),
            (61, Some((2, vec![("b", 1)]))),
            (62, Some((2, vec![("a", 1), ("b", 1)]))),
            (63, Some((2, vec![("a", 2), ("b", 1)]))),
            (64, Some((2, vec![("a", 2), ("b", 2)]))),
            (65, None),
        ] {
            let expected = expected.map(|(count, versions)| Going {
                idle: idle[..count].iter().map(|record| record.name.clone()).collect(),
                versions: versions.into_iter().map(|(of, count)| (name(of), count)).collect(),
            });
            assert_eq!(going(bytes, &idle, versions()), expected, "{bytes}");
        }
    }
}
