//! The record of one key of bodies.
//!
//! | bytes | |
//! |---|---|
//! | 1 | state and format: 1 open, 2 closed |
//! | 24 + 32 + 16 | nonce, and the key sealed under the vault key |
//!
//! The associated data names workspace, day and number, so that a record opens in its own place only. The state is not
//! vouched for: whoever can write here can remove the record as well.

use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};

use super::{KeyPlace, associated_with_key};
use crate::envelope::{OpenError, unwrap, wrap};
use crate::key::{KEY_BYTES, KeyError, VaultKey, fill_random};

const OPEN: u8 = 1;
const CLOSED: u8 = 2;

/// Whether bodies are being sealed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    /// They may be.
    Open,
    /// Not unless it is opened again: it is about to go.
    Closed,
}

/// 32 random bytes. Wiped when dropped; prints nothing.
pub(super) struct BodyKey(SecretBox<[u8; KEY_BYTES]>);

impl BodyKey {
    pub(super) fn random() -> Result<Self, KeyError> {
        let mut key = SecretBox::new(Box::new([0; KEY_BYTES]));
        fill_random(key.expose_secret_mut())?;
        Ok(Self(key))
    }

    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }
}

/// See the module.
pub(super) struct KeyRecord;

impl KeyRecord {
    pub(super) fn seal(
        state: KeyState,
        key: &BodyKey,
        vault_key: &VaultKey,
        place: &KeyPlace,
    ) -> Result<Vec<u8>, KeyError> {
        let mut record = vec![byte_of(state)];
        record.extend(wrap(vault_key, &associated_with_key(place), key.expose())?);
        Ok(record)
    }

    pub(super) fn open(
        record: &[u8],
        vault_key: &VaultKey,
        place: &KeyPlace,
    ) -> Result<(KeyState, BodyKey), OpenError> {
        let state = Self::state(record).ok_or(OpenError::Malformed)?;
        let wrapped = Self::wrapped(record).ok_or(OpenError::Malformed)?;
        let opened = unwrap(vault_key, &associated_with_key(place), wrapped)?;
        let opened: &[u8; KEY_BYTES] = opened.as_slice().try_into().map_err(|_| OpenError::Malformed)?;
        let mut key = SecretBox::new(Box::new([0; KEY_BYTES]));
        key.expose_secret_mut().copy_from_slice(opened);
        Ok((state, BodyKey(key)))
    }

    /// None for a record of no known format.
    pub(super) fn state(record: &[u8]) -> Option<KeyState> {
        match record.first() {
            Some(&OPEN) => Some(KeyState::Open),
            Some(&CLOSED) => Some(KeyState::Closed),
            Some(_) | None => None,
        }
    }

    /// The same key in another state.
    pub(super) fn in_state(record: &[u8], state: KeyState) -> Vec<u8> {
        let mut record = record.to_vec();
        if let Some(first) = record.first_mut() {
            *first = byte_of(state);
        }
        record
    }

    /// All but the state.
    pub(super) fn wrapped(record: &[u8]) -> Option<&[u8]> {
        record.get(1..)
    }
}

const fn byte_of(state: KeyState) -> u8 {
    match state {
        KeyState::Open => OPEN,
        KeyState::Closed => CLOSED,
    }
}
