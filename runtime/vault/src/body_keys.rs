//! The keys of sealed bodies: a random one for each workspace and UTC day, sealed under the vault key.
//!
//! A body is sealed under the key of the day that its event's id was minted on, which the id says, so a body names its key
//! without any index. The record of a key is written in the batch of the first body under it; every later body's batch
//! expects that record to be there as it was read. So a key is durable no later than what it seals, and nothing is ever
//! sealed under a key that retention has just removed (see `cofferdam_queue::BodySeal` for how it removes one).
//!
//! A key that does not unseal, damaged perhaps, takes the bodies under it with it and nothing else: the next body of its day
//! gets a key with the next number, and the record stays as it is for whoever may repair it.
//!
//! Unsealed keys are kept in memory, a bounded number of them, and are wiped when they go. It does not protect what is stored
//! beside a body: its hash, its size and the event's attributes.

mod cache;
mod key_record;
mod sealed_body;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cofferdam_domain::{EventId, Timestamp, WorkspaceName};
use cofferdam_queue::{BodyError, BodyPlace, BodySeal, KeySpan, Unsealed};
use cofferdam_store::{Batch, Key, KeyReader, Keyspace, NotThisKey, Scan, Store, StoreError};

use self::cache::Cache;
use self::key_record::{BodyKey, KeyRecord, KeyState};
use self::sealed_body::SealedBody;
use crate::envelope::OpenError;
use crate::error::VaultError;
use crate::key::VaultKey;
use crate::vault::Vault;

/// Keys that one workspace may have for one day: more than one only if the others do not unseal.
const KEYS_PER_DAY_MAX: u32 = 16;

/// The record of a key under another vault key; none if it does not unseal. No body is touched.
pub(crate) fn rewrapped(
    old: &VaultKey,
    new: &VaultKey,
    key: &[u8],
    record: &[u8],
) -> Result<Option<Vec<u8>>, VaultError> {
    let Ok(place) = KeyPlace::read(key) else {
        return Ok(None);
    };
    let Ok((state, key)) = KeyRecord::open(record, old, &place) else {
        return Ok(None);
    };
    let again = KeyRecord::seal(state, &key, new, &place).map_err(VaultError::Seal)?;
    Ok(Some(again))
}

/// `v`, "body-key"; then workspace, day, number.
pub(crate) fn body_keys_key() -> Key {
    Key::of(Keyspace::Vault).text("body-key")
}

/// Records read per step of a walk.
const PAGE: usize = 256;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Seals event bodies and opens them. Clones share the keys in memory.
#[derive(Clone)]
pub struct BodyKeys {
    store: Store,
    vault_key: Arc<VaultKey>,
    cache: Arc<Cache>,
}

/// Which key: of a workspace, a day counted from 1970-01-01 UTC, and the how manieth of that day.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPlace {
    workspace: WorkspaceName,
    day: u32,
    number: u32,
}

/// A key that can be used, and its record as it was read.
struct Held {
    place: KeyPlace,
    record: Vec<u8>,
    key: Arc<BodyKey>,
}

impl Vault {
    /// The keys of the bodies in the vault's store.
    pub fn body_keys(&self) -> BodyKeys {
        BodyKeys {
            store: self.store.clone(),
            vault_key: Arc::clone(&self.key),
            cache: Arc::default(),
        }
    }
}

