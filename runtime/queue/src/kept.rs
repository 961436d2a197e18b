//! What a connector keeps between calls: a connection's state, and the cursor of its polls.
//!
//! Both change with the settle of a delivered attempt, in its batch, and with nothing else: an attempt that fails leaves
//! nothing behind, and one that a crash ends left nothing. Each has a version, which every change raises and which the
//! settle expects to be the one that its attempt began with, so that nothing is overwritten that was not seen. A version
//! begins with a random number: what was deleted and made again is never taken for what it was.
//!
//! The format, below `ConnectorState`, workspace and connection: `s` is the state's head, a record; `d` its content, the
//! byte `0x01`, the version, and then each key and value behind its length, integers big-endian with 32 bits but for the
//! version's 64; `c` the cursor, a record; `p` the schedule, a record of `polls.rs`.

use std::collections::BTreeMap;

use cofferdam_domain::state::{StateValues, state_bytes};
use cofferdam_domain::{Attempt, ConnectionName, Digest, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::accept::Accept;
use crate::error::{QueueError, SettleError};
use crate::keys::{self, KeptPart};
use crate::record::{self, RecordError};
use crate::step::{STEP_TRIES, Step, Stepped};
use crate::store_queue::StoreQueue;

/// The version of the content's format that is written.
const CONTENT_VERSION: u8 = 1;

/// Names what an attempt began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeptVersion(u64);

/// What a delivered attempt leaves for the next one.
#[derive(Clone, Debug, Default)]
pub struct KeptChange {
    /// The state, if the attempt has looked at it.
    pub state: Option<StateChange>,
    /// The cursor, if it was a poll.
    pub cursor: Option<CursorChange>,
    /// The poll that follows at once, where there is more to fetch.
    pub again: Option<Accept>,
}

/// What an attempt did with the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// What it began with.
    pub seen: KeptVersion,
    /// All of it as it is now; none if the attempt has only read.
    pub values: Option<StateValues>,
}

/// What a poll leaves to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorChange {
    /// What it began with.
    pub seen: KeptVersion,
    /// Handed to the next poll.
    pub cursor: Option<String>,
}

/// How large a connection's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSize {
    /// As it counts against the grant.
    pub bytes: u64,
    /// Entries.
    pub keys: u64,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// What may be shown of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorFacts {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it.
    pub hash: Digest,
    /// When a poll left it, or a person reset it.
    pub set_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct StateHead {
    version: KeptVersion,
    #[serde(flatten)]
    size: StateSize,
}

#[derive(Serialize, Deserialize)]
struct CursorRecord {
    version: KeptVersion,
    #[serde(default)]
    cursor: Option<String>,
    set_at: Timestamp,
}

/// A record as it was read.
struct Read<T> {
    raw: Vec<u8>,
    record: T,
}

