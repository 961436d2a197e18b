//! Who decided what about which version, and when: grants, refusals, rollbacks, quarantines, and what began to run by itself. Each
//! is written in the batch of the change that it tells of. There are at most [`DECISIONS_MAX`] of a workspace; the oldest go first.
//! Of those at most [`BEGAN_MAX`] say that a version began to run by itself: whoever can write to the folder can make as many as
//! they like, and must not thereby push out what people have decided.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_domain::limits::one_line;
use cofferdam_domain::{ConnectionName, ConnectorName, Digest, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key, KeyReader, Keyspace, Scan, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::record::REASON_BYTES_MAX;
use crate::clock::now;

/// Most decisions of one workspace that are kept.
const DECISIONS_MAX: usize = 5_000;

/// Most of them that say that a version began to run by itself.
const BEGAN_MAX: usize = 1_000;

/// Most decisions that one listing answers with.
pub(crate) const DECISIONS_LISTED_MAX: usize = 500;

/// Read at once, at the start.
const PAGE: usize = 1_000;

/// Most lines of a difference that are kept, or shown.
const DIFFERENCE_MAX: usize = 64;

/// Who decides what no person does.
pub(super) const THE_HOST: &str = "the host";

/// Decisions in one millisecond, before the next one has to be borrowed from.
const IDS_PER_MS_BITS: u32 = 16;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// A person lets a connection run this version, with all that it asks for.
    Granted,
    /// A person does not.
    Refused,
    /// A person has a connector run an earlier version.
    RolledBack,
    /// A person ends a rollback, or another file did.
    Released,
    /// The host took a version away from a connection that it kept faulting for.
    Quarantined,
    /// The host has a connection run this version, which nobody had to grant or which was granted earlier.
    Began,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: DecisionKind,
    /// Who: the name of a token, or `the host`.
    pub by: String,
    /// Of which connector.
    pub connector: ConnectorName,
    /// For which connection; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// Which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What it asked for beyond what was granted then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which decisions are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionQuery {
    pub(crate) connection: Option<ConnectionName>,
    pub(crate) connector: Option<ConnectorName>,
    pub(crate) limit: usize,
}

/// Those of every workspace.
pub(crate) struct Decisions {
    store: Store,
    ids: Arc<Mutex<BTreeMap<WorkspaceName, Ids>>>,
}

/// Those of one workspace, in the order in which they were given.
#[derive(Default)]
struct Ids {
    all: VecDeque<u64>,
    /// Those of them that say that a version began to run by itself.
    began: VecDeque<u64>,
}

impl Ids {
    fn push(&mut self, id: u64, kind: DecisionKind) {
        self.all.push_back(id);
        if kind == DecisionKind::Began {
            self.began.push_back(id);
        }
    }

    /// The next one that is over a bound; it is forgotten with this.
    fn over(&mut self) -> Option<u64> {
        if self.began.len() > BEGAN_MAX {
            let oldest = self.began.pop_front()?;
            if let Ok(at) = self.all.binary_search(&oldest) {
                self.all.remove(at);
            }
            return Some(oldest);
        }
        if self.all.len() > DECISIONS_MAX {
            let oldest = self.all.pop_front()?;
            if self.began.front() == Some(&oldest) {
                self.began.pop_front();
            }
            return Some(oldest);
        }
        None
    }
}

/// No more lines, and no longer ones, than are kept or shown; the last one says what is left out.
pub(super) fn clipped(mut lines: Vec<String>) -> Vec<String> {
    let count = lines.len();
    if count > DIFFERENCE_MAX {
        lines.truncate(DIFFERENCE_MAX - 1);
        lines.push(format!("and {} things more", count - lines.len()));
    }
    lines.iter().map(|line| one_line(line, REASON_BYTES_MAX)).collect()
}

impl Decision {
    /// As of now.
    pub(crate) fn new(kind: DecisionKind, by: &str, connector: &ConnectorName) -> Self {
        Self {
            at: now(),
            kind,
            by: one_line(by, REASON_BYTES_MAX),
            connector: connector.clone(),
            connection: None,
            digest: None,
            difference: Vec::new(),
            reason: None,
        }
    }

    fn bounded(mut self) -> Self {
        self.difference = clipped(self.difference);
        self.reason = self.reason.map(|reason| one_line(&reason, REASON_BYTES_MAX));
        self
    }
}

