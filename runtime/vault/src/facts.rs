//! Facts: what happened to credentials, durable and in order, for the person who asks later.
//!
//! A fact is written in the same batch as the change that it tells of. There are at most [`FACTS_PER_CONNECTION_MAX`] of a
//! connection, none older than [`FACT_AGE_MAX`]; the oldest go first, so that no connection displaces another's. A fact holds
//! names, versions and a short detail that the host wrote, and nothing of a value.
//!
//! They sort by the time at which they were written, and within a process in exactly that order, whatever the clock does.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key, KeyReader, Keyspace, NotThisKey, Scan, Store};
use serde::{Deserialize, Serialize};

use crate::envelope::Place;
use crate::error::VaultError;

/// Most facts of one connection.
pub const FACTS_PER_CONNECTION_MAX: usize = 512;

/// No fact is kept longer: a yearly rotation can be seen beside the one before it.
pub const FACT_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Longest detail of a fact, and longest name of who caused it, in bytes; more is cut off.
pub const FACT_TEXT_BYTES_MAX: usize = 200;

/// Most facts that one listing answers with.
pub const FACTS_LISTED_MAX: usize = 500;

/// A fact of this kind that says the same again within this time is not written again: what an upstream or a token endpoint
/// does over and over is one fact, and the metrics count the rest.
pub const FACT_REPEAT_MIN: Duration = Duration::from_secs(3600);

/// Facts of a connection that are looked through for the same one.
const REPEAT_LOOKED_AT: usize = 32;

/// Most facts that are removed with one that is added, or by one step of trimming.
const TRIMMED_MAX: usize = 16;

/// Facts written in one millisecond, before the next one has to be borrowed from.
const IDS_PER_MS_BITS: u32 = 16;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// A value was set, and any before it stopped at once.
    Set,
    /// A value was set, and the one before it is accepted for a while.
    Rotated,
    /// The time of a value before the present one is over.
    OverlapEnded,
    /// The credential is gone.
    Removed,
    /// The value expires in a while.
    Expiring,
    /// The value has expired.
    Expired,
    /// The host has got a new value for one that was about to expire.
    Refreshed,
    /// The host has tried to, and could not.
    RefreshFailed,
    /// Nothing but a person's consent brings a new value.
    ConsentNeeded,
    /// An upstream sent the value back, and it was taken out.
    Reflected,
}

impl FactKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Set,
        Self::Rotated,
        Self::OverlapEnded,
        Self::Removed,
        Self::Expiring,
        Self::Expired,
        Self::Refreshed,
        Self::RefreshFailed,
        Self::ConsentNeeded,
        Self::Reflected,
    ];

    /// The name in records, the API, metrics and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Rotated => "rotated",
            Self::OverlapEnded => "overlap-ended",
            Self::Removed => "removed",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Refreshed => "refreshed",
            Self::RefreshFailed => "refresh-failed",
            Self::ConsentNeeded => "consent-needed",
            Self::Reflected => "reflected",
        }
    }
}

/// A fact's place among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FactId(u64);

/// A text that is no fact's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fact's id is 16 lower-case hex digits")]
pub struct BadFactId;

impl fmt::Display for FactId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl FromStr for FactId {
    type Err = BadFactId;

    fn from_str(text: &str) -> Result<Self, BadFactId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(BadFactId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| BadFactId)
    }
}

impl TryFrom<String> for FactId {
    type Error = BadFactId;

    fn try_from(text: String) -> Result<Self, BadFactId> {
        text.parse()
    }
}

impl From<FactId> for String {
    fn from(id: FactId) -> Self {
        id.to_string()
    }
}

/// Something that happened to a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Its place among all others.
    pub id: FactId,
    /// When it was written.
    pub at: Timestamp,
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The connection that the credential is bound to.
    pub connection: ConnectionName,
    /// The credential.
    pub credential: CredentialName,
    /// What happened.
    pub kind: FactKind,
    /// The version that it happened to, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who caused it: the name of a token, for what a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// More about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a fact says of a credential.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// What happened.
    pub kind: FactKind,
    /// The version that it happened to, if it is known.
    pub version: Option<u64>,
    /// Who caused it.
    pub by: Option<&'a str>,
    /// More about it, for people. Written by the host and never by what somebody sent.
    pub detail: Option<&'a str>,
}

impl News<'_> {
    /// That this happened, and nothing else.
    pub const fn of(kind: FactKind) -> Self {
        Self {
            kind,
            version: None,
            by: None,
            detail: None,
        }
    }
}