impl BodyKeys {
    /// The key at this place; none if there is none or it does not unseal.
    fn held(&self, place: KeyPlace) -> Result<Option<Held>, StoreError> {
        let at = place.key();
        let record = match self.store.get(&at) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            // One record that cannot be read is like one that does not unseal.
            Err(StoreError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = match self.cache.get(&at, &record) {
            Some(key) => key,
            None => match KeyRecord::open(&record, &self.vault_key, &place) {
                Ok((_, key)) => self.cache.put(&at, &record, key),
                Err(OpenError::Malformed | OpenError::Refused) => return Ok(None),
            },
        };
        Ok(Some(Held { place, record, key }))
    }

    /// The key to seal under: the first of the day that can be used, or a new one. The batch gets what it depends on.
    fn key_for(&self, batch: &mut Batch, workspace: &WorkspaceName, day: u32) -> Result<Held, BodyError> {
        let place = |number| KeyPlace {
            workspace: workspace.clone(),
            day,
            number,
        };
        let mut free = None;
        let mut found = self.held(place(0))?;
        if found.is_none() {
            let numbers = self.numbers(workspace, day)?;
            free = (0..KEYS_PER_DAY_MAX).find(|number| !numbers.contains(number));
            // The first one too: somebody may just have made it.
            for number in numbers {
                found = self.held(place(number))?;
                if found.is_some() {
                    break;
                }
            }
        }
        let Some(held) = found else {
            let number = free.ok_or_else(|| {
                BodyError::Unsealable(format!("{KEYS_PER_DAY_MAX} keys of workspace {workspace} do not unseal").into())
            })?;
            if number > 0 {
                tracing::error!(
                    %workspace,
                    day,
                    number,
                    "the key of a day's bodies does not unseal, and those under it cannot be read; the next ones get another key"
                );
            }
            return self.mint(batch, place(number));
        };
        batch.expect(held.place.key(), held.record.as_slice());
        if KeyRecord::state(&held.record) == Some(KeyState::Closed) {
            batch.put(held.place.key(), KeyRecord::in_state(&held.record, KeyState::Open));
        }
        Ok(held)
    }

    /// A new key, whose record the batch gets. It is used by this batch alone until it can be read from the store.
    fn mint(&self, batch: &mut Batch, place: KeyPlace) -> Result<Held, BodyError> {
        let unsealable = |error| BodyError::Unsealable(Box::new(error));
        let key = BodyKey::random().map_err(unsealable)?;
        let record = KeyRecord::seal(KeyState::Open, &key, &self.vault_key, &place).map_err(unsealable)?;
        batch.expect_absent(place.key()).put(place.key(), record.as_slice());
        Ok(Held {
            place,
            record,
            key: Arc::new(key),
        })
    }

    /// The numbers of the keys that there are for the day, whether they can be used or not.
    fn numbers(&self, workspace: &WorkspaceName, day: u32) -> Result<Vec<u32>, StoreError> {
        let keys = Scan::prefix(keys_of_day(workspace, day), KEYS_PER_DAY_MAX as usize);
        let keys = self.store.keys(&keys)?;
        Ok(keys
            .iter()
            .filter_map(|key| Some(KeyPlace::read(key).ok()?.number))
            .collect())
    }

    /// Every record of the span that can be read, with where it lies.
    fn records(&self, span: &KeySpan) -> Result<Vec<(Key, Vec<u8>)>, BodyError> {
        let day = day_of(span.from);
        let mut records = Vec::new();
        for number in self.numbers(&span.workspace, day)? {
            let at = keys_of_day(&span.workspace, day).u32(number);
            match self.store.get(&at) {
                Ok(record) => records.extend(record.map(|record| (at, record))),
                Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(records)
    }
}

impl BodySeal for BodyKeys {
    fn seal(&self, batch: &mut Batch, bodies: &[Unsealed<'_>]) -> Result<Vec<Vec<u8>>, BodyError> {
        // A key that is minted here is in no store yet: the bodies of one batch share it.
        let mut held: BTreeMap<(&WorkspaceName, u32), Held> = BTreeMap::new();
        let mut sealed = Vec::with_capacity(bodies.len());
        for Unsealed { place, body } in bodies {
            let of = (place.workspace, day_of(place.event.minted_at()));
            let key = match held.entry(of) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(none) => none.insert(self.key_for(batch, of.0, of.1)?),
            };
            let body = SealedBody::seal(&key.key, key.place.number, *place, body);
            sealed.push(body.map_err(|error| BodyError::Unsealable(Box::new(error)))?);
        }
        Ok(sealed)
    }

    fn open(&self, place: BodyPlace<'_>, sealed: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        let number = SealedBody::key_number(&sealed).ok_or(BodyError::Unopened("it is sealed in no known format"))?;
        let key_place = KeyPlace {
            workspace: place.workspace.clone(),
            day: day_of(place.event.minted_at()),
            number,
        };
        let Some(held) = self.held(key_place)? else {
            return Err(BodyError::Unopened(
                "the key that it was sealed under is missing or does not unseal",
            ));
        };
        SealedBody::open(&held.key, place, sealed)
            .map_err(|_| BodyError::Unopened("it was changed, or sealed for another event or under another key"))
    }

    fn spans(&self, after: Option<&KeySpan>, max: usize) -> Result<Vec<KeySpan>, BodyError> {
        let mut spans: Vec<KeySpan> = Vec::new();
        let mut page = Scan::prefix(body_keys_key(), PAGE);
        if let Some(after) = after {
            // Behind every key of that day: so high a number there is none.
            page = page.after(keys_of_day(&after.workspace, day_of(after.from)).u32(u32::MAX));
        }
        while spans.len() < max {
            let keys = self.store.keys(&page)?;
            let Some(last) = keys.last() else { break };
            page = page.after(last.as_slice());
            // A key that makes no sense is nobody's: it stays where it is.
            for place in keys.iter().filter_map(|key| KeyPlace::read(key).ok()) {
                let span = place.span();
                if spans.last() != Some(&span) && spans.len() < max {
                    spans.push(span);
                }
            }
        }
        Ok(spans)
    }

    fn close(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError> {
        for (at, record) in self.records(span)? {
            if KeyRecord::state(&record) == Some(KeyState::Open) {
                let closed = KeyRecord::in_state(&record, KeyState::Closed);
                batch.expect(at.clone(), record).put(at, closed);
            }
        }
        Ok(())
    }

    fn forget(&self, batch: &mut Batch, span: &KeySpan) -> Result<(), BodyError> {
        for (at, record) in self.records(span)? {
            if KeyRecord::state(&record) == Some(KeyState::Closed) {
                self.cache.forget(&at);
                batch.expect(at.clone(), record).delete(at);
            }
        }
        Ok(())
    }
}

impl KeyPlace {
    fn key(&self) -> Key {
        keys_of_day(&self.workspace, self.day).u32(self.number)
    }

    fn read(key: &[u8]) -> Result<Self, NotThisKey> {
        let mut reader = KeyReader::of(Keyspace::Vault, key)?;
        reader.text()?;
        let workspace = String::from_utf8(reader.text()?).map_err(|_| NotThisKey)?;
        let place = Self {
            workspace: workspace.parse().map_err(|_| NotThisKey)?,
            day: reader.u32()?,
            number: reader.u32()?,
        };
        reader.end()?;
        Ok(place)
    }

    fn span(&self) -> KeySpan {
        let day = u64::from(self.day);
        KeySpan {
            workspace: self.workspace.clone(),
            from: Timestamp::from_millis(day * DAY_MS),
            until: Timestamp::from_millis((day + 1) * DAY_MS),
        }
    }
}

fn keys_of_day(workspace: &WorkspaceName, day: u32) -> Key {
    body_keys_key().text(workspace.as_str()).u32(day)
}

/// Days since 1970-01-01 UTC. The times that identifiers hold, 48 bits of milliseconds, make far fewer than 2^32.
fn day_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_millis() / DAY_MS).unwrap_or(u32::MAX)
}

/// For the associated data of both layers.
fn named(layer: &[u8], workspace: &WorkspaceName) -> Vec<u8> {
    let mut data = b"cofferdam/vault/1/".to_vec();
    for part in [layer, workspace.as_str().as_bytes()] {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part);
    }
    data
}

/// The associated data of a key's record.
fn associated_with_key(place: &KeyPlace) -> Vec<u8> {
    let mut data = named(b"body key", &place.workspace);
    data.extend(place.day.to_be_bytes());
    data.extend(place.number.to_be_bytes());
    data
}

/// The associated data of a body; `header` is the readable part of its sealed form.
fn associated_with_body(workspace: &WorkspaceName, event: EventId, header: &[u8]) -> Vec<u8> {
    let mut data = named(b"body", workspace);
    data.extend(event.as_bytes());
    data.extend(header);
    data
}

#[cfg(test)]
mod tests;