impl Decisions {
    /// Learns which there are.
    pub(super) fn open(store: Store) -> Result<Self, StoreError> {
        let mut ids: BTreeMap<WorkspaceName, Ids> = BTreeMap::new();
        let mut scan = Scan::prefix(Key::of(Keyspace::Decision), PAGE);
        loop {
            let page = store.scan(&scan)?;
            for (key, value) in &page {
                if let Some((workspace, id)) = read_key(key) {
                    // One that cannot be read counts as one that a person has made: it goes as late as may be.
                    let kind = serde_json::from_slice::<Decision>(value).map(|decision| decision.kind);
                    let ids = ids.entry(workspace).or_default();
                    ids.push(id, kind.unwrap_or(DecisionKind::Granted));
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => scan = scan.after(last),
                None => break,
            }
        }
        Ok(Self {
            store,
            ids: Arc::new(Mutex::new(ids)),
        })
    }

    /// Writes it with the batch, and removes with it what is over the bound.
    pub(crate) fn add(&self, batch: &mut Batch, workspace: &WorkspaceName, decision: Decision) {
        let mut all = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = all.entry(workspace.clone()).or_default();
        let by_time = decision.at.as_millis() << IDS_PER_MS_BITS;
        // In the order in which they were made, whatever the clock does.
        let id = ids.all.back().map_or(by_time, |last| by_time.max(last + 1));
        ids.push(id, decision.kind);
        while let Some(oldest) = ids.over() {
            batch.delete(key(workspace, oldest));
        }
        let value = serde_json::to_vec(&decision.bounded())
            .expect("a decision has text keys only, and a Vec takes every write");
        batch.put(key(workspace, id), value);
    }

    /// The latest first.
    pub(crate) fn list(&self, workspace: &WorkspaceName, query: &DecisionQuery) -> Result<Vec<Decision>, StoreError> {
        let ids: Vec<u64> = {
            let all = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            let ids = all.get(workspace).map(|ids| &ids.all);
            ids.into_iter().flatten().rev().copied().collect()
        };
        let mut listed = Vec::new();
        for id in ids {
            if listed.len() >= query.limit.min(DECISIONS_LISTED_MAX) {
                break;
            }
            let Some(value) = self.store.get(key(workspace, id))? else {
                // Its batch was not made durable.
                continue;
            };
            let Ok(decision) = serde_json::from_slice::<Decision>(&value) else {
                continue;
            };
            let of_connection = query.connection.is_none() || decision.connection == query.connection;
            let of_connector = query.connector.as_ref().is_none_or(|name| decision.connector == *name);
            if of_connection && of_connector {
                listed.push(decision);
            }
        }
        Ok(listed)
    }
}

fn key(workspace: &WorkspaceName, id: u64) -> Key {
    Key::of(Keyspace::Decision).text(workspace.as_str()).u64(id)
}

fn read_key(key: &[u8]) -> Option<(WorkspaceName, u64)> {
    let mut reader = KeyReader::of(Keyspace::Decision, key).ok()?;
    let workspace = String::from_utf8(reader.text().ok()?).ok()?.parse().ok()?;
    let id = reader.u64().ok()?;
    reader.end().ok()?;
    Some((workspace, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(name: &str) -> Decision {
        let mut decision = Decision::new(DecisionKind::Granted, "anna", &name.parse().unwrap());
        decision.connection = Some(format!("c-{name}").parse().unwrap());
        decision
    }

    #[tokio::test]
    async fn decisions_are_listed_the_latest_first_by_workspace_and_the_oldest_go() {
        let store = Store::in_memory();
        let decisions = Decisions::open(store.clone()).unwrap();
        let (ours, theirs): (WorkspaceName, WorkspaceName) = ("default".parse().unwrap(), "other".parse().unwrap());
        for number in 0..DECISIONS_MAX + 3 {
            let mut batch = Batch::new();
            decisions.add(&mut batch, &ours, decision(&format!("n{number}")));
            store.commit(batch).await.unwrap();
        }
        let mut batch = Batch::new();
        decisions.add(&mut batch, &theirs, decision("a"));
        store.commit(batch).await.unwrap();
        let reopened = Decisions::open(store).unwrap();
        for decisions in [&decisions, &reopened] {
            let all = DecisionQuery {
                limit: usize::MAX,
                ..DecisionQuery::default()
            };
            let listed = decisions.list(&ours, &all).unwrap();
            assert_eq!(listed.len(), DECISIONS_LISTED_MAX);
            assert_eq!(listed[0].connector.as_str(), format!("n{}", DECISIONS_MAX + 2));
            assert_eq!(decisions.list(&theirs, &all).unwrap().len(), 1);
            let one = |name: &str| DecisionQuery {
                connector: Some(name.parse().unwrap()),
                ..all.clone()
            };
            assert_eq!(decisions.list(&ours, &one("n3")).unwrap().len(), 1);
            assert!(
                decisions.list(&ours, &one("n2")).unwrap().is_empty(),
                "the oldest have gone"
            );
        }
    }
    #[tokio::test]
    async fn however_often_versions_begin_by_themselves_what_people_decided_stays() {
        let store = Store::in_memory();
        let decisions = Decisions::open(store.clone()).unwrap();
        let workspace = WorkspaceName::default();
        let add = |decision: Decision| {
            let mut batch = Batch::new();
            decisions.add(&mut batch, &workspace, decision);
            store.commit(batch)
        };
        add(decision("person")).await.unwrap();
        for number in 0..BEGAN_MAX + 3 {
            let connector = format!("n{number}").parse().unwrap();
            add(Decision::new(DecisionKind::Began, THE_HOST, &connector))
                .await
                .unwrap();
        }
        let reopened = Decisions::open(store.clone()).unwrap();
        for decisions in [&decisions, &reopened] {
            let of = |name: &str| {
                let query = DecisionQuery {
                    connector: Some(name.parse().unwrap()),
                    limit: 1,
                    ..DecisionQuery::default()
                };
                decisions.list(&workspace, &query).unwrap().len()
            };
            assert_eq!((of("person"), of("n2"), of("n3")), (1, 0, 1));
        }
    }

    #[test]
    fn what_is_too_long_to_be_shown_says_that_it_is() {
        let lines: Vec<_> = (0..DIFFERENCE_MAX + 1).map(|line| line.to_string()).collect();
        assert_eq!(clipped(lines[1..].to_vec()), lines[1..]);
        let clipped = clipped(lines);
        assert_eq!(
            (clipped.len(), clipped.last().unwrap().as_str()),
            (DIFFERENCE_MAX, "and 2 things more")
        );
    }
}
