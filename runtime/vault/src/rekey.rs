//! A new vault key: everything that is sealed under the vault key is sealed under another, while no server runs.
//!
//! 1. Each record is sealed anew beside the old one, under a key of its own ("staged"). The old key opens the vault.
//! 2. One batch replaces the key check. From then on the new key opens the vault, and the old one does not.
//! 3. What was staged takes the place of the old records.
//!
//! Every step is bounded batches. A crash in 1 leaves a vault that opens with the old key, and what was staged is thrown away
//! at the next opening; a crash in 3 leaves one that opens with the new key, and the next opening goes on with 3. There is no
//! moment at which both keys open it, or neither. Which file the new key is in stands in the store, so that whoever comes with
//! the wrong key is told.
//!
//! Data keys are sealed anew and secrets are not: who has the old key and an old copy of the store can read that copy, and what
//! the copy holds is in the new store too until it is set anew.

use std::fmt;
use std::ops::ControlFlow;

use cofferdam_domain::Timestamp;
use cofferdam_store::{Batch, Key, KeyReader, Keyspace, Scan, Store};
use serde::{Deserialize, Serialize};

use crate::body_keys::{self, body_keys_key};
use crate::envelope::{KeyCheck, OpenError, Place};
use crate::error::VaultError;
use crate::key::VaultKey;
use crate::record::{ChangeError, Record};
use crate::vault::{credentials_key, key_check_key, read_credential_key};

/// Records that are sealed or moved in one batch.
const PAGE: usize = 32;

/// Longest name of a file that an error repeats, in characters.
const HINT_CHARS_MAX: usize = 1024;

/// Seals a record, by its key and value, under the new key.
type Rewrap = fn(&Keys<'_>, &[u8], &[u8]) -> Result<Vec<u8>, VaultError>;

/// A kind of record that is sealed under the vault key.
struct Kind {
    /// Where its records lie.
    prefix: fn() -> Key,
    /// Seals a record under the second key instead of the first.
    rewrap: Rewrap,
}

/// All of them. A record of any other kind must not be sealed under the vault key.
const KINDS: &[Kind] = &[
    Kind {
        prefix: credentials_key,
        rewrap: credential,
    },
    Kind {
        prefix: body_keys_key,
        rewrap: body_key,
    },
];

/// The key of before and the key from now on.
pub(crate) struct Keys<'a> {
    old: &'a VaultKey,
    new: &'a VaultKey,
}

/// What a rekey is about to commit; each call comes before a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RekeyStep {
    /// Nothing has changed yet.
    Begin,
    /// So many records were sealed under the new key.
    Seal(u64),
    /// The new key takes the place of the old one.
    Switch,
    /// So many records were put in their place. The new key opens the vault.
    Move(u64),
}

/// How a rekey ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekeyed {
    /// The vault opens with the new key; so many records were sealed under it.
    Done(u64),
    /// It had been switched to this key before, by a rekey that was interrupted, and that is finished now.
    Finished,
    /// It opened with this key already.
    Already,
}

/// Stored while a rekey is under way.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    file: String,
    began_at: Timestamp,
    switched: bool,
}

/// Stored once a rekey has switched: where the present key was written.
#[derive(Serialize, Deserialize)]
struct Note {
    file: String,
    at: Timestamp,
}

/// What the store says of the key that opens it, for somebody who came with another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyHint {
    /// The file that the key was written to, and when it became the vault's.
    rekeyed: Option<(String, Timestamp)>,
    /// The file of a key that was to become the vault's, and has not.
    unfinished: Option<String>,
}

impl fmt::Display for KeyHint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rekeyed, &self.unfinished) {
            (Some((file, at)), _) => write!(out, "give the one that was written to {file} at {at}")?,
            (None, _) => out.write_str("give the key it was made with")?,
        }
        match &self.unfinished {
            Some(file) => write!(out, " (a rekey to {file} was interrupted before it took effect)"),
            None => Ok(()),
        }
    }
}