/// What is stored under a fact's key; the key says the rest.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: Timestamp,
    credential: CredentialName,
    kind: FactKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Which facts to list, latest first.
#[derive(Clone, Debug, Default)]
pub struct FactQuery {
    /// Of this connection only.
    pub connection: Option<ConnectionName>,
    /// Of this credential only.
    pub credential: Option<CredentialName>,
    /// Only those before this one: the last of the page before.
    pub before: Option<FactId>,
    /// At most so many; more than [`FACTS_LISTED_MAX`] counts as that.
    pub limit: usize,
}

/// The facts of a store.
pub(crate) struct Facts {
    store: Store,
    last: AtomicU64,
}

impl Facts {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            last: AtomicU64::new(0),
        }
    }

    /// Adds a fact to a batch, and the removal of the connection's oldest if it has too many. A fact is never written over
    /// another: the batch conflicts then, and is worth another try.
    pub(crate) fn add(
        &self,
        batch: &mut Batch,
        place: Place<'_>,
        news: News<'_>,
        now: Timestamp,
    ) -> Result<Fact, VaultError> {
        let present = self
            .store
            .keys(&Scan::prefix(
                of_connection(place.workspace, place.connection),
                FACTS_PER_CONNECTION_MAX + TRIMMED_MAX,
            ))
            .map_err(VaultError::Read)?;
        let surplus = (present.len() + 1).saturating_sub(FACTS_PER_CONNECTION_MAX);
        for key in present.into_iter().take(surplus) {
            batch.delete(key);
        }
        let fact = Fact {
            id: self.next_id(now),
            at: now,
            workspace: place.workspace.clone(),
            connection: place.connection.clone(),
            credential: place.credential.clone(),
            kind: news.kind,
            version: news.version,
            by: news.by.map(short),
            detail: news.detail.map(short),
        };
        let key = fact_key(place.workspace, place.connection, fact.id);
        batch.expect_absent(key.clone()).put(key, encode(&fact));
        Ok(fact)
    }

    /// Whether the latest facts of the connection hold the same already, and not long ago.
    pub(crate) fn repeats(&self, place: Place<'_>, news: News<'_>, now: Timestamp) -> Result<bool, VaultError> {
        let latest = Scan::prefix(of_connection(place.workspace, place.connection), REPEAT_LOOKED_AT).reversed();
        let records = self.store.scan(&latest).map_err(VaultError::Read)?;
        let facts = records.iter().filter_map(|(key, value)| decode(key, value));
        Ok(facts
            .filter(|fact| fact.credential == *place.credential && fact.kind == news.kind)
            .any(|fact| {
                fact.version == news.version
                    && fact.detail == news.detail.map(short)
                    && now.since(fact.at) < FACT_REPEAT_MIN
            }))
    }

    /// What the query asks for, latest first. A fact that cannot be read is left out.
    pub(crate) fn list(&self, workspace: &WorkspaceName, query: &FactQuery) -> Result<Vec<Fact>, VaultError> {
        let limit = query.limit.min(FACTS_LISTED_MAX);
        let mut found = Vec::new();
        let connections = match &query.connection {
            Some(connection) => vec![connection.clone()],
            None => self.connections(workspace)?,
        };
        for connection in connections {
            self.list_connection(workspace, &connection, query, limit, &mut found)?;
            // No more than twice a page is ever held.
            found.sort_unstable_by_key(|fact: &Fact| std::cmp::Reverse(fact.id));
            found.truncate(limit);
        }
        Ok(found)
    }

    fn list_connection(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        query: &FactQuery,
        limit: usize,
        found: &mut Vec<Fact>,
    ) -> Result<(), VaultError> {
        let looked_at = match query.credential {
            Some(_) => FACTS_PER_CONNECTION_MAX + TRIMMED_MAX,
            None => limit,
        };
        let mut scan = Scan::prefix(of_connection(workspace, connection), looked_at).reversed();
        if let Some(before) = query.before {
            scan = scan.after(fact_key(workspace, connection, before));
        }
        // What is older than everything of a full page is not looked at.
        if found.len() >= limit
            && let Some(oldest) = found.last()
        {
            scan = scan.until(fact_key(workspace, connection, oldest.id));
        }
        let records = self.store.scan(&scan).map_err(VaultError::Read)?;
        let facts = records.iter().filter_map(|(key, value)| decode(key, value));
        let wanted = facts.filter(|fact| query.credential.as_ref().is_none_or(|name| *name == fact.credential));
        found.extend(wanted.take(limit));
        Ok(())
    }

    /// Removes some of what is too old, durably; answers how many, and 0 once nothing is. What is too many goes with what is
    /// added.
    pub(crate) async fn trim(&self, now: Timestamp) -> Result<usize, VaultError> {
        let too_old = |id: FactId| now.since(id.written_at()) > FACT_AGE_MAX;
        let mut batch = Batch::new();
        let mut trimmed = 0;
        let mut scan = Scan::prefix(all_facts(), 1);
        while let Some(first) = self.store.keys(&scan).map_err(VaultError::Read)?.pop() {
            let (workspace, connection, oldest) = read_key(&first).map_err(|_| VaultError::UnknownRecord)?;
            if too_old(oldest) {
                let some = Scan::prefix(of_connection(&workspace, &connection), TRIMMED_MAX - trimmed);
                for key in self.store.keys(&some).map_err(VaultError::Read)? {
                    if read_key(&key).is_ok_and(|(_, _, id)| too_old(id)) {
                        batch.delete(key);
                        trimmed += 1;
                    }
                }
            }
            if trimmed == TRIMMED_MAX {
                break;
            }
            scan = Scan::prefix(all_facts(), 1).after(fact_key(&workspace, &connection, FactId(u64::MAX)));
        }
        if trimmed > 0 {
            self.store.commit(batch).await.map_err(VaultError::Write)?;
        }
        Ok(trimmed)
    }

    /// The connections of the workspace that have facts, deleted ones included.
    fn connections(&self, workspace: &WorkspaceName) -> Result<Vec<ConnectionName>, VaultError> {
        let prefix = all_facts().text(workspace.as_str());
        let mut found = Vec::new();
        let mut scan = Scan::prefix(prefix.clone(), 1);
        while let Some(first) = self.store.keys(&scan).map_err(VaultError::Read)?.pop() {
            let (_, connection, _) = read_key(&first).map_err(|_| VaultError::UnknownRecord)?;
            scan = Scan::prefix(prefix.clone(), 1).after(fact_key(workspace, &connection, FactId(u64::MAX)));
            found.push(connection);
        }
        Ok(found)
    }

    /// By the clock, and never at or before one that was given out.
    fn next_id(&self, now: Timestamp) -> FactId {
        let by_clock = now.as_millis() << IDS_PER_MS_BITS;
        let next = |last: u64| by_clock.max(last.saturating_add(1));
        let update = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        FactId(next(update.unwrap_or_else(|last| last)))
    }
}

