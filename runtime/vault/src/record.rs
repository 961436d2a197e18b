//! A sealed credential as it lies in the store: its head, the present value, and values before it that are still accepted.
//!
//! Every value is sealed under a data key of its own, and that key under the vault key. The secret's seal vouches for its
//! place and version, the data key's for the head too. So a record opens only where it was written and as it was written, and
//! a change of the head, or of the vault key, seals data keys anew and no secret.

use cofferdam_domain::Timestamp;
use zeroize::Zeroizing;

use crate::envelope::{OpenError, Place, SEAL_BYTES, associated, data_key, open, seal, unwrap, wrap};
use crate::head::{FORMAT_1, Head, Previous};
use crate::key::{KEY_BYTES, KeyError, VaultKey};
use crate::secret::Secret;

/// A data key under its seal.
const WRAPPED_BYTES: usize = KEY_BYTES + SEAL_BYTES;

const DATA_KEY: &[u8] = b"data key";
const PREVIOUS_DATA_KEY: &[u8] = b"data key of a value before";
const SECRET: &[u8] = b"secret";

/// Why a record cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// What is there does not unseal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No random bytes.
    #[error(transparent)]
    Seal(#[from] KeyError),
}

/// A record of format 2, taken apart: the [`Head`], then each value, the present one first: its data key under the vault key
/// (72 bytes), the length of what follows (4 bytes), and the secret under the data key.
///
/// Format 1 is its head, the data key and the secret; there the seals of both vouch for the head. It is read as it is, and
/// written as format 2 with the next change.
pub(crate) struct Record {
    pub(crate) head: Head,
    /// The bytes of the head, as they are sealed.
    head_bytes: Vec<u8>,
    present: Value,
    previous: Vec<Value>,
}

/// A value, sealed.
struct Value {
    key: Vec<u8>,
    secret: Vec<u8>,
}