/// Gives the vault a new key, durably. `file` is where the new key was written, and is remembered. `step` is told before each
/// commit, and may end it there, as a crash may; the same call again then begins anew or goes on, whichever is right.
///
/// # Errors
/// [`VaultError::NoVault`]; [`VaultError::WrongKey`] when neither key opens the vault; [`VaultError::Damaged`] when a
/// credential does not unseal: nothing was changed then. [`VaultError::Interrupted`] when `step` said so.
pub async fn rekey(
    store: &Store,
    old: &VaultKey,
    new: &VaultKey,
    file: &str,
    now: Timestamp,
    step: &mut dyn FnMut(RekeyStep) -> ControlFlow<()>,
) -> Result<Rekeyed, VaultError> {
    let check = store.get(key_check_key()).map_err(VaultError::Read)?;
    let check = check.ok_or(VaultError::NoVault)?;
    if opens(new, &check)? {
        let finished = match under_way(store)? {
            Some(UnderWay { switched: true, .. }) => Rekeyed::Finished,
            Some(_) | None => Rekeyed::Already,
        };
        settle(store, step).await?;
        return Ok(finished);
    }
    if !opens(old, &check)? {
        return Err(VaultError::WrongKey(hint(store)?));
    }
    settle(store, step).await?;
    let mut work = Work { store, step };
    let mut begin = Batch::new();
    let mut mark = UnderWay {
        file: file.to_owned(),
        began_at: now,
        switched: false,
    };
    begin.put(under_way_key(), json(&mark));
    work.commit(RekeyStep::Begin, begin).await?;
    let sealed = work.stage(&Keys { old, new }).await?;
    mark.switched = true;
    let note = Note {
        file: file.to_owned(),
        at: now,
    };
    let mut switch = Batch::new();
    switch
        .expect(key_check_key(), check)
        .put(key_check_key(), KeyCheck::seal(new).map_err(VaultError::Seal)?)
        .put(under_way_key(), json(&mark))
        .put(note_key(), json(&note));
    work.commit(RekeyStep::Switch, switch).await?;
    settle(store, step).await?;
    Ok(Rekeyed::Done(sealed))
}

/// Brings what an interrupted rekey has left to its one right end. Called with a key that opens the vault.
pub(crate) async fn settle(
    store: &Store,
    step: &mut dyn FnMut(RekeyStep) -> ControlFlow<()>,
) -> Result<(), VaultError> {
    let Some(mark) = under_way(store)? else {
        return Ok(());
    };
    let mut work = Work { store, step };
    let mut moved = 0;
    loop {
        let staged = store
            .scan(&Scan::prefix(staged_key(), PAGE))
            .map_err(VaultError::Read)?;
        let mut batch = Batch::new();
        if staged.is_empty() {
            batch.delete(under_way_key());
            return work.commit(RekeyStep::Move(moved), batch).await;
        }
        for (key, value) in staged {
            if mark.switched {
                batch.put(of_staged(&key)?, value);
                moved += 1;
            }
            batch.delete(key);
        }
        work.commit(RekeyStep::Move(moved), batch).await?;
    }
}

/// What to say to somebody whose key does not open the vault.
pub(crate) fn hint(store: &Store) -> Result<KeyHint, VaultError> {
    let note = store.get(note_key()).map_err(VaultError::Read)?;
    let note: Option<Note> = note.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let unfinished = under_way(store)?.filter(|mark| !mark.switched);
    Ok(KeyHint {
        rekeyed: note.map(|note| (in_one_line(&note.file), note.at)),
        unfinished: unfinished.map(|mark| in_one_line(&mark.file)),
    })
}

/// What stands in the store is not authentic: it must not drive a terminal.
fn in_one_line(file: &str) -> String {
    let letters = file.chars().take(HINT_CHARS_MAX);
    letters
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

struct Work<'a> {
    store: &'a Store,
    step: &'a mut dyn FnMut(RekeyStep) -> ControlFlow<()>,
}

