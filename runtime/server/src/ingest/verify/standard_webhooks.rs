//! Standard Webhooks 1.0: `webhook-signature` holds space-separated signatures of `id.timestamp.body`, at most five minutes
//! away: `v1,<base 64 HMAC-SHA256>` under a secret `whsec_…`, `v1a,<base 64 ed25519>` under a public key `whpk_…`.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! The form of the credential decides which of the two counts, so that nobody can have a public key taken for an HMAC's key.

use std::time::Duration;

use cofferdam_domain::connection::signature::{HmacAlgorithm, TimestampUnit};
use cofferdam_vault::Secret;
use ring::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::claim::{Claim, Key, Sent};
use super::header::{self, SIGNATURES_MAX};
use super::{Incoming, Unverified};

/// How far a timestamp may lie in the past or the future; the reference libraries use the same five minutes.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Most ed25519 signatures of one request that are tried with each key. Unlike an HMAC, each costs a pass over the body.
const ED25519_SIGNATURES_MAX: usize = 4;

/// In front of a secret's base 64.
const SECRET_PREFIX: &[u8] = b"whsec_";

/// In front of a public key's base 64.
const PUBLIC_KEY_PREFIX: &[u8] = b"whpk_";

/// In front of a private key's base 64, which is the sender's alone.
const PRIVATE_KEY_PREFIX: &[u8] = b"whsk_";

/// The credential, read.
enum Verifier {
    Hmac(Key),
    Ed25519([u8; ED25519_PUBLIC_KEY_LEN]),
}

pub(super) fn verify(secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    let id = header::one(incoming.headers, "webhook-id")?;
    let timestamp = header::one(incoming.headers, "webhook-timestamp")?;
    let signatures = header::one(incoming.headers, "webhook-signature")?;
    // The three are signed with dots in between; with one in the id, a part of the body could pass for the timestamp.
    if id.is_empty() || id.contains('.') {
        return Err(Unverified::Malformed("webhook-id is empty or has a `.`"));
    }
    let at = TimestampUnit::Seconds
        .parse(timestamp)
        .ok_or(Unverified::Malformed("webhook-timestamp is not seconds since 1970"))?;
    let (keys, public_keys) = verifiers(secrets)?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", incoming.body];
    let by_hmac = !keys.is_empty() && {
        let claim = Claim {
            algorithm: HmacAlgorithm::Sha256,
            signed: signed.map(Into::into).to_vec(),
            given: given(signatures, "v1,", SIGNATURES_MAX),
            sent: None,
        };
        claim.holds(&keys)
    };
    let by_ed25519 = !public_keys.is_empty() && {
        let given = given(signatures, "v1a,", ED25519_SIGNATURES_MAX);
        let message = if given.is_empty() { Vec::new() } else { signed.concat() };
        public_keys.iter().any(|key| {
            let key = UnparsedPublicKey::new(&ED25519, key);
            given.iter().any(|signature| key.verify(&message, signature).is_ok())
        })
    };
    if !by_hmac && !by_ed25519 {
        return Err(Unverified::Mismatch);
    }
    let sent = Sent {
        at,
        tolerance: TOLERANCE,
    };
    sent.check(incoming.now)
}

/// The first signatures of this version.
fn given(signatures: &str, version: &str, max: usize) -> Vec<Vec<u8>> {
    signatures
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|signature| signature.strip_prefix(version))
        .filter_map(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok())
        .take(max)
        .collect()
}

/// What can be used of the secrets: HMAC keys and public keys.
fn verifiers(secrets: &[Secret]) -> Result<(Vec<Key>, Vec<[u8; ED25519_PUBLIC_KEY_LEN]>), Unverified> {
    let (mut keys, mut public_keys) = (Vec::new(), Vec::new());
    let mut unusable = "none of its versions is active";
    for secret in secrets {
        match read(secret.expose().trim_ascii()) {
            Ok(Verifier::Hmac(key)) => keys.push(key),
            Ok(Verifier::Ed25519(key)) => public_keys.push(key),
            Err(problem) => unusable = problem,
        }
    }
    if keys.is_empty() && public_keys.is_empty() {
        return Err(Unverified::UnusableSecret(unusable));
    }
    Ok((keys, public_keys))
}

fn read(secret: &[u8]) -> Result<Verifier, &'static str> {
    let decode = |encoded: &[u8]| data_encoding::BASE64.decode(encoded).map(Zeroizing::new).ok();
    if secret.starts_with(PRIVATE_KEY_PREFIX) {
        return Err(
            "it is the sender's private key `whsk_…`: set the public key `whpk_…`, and have that private key replaced",
        );
    }
    if let Some(encoded) = secret.strip_prefix(PUBLIC_KEY_PREFIX) {
        let key = decode(encoded).and_then(|key| key.as_slice().try_into().ok());
        return key
            .map(Verifier::Ed25519)
            .ok_or("behind `whpk_` there is not the base 64 of 32 bytes");
    }
    let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    decode(encoded)
        .filter(|key| !key.is_empty())
        .map(Verifier::Hmac)
        .ok_or("it is neither `whsec_` nor `whpk_` with base 64 behind it")
}