impl KeptVersion {
    const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl StoreQueue {
    /// The connection's state, and the version by which a settle names it.
    pub async fn open_state(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(KeptVersion, StateValues), QueueError> {
        let part = |part| keys::kept(workspace, connection, part);
        for _ in 0..STEP_TRIES {
            let Some(head) = self.state_head(workspace, connection)? else {
                let head = self.empty_state(now);
                self.create(part(KeptPart::StateHead), record::encode(&head)).await?;
                continue;
            };
            let version = head.record.version;
            if head.record.size.keys == 0 {
                return Ok((version, StateValues::new()));
            }
            // No snapshot: a change that comes between the two readings has another version.
            let content = self.store.get(part(KeptPart::StateContent))?;
            match content.as_deref().map(decode_content).transpose()? {
                Some((found, values)) if found == version => return Ok((version, values)),
                Some(_) | None => {}
            }
        }
        Err(malformed("its head and its content are not of one version").into())
    }

    /// The cursor that the next poll is handed, and the version by which a settle names it.
    pub async fn open_cursor(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(KeptVersion, Option<String>), QueueError> {
        for _ in 0..STEP_TRIES {
            if let Some(Read { record, .. }) = self.cursor(workspace, connection)? {
                return Ok((record.version, record.cursor));
            }
            let first = record::encode(&self.no_cursor(now));
            self.create(keys::kept(workspace, connection, KeptPart::Cursor), first)
                .await?;
        }
        Err(QueueError::Contended("read the cursor"))
    }

    /// How large the state is; none if the connection never had one.
    pub fn state_size(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<StateSize>, QueueError> {
        Ok(self.state_head(workspace, connection)?.map(|head| head.record.size))
    }

    /// What may be shown of the cursor; none if there is none.
    pub fn cursor_facts(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<CursorFacts>, QueueError> {
        let read = self.cursor(workspace, connection)?;
        Ok(read.and_then(|Read { record, .. }| {
            let cursor = record.cursor?;
            Some(CursorFacts {
                bytes: cursor.len() as u64,
                hash: Digest::of(cursor.as_bytes()),
                set_at: record.set_at,
            })
        }))
    }

    /// Empties the state, whatever is there: what cannot be read goes too. An attempt under way that has looked at it does
    /// not leave what it meant to.
    pub async fn clear_state(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let mut step = Step::default();
        step.batch
            .put(
                keys::kept(workspace, connection, KeptPart::StateHead),
                record::encode(&self.empty_state(now)),
            )
            .delete(keys::kept(workspace, connection, KeptPart::StateContent));
        self.commit(step).await.map(|_| ())
    }

    /// The next poll begins without a cursor. One that is under way does not leave its own.
    pub async fn reset_cursor(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let mut step = Step::default();
        step.batch.put(
            keys::kept(workspace, connection, KeptPart::Cursor),
            record::encode(&self.no_cursor(now)),
        );
        self.commit(step).await.map(|_| ())
    }

    /// Everything of the connection goes with the batch: state, cursor and schedule.
    pub fn forget_kept(&self, batch: &mut Batch, workspace: &WorkspaceName, connection: &ConnectionName) {
        for part in KeptPart::ALL {
            batch.delete(keys::kept(workspace, connection, part));
        }
    }

    /// Adds what the attempt leaves, provided that it still is what the attempt began with.
    pub(crate) fn stage_kept(
        &self,
        step: &mut Step,
        attempt: &Attempt,
        change: &KeptChange,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        let (workspace, connection) = (&attempt.workspace, &attempt.connection);
        let changed = || SettleError::KeptChanged(connection.clone());
        let key = |part| keys::kept(workspace, connection, part);
        if let Some(StateChange { seen, values }) = &change.state {
            let head = self.state_head(workspace, connection)?;
            let head = head.filter(|head| head.record.version == *seen).ok_or_else(changed)?;
            step.batch.expect(key(KeptPart::StateHead), head.raw);
            if let Some(values) = values {
                let version = seen.next();
                let head = StateHead {
                    version,
                    size: StateSize {
                        bytes: state_bytes(values) as u64,
                        keys: values.len() as u64,
                        changed_at: now,
                    },
                };
                step.batch.put(key(KeptPart::StateHead), record::encode(&head));
                if values.is_empty() {
                    step.batch.delete(key(KeptPart::StateContent));
                } else {
                    step.batch
                        .put(key(KeptPart::StateContent), encode_content(version, values));
                }
            }
        }
        if let Some(CursorChange { seen, cursor }) = &change.cursor {
            let present = self.cursor(workspace, connection)?;
            let present = present
                .filter(|present| present.record.version == *seen)
                .ok_or_else(changed)?;
            let next = CursorRecord {
                version: seen.next(),
                cursor: cursor.clone(),
                set_at: now,
            };
            step.batch
                .expect(key(KeptPart::Cursor), present.raw)
                .put(key(KeptPart::Cursor), record::encode(&next));
        }
        Ok(())
    }

    /// Makes a record unless somebody else just has.
    async fn create(&self, key: Key, record: Vec<u8>) -> Result<Stepped, QueueError> {
        let mut step = Step::default();
        step.batch.expect_absent(key.clone()).put(key, record);
        self.commit(step).await
    }

    fn state_head(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Read<StateHead>>, QueueError> {
        self.read_kept("state", keys::kept(workspace, connection, KeptPart::StateHead))
    }

    fn cursor(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<Option<Read<CursorRecord>>, QueueError> {
        self.read_kept("cursor", keys::kept(workspace, connection, KeptPart::Cursor))
    }

    fn read_kept<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        key: Key,
    ) -> Result<Option<Read<T>>, QueueError> {
        let Some(raw) = self.store.get(key)? else {
            return Ok(None);
        };
        let record = record::decode(what, &raw)?;
        Ok(Some(Read { raw, record }))
    }

    fn empty_state(&self, now: Timestamp) -> StateHead {
        StateHead {
            version: self.first_version(),
            size: StateSize {
                bytes: 0,
                keys: 0,
                changed_at: now,
            },
        }
    }

    fn no_cursor(&self, now: Timestamp) -> CursorRecord {
        CursorRecord {
            version: self.first_version(),
            cursor: None,
            set_at: now,
        }
    }

    fn first_version(&self) -> KeptVersion {
        KeptVersion(self.rng().random())
    }
}

fn encode_content(version: KeptVersion, values: &StateValues) -> Vec<u8> {
    let mut raw = vec![CONTENT_VERSION];
    raw.extend(version.0.to_be_bytes());
    for (key, value) in values {
        for part in [key.as_bytes(), value] {
            let bytes = u32::try_from(part.len()).expect("the view's bounds are far below 4 GiB");
            raw.extend(bytes.to_be_bytes());
            raw.extend(part);
        }
    }
    raw
}

fn decode_content(raw: &[u8]) -> Result<(KeptVersion, StateValues), RecordError> {
    let Some((&CONTENT_VERSION, rest)) = raw.split_first() else {
        return Err(RecordError::Version {
            what: "state",
            found: raw.first().copied(),
        });
    };
    let cut = || malformed("it is cut off");
    let (version, mut rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let mut values = BTreeMap::new();
    while !rest.is_empty() {
        let key = part(&mut rest).ok_or_else(cut)?;
        let value = part(&mut rest).ok_or_else(cut)?;
        let key = String::from_utf8(key.to_vec()).map_err(|_| malformed("a key is no text"))?;
        values.insert(key, value.to_vec());
    }
    Ok((KeptVersion(u64::from_be_bytes(*version)), values))
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    let (part, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*bytes)).ok()?)?;
    *rest = behind;
    Some(part)
}

fn malformed(why: &str) -> RecordError {
    RecordError::Malformed {
        what: "state",
        source: serde::de::Error::custom(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_read_as_it_was_written_and_never_guessed_at() {
        let values = StateValues::from([
            ("a".to_owned(), vec![0, 1, 255]),
            ("é".to_owned(), Vec::new()),
            ("k".repeat(256), vec![9; 70_000]),
        ]);
        let raw = encode_content(KeptVersion(7), &values);
        assert_eq!(decode_content(&raw).unwrap(), (KeptVersion(7), values.clone()));
        let empty = encode_content(KeptVersion(u64::MAX), &StateValues::new());
        assert_eq!(
            decode_content(&empty).unwrap(),
            (KeptVersion(u64::MAX), StateValues::new())
        );
        // Cut anywhere but between two entries it is refused; between two it is the wrong version's or another record.
        let refused = (0..raw.len())
            .filter(|end| decode_content(&raw[..*end]).is_err())
            .count();
        assert_eq!(refused, raw.len() - values.len());
        let newer = [&[2], &raw[1..]].concat();
        assert!(matches!(
            decode_content(&newer),
            Err(RecordError::Version { found: Some(2), .. })
        ));
        let no_text = [&raw[..9], &[0, 0, 0, 1, 0xff, 0, 0, 0, 0]].concat();
        assert!(matches!(decode_content(&no_text), Err(RecordError::Malformed { .. })));
    }
}