impl Work<'_> {
    /// Seals everything under the new key, beside the old records.
    async fn stage(&mut self, keys: &Keys<'_>) -> Result<u64, VaultError> {
        let mut sealed = 0;
        for kind in KINDS {
            let mut page = Scan::prefix((kind.prefix)(), PAGE);
            loop {
                let records = self.store.scan(&page).map_err(VaultError::Read)?;
                let Some((last, _)) = records.last() else { break };
                page = page.after(last.clone());
                let mut batch = Batch::new();
                for (key, value) in records {
                    batch.put(staged_key().text(&key), (kind.rewrap)(keys, &key, &value)?);
                    sealed += 1;
                }
                self.commit(RekeyStep::Seal(sealed), batch).await?;
            }
        }
        Ok(sealed)
    }

    async fn commit(&mut self, step: RekeyStep, batch: Batch) -> Result<(), VaultError> {
        if (self.step)(step).is_break() {
            return Err(VaultError::Interrupted);
        }
        self.store.commit(batch).await.map_err(VaultError::Write)
    }
}

/// A credential under the new key. That it opens there is seen before anything rests on it.
fn credential(keys: &Keys<'_>, key: &[u8], value: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (workspace, connection, credential) = read_credential_key(key)?;
    let place = Place {
        workspace: &workspace,
        connection: &connection,
        credential: &credential,
    };
    let rewrapped = || -> Result<Vec<u8>, ChangeError> {
        let bytes = Record::decode(value)?.rewrapped(keys.old, keys.new, place)?.encode();
        let sealed = Record::decode(&bytes)?;
        sealed.open(keys.new, place)?;
        sealed.open_previous(keys.new, place, Timestamp::ZERO)?;
        Ok(bytes)
    };
    rewrapped().map_err(|error| match error {
        ChangeError::Seal(error) => VaultError::Seal(error),
        ChangeError::Open(_) => crate::vault::damaged(place),
    })
}

/// A key of bodies under the new key. One that does not unseal is no use under the old key either, and is no reason to keep that:
/// it is left as it is.
fn body_key(keys: &Keys<'_>, key: &[u8], value: &[u8]) -> Result<Vec<u8>, VaultError> {
    let again = body_keys::rewrapped(keys.old, keys.new, key, value)?;
    Ok(again.unwrap_or_else(|| {
        tracing::warn!(key = %key.escape_ascii(), "a key of bodies does not unseal; it is left as it is");
        value.to_vec()
    }))
}

fn opens(key: &VaultKey, check: &[u8]) -> Result<bool, VaultError> {
    match KeyCheck::open(key, check) {
        Ok(()) => Ok(true),
        Err(OpenError::Refused) => Ok(false),
        Err(OpenError::Malformed) => Err(VaultError::KeyCheckDamaged),
    }
}

fn under_way(store: &Store) -> Result<Option<UnderWay>, VaultError> {
    let mark = store.get(under_way_key()).map_err(VaultError::Read)?;
    let mark = mark.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    mark.map_err(|_| VaultError::UnknownRecord)
}

fn json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("texts, times and a flag have a JSON form")
}

/// `v`, "rekey".
fn under_way_key() -> Key {
    Key::of(Keyspace::Vault).text("rekey")
}

/// `v`, "key-note".
fn note_key() -> Key {
    Key::of(Keyspace::Vault).text("key-note")
}

/// `v`, "rekey-staged"; then the key of the record whose place it takes.
fn staged_key() -> Key {
    Key::of(Keyspace::Vault).text("rekey-staged")
}

/// The key of the record whose place this one takes: another of the vault's.
fn of_staged(key: &[u8]) -> Result<Vec<u8>, VaultError> {
    let read = || {
        let mut reader = KeyReader::of(Keyspace::Vault, key)?;
        let _staged = reader.text()?;
        let of = reader.text()?;
        reader.end()?;
        KeyReader::of(Keyspace::Vault, &of).map(|_| of.clone())
    };
    read().map_err(|_| VaultError::UnknownRecord)
}

#[cfg(test)]
mod tests;