impl Record {
    /// A record of one value.
    pub(crate) fn seal(key: &VaultKey, place: Place<'_>, head: Head, secret: &Secret) -> Result<Self, KeyError> {
        let head_bytes = head.encode();
        let data_key = data_key()?;
        let present = Value {
            key: wrap(key, &aad(DATA_KEY, place, &head_bytes), &*data_key)?,
            secret: seal(&data_key, &aad_of_secret(place, head.version), secret.expose())?,
        };
        Ok(Self {
            head,
            head_bytes,
            present,
            previous: Vec::new(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes.clone();
        if self.is_format_1() {
            bytes.extend(&self.present.key);
            bytes.extend(&self.present.secret);
            return bytes;
        }
        for value in std::iter::once(&self.present).chain(&self.previous) {
            let length = u32::try_from(value.secret.len()).expect("a secret is far shorter");
            bytes.extend(&value.key);
            bytes.extend(length.to_be_bytes());
            bytes.extend(&value.secret);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let (head, length) = Head::decode(bytes)?;
        let (head_bytes, mut rest) = bytes.split_at(length);
        let head_bytes = head_bytes.to_vec();
        if head_bytes.first() == Some(&FORMAT_1) {
            let (key, secret) = rest.split_at_checked(WRAPPED_BYTES).ok_or(OpenError::Malformed)?;
            let present = Value {
                key: key.to_vec(),
                secret: secret.to_vec(),
            };
            return Ok(Self {
                head,
                head_bytes,
                present,
                previous: Vec::new(),
            });
        }
        let present = Value::take(&mut rest).ok_or(OpenError::Malformed)?;
        let previous = head.previous.iter().map(|_| Value::take(&mut rest));
        let previous = previous.collect::<Option<_>>().ok_or(OpenError::Malformed)?;
        if !rest.is_empty() {
            return Err(OpenError::Malformed);
        }
        Ok(Self {
            head,
            head_bytes,
            present,
            previous,
        })
    }

    /// The present value.
    pub(crate) fn open(&self, key: &VaultKey, place: Place<'_>) -> Result<Secret, OpenError> {
        self.present.open(
            key,
            &self.aad_of_key(DATA_KEY, place, &self.head_bytes),
            &self.aad_of_present(place),
        )
    }

    /// The values before the present one that are accepted now. The head says which those are, so the present one is opened
    /// with them.
    pub(crate) fn open_previous(
        &self,
        key: &VaultKey,
        place: Place<'_>,
        now: Timestamp,
    ) -> Result<Vec<Secret>, OpenError> {
        let accepted = self.head.previous.iter().zip(&self.previous);
        let accepted = accepted.filter(|(previous, _)| now < previous.until);
        accepted
            .map(|(previous, value)| {
                value.open(
                    key,
                    &aad_of_previous(place, previous),
                    &aad_of_secret(place, previous.version),
                )
            })
            .collect()
    }

    /// The same values under another head. It may leave out values before the present one, and not add any.
    pub(crate) fn with_head(&self, key: &VaultKey, place: Place<'_>, head: Head) -> Result<Self, ChangeError> {
        let previous = self.kept(&head.previous);
        if self.is_format_1() {
            return Ok(Self::seal(key, place, head, &self.open(key, place)?)?);
        }
        let data_key = unwrap(key, &aad(DATA_KEY, place, &self.head_bytes), &self.present.key)?;
        let head_bytes = head.encode();
        let present = Value {
            key: wrap(key, &aad(DATA_KEY, place, &head_bytes), &data_key)?,
            secret: self.present.secret.clone(),
        };
        Ok(Self {
            head,
            head_bytes,
            present,
            previous,
        })
    }

    /// A record with a new present value. The one that was present is the first before it, with those that the head keeps.
    pub(crate) fn succeeded(
        &self,
        key: &VaultKey,
        place: Place<'_>,
        head: Head,
        secret: &Secret,
    ) -> Result<Self, ChangeError> {
        let Some((was_present, rest)) = head.previous.split_first() else {
            return Ok(Self::seal(key, place, head, secret)?);
        };
        let mut previous = vec![self.retired(key, place, was_present)?];
        previous.extend(self.kept(rest));
        let next = Self::seal(key, place, head, secret)?;
        Ok(Self { previous, ..next })
    }

    /// The same record with its data keys under another vault key. No secret is opened.
    pub(crate) fn rewrapped(&self, old: &VaultKey, new: &VaultKey, place: Place<'_>) -> Result<Self, ChangeError> {
        let again = |value: &Value, aad: &[u8]| -> Result<Value, ChangeError> {
            let data_key = unwrap(old, aad, &value.key)?;
            Ok(Value {
                key: wrap(new, aad, &data_key)?,
                secret: value.secret.clone(),
            })
        };
        let previous = self.head.previous.iter().zip(&self.previous);
        let previous = previous.map(|(entry, value)| again(value, &aad_of_previous(place, entry)));
        Ok(Self {
            head: self.head.clone(),
            head_bytes: self.head_bytes.clone(),
            present: again(&self.present, &self.aad_of_key(DATA_KEY, place, &self.head_bytes))?,
            previous: previous.collect::<Result<_, _>>()?,
        })
    }

    fn is_format_1(&self) -> bool {
        self.head_bytes.first() == Some(&FORMAT_1)
    }

    fn aad_of_key(&self, layer: &[u8], place: Place<'_>, vouched: &[u8]) -> Vec<u8> {
        if self.is_format_1() {
            associated(b"cofferdam/vault/1/", layer, place, vouched)
        } else {
            aad(layer, place, vouched)
        }
    }

    fn aad_of_present(&self, place: Place<'_>) -> Vec<u8> {
        if self.is_format_1() {
            associated(b"cofferdam/vault/1/", SECRET, place, &self.head_bytes)
        } else {
            aad_of_secret(place, self.head.version)
        }
    }

    /// The present value, sealed as one before it.
    fn retired(&self, key: &VaultKey, place: Place<'_>, entry: &Previous) -> Result<Value, ChangeError> {
        let aad_of_key = aad_of_previous(place, entry);
        // Opened in any case: what is carried on must be known to open.
        let secret = self.open(key, place)?;
        if self.is_format_1() {
            let data_key = data_key()?;
            return Ok(Value {
                key: wrap(key, &aad_of_key, &*data_key)?,
                secret: seal(&data_key, &aad_of_secret(place, entry.version), secret.expose())?,
            });
        }
        let data_key = unwrap(key, &aad(DATA_KEY, place, &self.head_bytes), &self.present.key)?;
        Ok(Value {
            key: wrap(key, &aad_of_key, &data_key)?,
            secret: self.present.secret.clone(),
        })
    }

    /// The sealed values of these entries, which stand in this record's head.
    fn kept(&self, entries: &[Previous]) -> Vec<Value> {
        let find = |wanted: &Previous| self.head.previous.iter().position(|entry| entry == wanted);
        let places = entries.iter().filter_map(find);
        places
            .filter_map(|place| self.previous.get(place))
            .map(Value::copy)
            .collect()
    }
}

impl Value {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let (key, behind) = rest.split_at_checked(WRAPPED_BYTES)?;
        let (length, behind) = behind.split_first_chunk::<4>()?;
        let (secret, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        *rest = behind;
        Some(Self {
            key: key.to_vec(),
            secret: secret.to_vec(),
        })
    }

    fn copy(&self) -> Self {
        Self {
            key: self.key.clone(),
            secret: self.secret.clone(),
        }
    }

    fn open(&self, key: &VaultKey, aad_of_key: &[u8], aad_of_secret: &[u8]) -> Result<Secret, OpenError> {
        let data_key = unwrap(key, aad_of_key, &self.key)?;
        let data_key: &[u8; KEY_BYTES] = data_key.as_slice().try_into().map_err(|_| OpenError::Malformed)?;
        let mut secret: Zeroizing<Vec<u8>> = open(data_key, aad_of_secret, &self.secret)?;
        Secret::new(std::mem::take(&mut *secret)).map_err(|_| OpenError::Malformed)
    }
}

fn aad(layer: &[u8], place: Place<'_>, vouched: &[u8]) -> Vec<u8> {
    associated(b"cofferdam/vault/2/", layer, place, vouched)
}

fn aad_of_secret(place: Place<'_>, version: u64) -> Vec<u8> {
    aad(SECRET, place, &version.to_be_bytes())
}

fn aad_of_previous(place: Place<'_>, entry: &Previous) -> Vec<u8> {
    let vouched = [entry.version.to_be_bytes(), entry.until.as_millis().to_be_bytes()].concat();
    aad(PREVIOUS_DATA_KEY, place, &vouched)
}

#[cfg(test)]
mod tests;
