//! The sealed form of a credential, and of the record that proves the key.
//!
//! Both layers use XChaCha20-Poly1305 with nonces from the operating system's generator, which at 24 bytes never meet.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use zeroize::Zeroizing;

use crate::key::{KEY_BYTES, KeyError, VaultKey, fill_random};
use crate::secret::Secret;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 25;

/// What the key check seals.
const KEY_CHECK_TEXT: &[u8] = b"this vault is sealed under this key";

/// Which credential an envelope belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub workspace: &'a WorkspaceName,
    pub connection: &'a ConnectionName,
    pub credential: &'a CredentialName,
}

/// The part of an envelope that is readable without a key, and authenticated by both layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The stored bytes do not unseal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// They are no envelope of a known format.
    #[error("not a sealed record of a known format")]
    Malformed,
    /// They were sealed under another key or for another place, or were changed.
    #[error("sealed under another key, for another place, or changed")]
    Refused,
}

/// A sealed credential. Integers are big-endian:
///
/// | bytes | |
/// |---|---|
/// | 1 | format, 1 |
/// | 8 | version of the credential |
/// | 8 | created at, milliseconds |
/// | 8 | updated at, milliseconds |
/// | 24 + 48 | nonce, and the data key sealed under the vault key |
/// | 24 + n + 16 | nonce, and the secret sealed under the data key |
///
/// The associated data of each layer is the layer's name, then workspace, connection and credential, each behind its
/// length in 8 bytes, then the header above. So an envelope opens only in the place and version it was sealed for.
pub(crate) struct Envelope;

impl Envelope {
    pub(crate) fn seal(key: &VaultKey, place: Place<'_>, header: Header, secret: &Secret) -> Result<Vec<u8>, KeyError> {
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        fill_random(&mut *data_key)?;
        let header = encode(header);
        let mut sealed = header.to_vec();
        sealed.extend(seal(
            key.expose(),
            &associated(b"data key", place, &header),
            &*data_key,
        )?);
        sealed.extend(seal(
            &data_key,
            &associated(b"secret", place, &header),
            secret.expose(),
        )?);
        Ok(sealed)
    }

    pub(crate) fn open(key: &VaultKey, place: Place<'_>, sealed: &[u8]) -> Result<Secret, OpenError> {
        Self::header(sealed)?;
        let (header, rest) = sealed.split_at(HEADER_BYTES);
        let (data_key, secret) = rest
            .split_at_checked(NONCE_BYTES + KEY_BYTES + TAG_BYTES)
            .ok_or(OpenError::Malformed)?;
        let data_key = open(key.expose(), &associated(b"data key", place, header), data_key)?;
        let data_key = data_key.as_slice().try_into().map_err(|_| OpenError::Malformed)?;
        let secret = open(data_key, &associated(b"secret", place, header), secret)?;
        Secret::new(secret.to_vec()).map_err(|_| OpenError::Malformed)
    }

    /// The readable part; authentic only once the whole has been opened.
    pub(crate) fn header(sealed: &[u8]) -> Result<Header, OpenError> {
        let header = sealed.get(1..HEADER_BYTES).ok_or(OpenError::Malformed)?;
        if sealed[0] != FORMAT {
            return Err(OpenError::Malformed);
        }
        let mut numbers = header.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let mut next = || numbers.next().ok_or(OpenError::Malformed);
        Ok(Header {
            version: next()?,
            created_at: Timestamp::from_millis(next()?),
            updated_at: Timestamp::from_millis(next()?),
        })
    }
}

/// The format byte, then a nonce and [`KEY_CHECK_TEXT`] sealed under the vault key.
pub(crate) struct KeyCheck;

impl KeyCheck {
    const ASSOCIATED: &[u8] = b"cofferdam/vault/1/key check";

    pub(crate) fn seal(key: &VaultKey) -> Result<Vec<u8>, KeyError> {
        let mut sealed = vec![FORMAT];
        sealed.extend(seal(key.expose(), Self::ASSOCIATED, KEY_CHECK_TEXT)?);
        Ok(sealed)
    }

