//! Sealing: what every sealed record of the vault is made with, and the record that proves the key.
//!
//! XChaCha20-Poly1305 with nonces from the operating system's generator, which at 24 bytes never meet.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use zeroize::Zeroizing;

use crate::key::{KEY_BYTES, KeyError, VaultKey, fill_random};

/// Bytes that [`seal`] adds: a nonce before, a tag behind.
pub(crate) const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What the key check seals.
const KEY_CHECK_TEXT: &[u8] = b"this vault is sealed under this key";

/// Which credential a record belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub workspace: &'a WorkspaceName,
    pub connection: &'a ConnectionName,
    pub credential: &'a CredentialName,
}

/// The stored bytes do not unseal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// They are no sealed record of a known format.
    #[error("not a sealed record of a known format")]
    Malformed,
    /// They were sealed under another key or for another place, or were changed.
    #[error("sealed under another key, for another place, or changed")]
    Refused,
}

/// A nonce, and the secret sealed under the vault key. It opens with the same associated data only, which must say what is
/// sealed and where it belongs.
pub(crate) fn wrap(key: &VaultKey, associated: &[u8], secret: &[u8]) -> Result<Vec<u8>, KeyError> {
    seal(key.expose(), associated, secret)
}

/// What [`wrap`] has sealed.
pub(crate) fn unwrap(key: &VaultKey, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open(key.expose(), associated, sealed)
}

/// The format byte, then a nonce and [`KEY_CHECK_TEXT`] sealed under the vault key.
pub(crate) struct KeyCheck;

impl KeyCheck {
    const ASSOCIATED: &[u8] = b"cofferdam/vault/1/key check";
    const FORMAT: u8 = 1;

    pub(crate) fn seal(key: &VaultKey) -> Result<Vec<u8>, KeyError> {
        let mut sealed = vec![Self::FORMAT];
        sealed.extend(wrap(key, Self::ASSOCIATED, KEY_CHECK_TEXT)?);
        Ok(sealed)
    }

    pub(crate) fn open(key: &VaultKey, sealed: &[u8]) -> Result<(), OpenError> {
        match sealed.split_first() {
            Some((&Self::FORMAT, rest)) => unwrap(key, Self::ASSOCIATED, rest).map(drop),
            Some(_) | None => Err(OpenError::Malformed),
        }
    }
}

/// A new random key for one value.
pub(crate) fn data_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    fill_random(&mut *key)?;
    Ok(key)
}

/// Associated data: what is sealed, where it belongs, and what else the seal vouches for. Each part but the last is behind
/// its length, so that no two places share it.
pub(crate) fn associated(format: &[u8], layer: &[u8], place: Place<'_>, vouched: &[u8]) -> Vec<u8> {
    let mut data = format.to_vec();
    let names = [
        place.workspace.as_str(),
        place.connection.as_str(),
        place.credential.as_str(),
    ];
    for part in std::iter::once(layer).chain(names.map(str::as_bytes)) {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part);
    }
    data.extend(vouched);
    data
}

pub(crate) fn seal(key: &[u8; KEY_BYTES], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg, aad })
        .expect("a secret is far below the cipher's limit");
    Ok([&nonce[..], &sealed].concat())
}

pub(crate) fn open(key: &[u8; KEY_BYTES], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
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

    #[test]
    fn what_is_wrapped_opens_under_its_key_and_for_its_purpose_only() {
        let wrapped = wrap(&key("11"), b"body key of monday", b"hunter2").unwrap();
        let check = |with: &str, associated: &[u8], sealed: &[u8], expected: Result<&[u8], OpenError>| {
            let found = unwrap(&key(with), associated, sealed);
            assert_eq!(
                found.as_ref().map(|found| found.as_slice()).map_err(|error| *error),
                expected
            );
        };
        check("11", b"body key of monday", &wrapped, Ok(b"hunter2"));
        check("22", b"body key of monday", &wrapped, Err(OpenError::Refused));
        check("11", b"body key of tuesday", &wrapped, Err(OpenError::Refused));
        check("11", b"body key of monday", &wrapped[1..], Err(OpenError::Refused));
        check(
            "11",
            b"body key of monday",
            &wrapped[..NONCE_BYTES - 1],
            Err(OpenError::Malformed),
        );
    }

    #[test]
    fn wrapping_twice_shares_no_byte_run() {
        let (one, two) = (
            wrap(&key("11"), b"", b"hunter2").unwrap(),
            wrap(&key("11"), b"", b"hunter2").unwrap(),
        );
        assert_ne!(one[..NONCE_BYTES], two[..NONCE_BYTES]);
        assert_ne!(one[NONCE_BYTES..], two[NONCE_BYTES..]);
    }

    #[test]
    fn the_key_check_knows_its_key() {
        let check = KeyCheck::seal(&key("11")).unwrap();
        assert_eq!(KeyCheck::open(&key("11"), &check), Ok(()));
        assert_eq!(KeyCheck::open(&key("22"), &check), Err(OpenError::Refused));
        assert_eq!(KeyCheck::open(&key("11"), &[]), Err(OpenError::Malformed));
    }
}
