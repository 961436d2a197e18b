//! The sealed form of a body. Integers are big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | format, 1 |
//! | 4 | number of the key among those of its day |
//! | 24 | nonce |
//! | 16 | tag |
//! | n | the body, sealed |
//!
//! XChaCha20-Poly1305; a random nonce of 24 bytes never meets another under one key. The associated data names workspace and
//! event and holds the first five bytes, so that a body opens for its own event only.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use cofferdam_queue::BodyPlace;

use super::associated_with_body;
use super::key_record::BodyKey;
use crate::envelope::OpenError;
use crate::key::{KeyError, fill_random};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 5;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Bytes in front of the body.
const FRONT_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/// See the module.
pub(super) struct SealedBody;

impl SealedBody {
    /// Copies the body once, and seals it where it then lies.
    pub(super) fn seal(key: &BodyKey, number: u32, place: BodyPlace<'_>, body: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(FRONT_BYTES + body.len());
        sealed.push(FORMAT);
        sealed.extend(number.to_be_bytes());
        let associated = associated_with_body(place.workspace, place.event, &sealed);
        sealed.extend(nonce);
        sealed.extend([0; TAG_BYTES]);
        sealed.extend(body);
        let (front, body) = sealed.split_at_mut(FRONT_BYTES);
        let tag = cipher(key)
            .encrypt_inout_detached(&XNonce::from(nonce), &associated, body.into())
            .expect("a body is far below the cipher's limit of 256 GiB");
        front[HEADER_BYTES + NONCE_BYTES..].copy_from_slice(&tag);
        Ok(sealed)
    }

    /// Which key it was sealed under; none if it is of no known format.
    pub(super) fn key_number(sealed: &[u8]) -> Option<u32> {
        let (header, _) = sealed.split_first_chunk::<HEADER_BYTES>()?;
        let [format, number @ ..] = *header;
        (format == FORMAT && sealed.len() >= FRONT_BYTES).then(|| u32::from_be_bytes(number))
    }

    /// The body, unsealed where it lies.
    pub(super) fn open(key: &BodyKey, place: BodyPlace<'_>, mut sealed: Vec<u8>) -> Result<Vec<u8>, OpenError> {
        let (front, body) = sealed.split_at_mut_checked(FRONT_BYTES).ok_or(OpenError::Malformed)?;
        let (header, rest) = front.split_at(HEADER_BYTES);
        let (nonce, tag) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
        let tag: [u8; TAG_BYTES] = tag.try_into().map_err(|_| OpenError::Malformed)?;
        let associated = associated_with_body(place.workspace, place.event, header);
        cipher(key)
            .decrypt_inout_detached(&XNonce::from(*nonce), &associated, body.into(), &Tag::from(tag))
            .map_err(|_| OpenError::Refused)?;
        sealed.drain(..FRONT_BYTES);
        Ok(sealed)
    }
}

fn cipher(key: &BodyKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}