    pub(crate) fn open(key: &VaultKey, sealed: &[u8]) -> Result<(), OpenError> {
        match sealed.split_first() {
            Some((&FORMAT, rest)) => open(key.expose(), Self::ASSOCIATED, rest).map(drop),
            Some(_) | None => Err(OpenError::Malformed),
        }
    }
}

fn encode(header: Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [FORMAT; HEADER_BYTES];
    let numbers = [
        header.version,
        header.created_at.as_millis(),
        header.updated_at.as_millis(),
    ];
    for (place, number) in bytes[1..].as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
    bytes
}

fn associated(layer: &[u8], place: Place<'_>, header: &[u8]) -> Vec<u8> {
    let mut data = b"cofferdam/vault/1/".to_vec();
    let names = [
        place.workspace.as_str(),
        place.connection.as_str(),
        place.credential.as_str(),
    ];
    for part in std::iter::once(layer).chain(names.map(str::as_bytes)) {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part);
    }
    data.extend(header);
    data
}

fn seal(key: &[u8; KEY_BYTES], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg, aad })
        .expect("a secret is far below the cipher's limit");
    Ok([&nonce[..], &sealed].concat())
}

fn open(key: &[u8; KEY_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeySource;

    fn key(byte: &str) -> VaultKey {
        VaultKey::load(KeySource::Env(byte.repeat(KEY_BYTES))).unwrap()
    }

    fn header(version: u64) -> Header {
        Header {
            version,
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
        }
    }

    struct Names(WorkspaceName, ConnectionName, CredentialName);

    impl Names {
        fn new(workspace: &str, connection: &str, credential: &str) -> Self {
            Self(
                workspace.parse().unwrap(),
                connection.parse().unwrap(),
                credential.parse().unwrap(),
            )
        }

        fn place(&self) -> Place<'_> {
            Place {
                workspace: &self.0,
                connection: &self.1,
                credential: &self.2,
            }
        }
    }

    fn sealed(names: &Names, version: u64) -> Vec<u8> {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        Envelope::seal(&key("11"), names.place(), header(version), &secret).unwrap()
    }

    #[test]
    fn an_envelope_opens_in_its_own_place_only() {
        let home = Names::new("w", "ab", "c");
        let bytes = sealed(&home, 1);
        assert_eq!(
            Envelope::open(&key("11"), home.place(), &bytes).unwrap().expose(),
            b"hunter2"
        );
        for (workspace, connection, credential) in
            [("x", "ab", "c"), ("w", "x", "c"), ("w", "ab", "x"), ("w", "a", "bc")]
        {
            let other = Names::new(workspace, connection, credential);
            let found = Envelope::open(&key("11"), other.place(), &bytes).err();
            assert_eq!(found, Some(OpenError::Refused), "{workspace} {connection} {credential}");
        }
        assert_eq!(
            Envelope::open(&key("22"), home.place(), &bytes).err(),
            Some(OpenError::Refused)
        );
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let home = Names::new("w", "c", "k");
        let bytes = sealed(&home, 7);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Envelope::open(&key("11"), home.place(), &changed).is_err(), "byte {at}");
            assert!(
                Envelope::open(&key("11"), home.place(), &bytes[..at]).is_err(),
                "cut at {at}"
            );
        }
        assert_eq!(Envelope::header(&bytes), Ok(header(7)));
    }

    #[test]
    fn sealing_twice_shares_no_byte_run() {
        let home = Names::new("w", "c", "k");
        let (one, two) = (sealed(&home, 1), sealed(&home, 1));
        assert_ne!(
            one[HEADER_BYTES..HEADER_BYTES + NONCE_BYTES],
            two[HEADER_BYTES..HEADER_BYTES + NONCE_BYTES]
        );
        assert_ne!(one[one.len() - 23..], two[two.len() - 23..]);
    }

    #[test]
    fn the_key_check_knows_its_key() {
        let check = KeyCheck::seal(&key("11")).unwrap();
        assert_eq!(KeyCheck::open(&key("11"), &check), Ok(()));
        assert_eq!(KeyCheck::open(&key("22"), &check), Err(OpenError::Refused));
        assert_eq!(KeyCheck::open(&key("11"), &[]), Err(OpenError::Malformed));
    }
}