impl FactId {
    fn written_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> IDS_PER_MS_BITS)
    }
}

/// `v`, "fact".
fn all_facts() -> Key {
    Key::of(Keyspace::Vault).text("fact")
}

/// `v`, "fact"; then workspace, connection.
fn of_connection(workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
    all_facts().text(workspace.as_str()).text(connection.as_str())
}

/// `v`, "fact"; then workspace, connection, id.
fn fact_key(workspace: &WorkspaceName, connection: &ConnectionName, id: FactId) -> Key {
    of_connection(workspace, connection).u64(id.0)
}

fn read_key(key: &[u8]) -> Result<(WorkspaceName, ConnectionName, FactId), NotThisKey> {
    let mut reader = KeyReader::of(Keyspace::Vault, key)?;
    let _fact = reader.text()?;
    let mut name = || String::from_utf8(reader.text()?).map_err(|_| NotThisKey);
    let (workspace, connection) = (name()?, name()?);
    let id = FactId(reader.u64()?);
    reader.end()?;
    let workspace = workspace.parse().map_err(|_| NotThisKey)?;
    let connection = connection.parse().map_err(|_| NotThisKey)?;
    Ok((workspace, connection, id))
}

fn encode(fact: &Fact) -> Vec<u8> {
    let stored = Stored {
        at: fact.at,
        credential: fact.credential.clone(),
        kind: fact.kind,
        version: fact.version,
        by: fact.by.clone(),
        detail: fact.detail.clone(),
    };
    serde_json::to_vec(&stored).expect("names, numbers and texts have a JSON form")
}

fn decode(key: &[u8], value: &[u8]) -> Option<Fact> {
    let (workspace, connection, id) = read_key(key).ok()?;
    let stored: Stored = serde_json::from_slice(value).ok()?;
    Some(Fact {
        id,
        at: stored.at,
        workspace,
        connection,
        credential: stored.credential,
        kind: stored.kind,
        version: stored.version,
        by: stored.by,
        detail: stored.detail,
    })
}

/// The beginning of the text, in one line.
fn short(text: &str) -> String {
    let end = text.floor_char_boundary(FACT_TEXT_BYTES_MAX);
    text[..end]
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests;
