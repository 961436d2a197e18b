//! Standard Webhooks 1.0: HMAC-SHA256 (`v1`) with a secret, ed25519 (`v1a`) with a private key. Which one is told by the
//! prefix of the credential.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme>

use data_encoding::BASE64;
use http::HeaderName;
use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use super::{Needles, Outbound, put, sign, unusable};
use crate::refusal::Refusal;

/// The headers that it writes.
pub(crate) const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// Prefix of a secret as providers show it. It may be left out.
const SECRET_PREFIX: &[u8] = b"whsec_";

/// Prefix of a private key as providers show it.
const PRIVATE_KEY_PREFIX: &[u8] = b"whsk_";

/// An ed25519 seed, and a seed with its public key behind it (RFC 8032 section 5.1.5, and what NaCl calls a secret key).
const SEED_BYTES: usize = 32;
const KEY_PAIR_BYTES: usize = 64;

/// Signs id, time and body.
pub(super) fn attach(secret: &[u8], outbound: &mut Outbound<'_>, needles: &mut Needles) -> Result<(), Refusal> {
    // A file that holds a secret often ends in a line break.
    let secret = secret.trim_ascii();
    let timestamp = (outbound.now.as_millis() / 1000).to_string();
    let signed = [
        outbound.message_id.as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        outbound.body,
    ];
    let signature = match secret.strip_prefix(PRIVATE_KEY_PREFIX) {
        Some(text) => by_private_key(text, &signed, needles)?,
        None => by_secret(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret), &signed, needles)?,
    };
    let [id_header, timestamp_header, signature_header] = HEADERS;
    for (name, value) in [
        (id_header, outbound.message_id),
        (timestamp_header, &timestamp),
        (signature_header, &signature),
    ] {
        put(outbound.headers, HeaderName::from_static(name), b"", value.as_bytes())?;
    }
    Ok(())
}

fn by_secret(text: &[u8], signed: &[&[u8]], needles: &mut Needles) -> Result<String, Refusal> {
    let key = decoded(text).filter(|key| !key.is_empty()).ok_or_else(|| {
        unusable("a Standard Webhooks secret is `whsec_` and base64, or `whsk_` and a private key in base64")
    })?;
    needles.push(Zeroizing::new(text.to_vec()));
    let signature = format!("v1,{}", BASE64.encode(&sign(&key, signed)));
    needles.push(key);
    Ok(signature)
}

fn by_private_key(text: &[u8], signed: &[&[u8]], needles: &mut Needles) -> Result<String, Refusal> {
    let bad = || {
        unusable(
            "a Standard Webhooks private key is `whsk_` and base64 of an ed25519 seed of 32 bytes, or of the seed and its \
             public key",
        )
    };
    let key = decoded(text).ok_or_else(bad)?;
    let pair = match key.len() {
        SEED_BYTES => Ed25519KeyPair::from_seed_unchecked(&key),
        KEY_PAIR_BYTES => Ed25519KeyPair::from_seed_and_public_key(&key[..SEED_BYTES], &key[SEED_BYTES..]),
        _ => return Err(bad()),
    };
    let pair = pair.map_err(|_| bad())?;
    needles.push(Zeroizing::new(text.to_vec()));
    needles.push(Zeroizing::new(key[..SEED_BYTES].to_vec()));
    needles.push(key);
    // ed25519 hashes its message twice, so it has to be in one piece.
    let signature = pair.sign(&signed.concat());
    Ok(format!("v1a,{}", BASE64.encode(signature.as_ref())))
}

fn decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    BASE64.decode(text).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
