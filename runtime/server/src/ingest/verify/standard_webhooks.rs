//! Standard Webhooks 1.0: `webhook-signature` holds space-separated `v1,<base64>` signatures of `id.timestamp.body`.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::Duration;

use axum::http::HeaderMap;
use cofferdam_domain::Timestamp;
use subtle::ConstantTimeEq;

/// How far a timestamp may lie in the past or the future; the reference libraries use the same five minutes.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Most signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 16;

/// In front of a secret's base64.
const SECRET_PREFIX: &[u8] = b"whsec_";

pub(super) fn verify(secret: &[u8], headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return false;
    };
    let Some(sent_at) = timestamp
        .parse::<u64>()
        .ok()
        .and_then(|s| s.checked_mul(1_000))
        .map(Timestamp::from_millis)
    else {
        return false;
    };
    if now.since(sent_at) > TOLERANCE || sent_at.since(now) > TOLERANCE {
        return false;
    }
    let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let Ok(key) = data_encoding::BASE64.decode(encoded.trim_ascii()) else {
        return false;
    };
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    // Once, however many signatures are given: a sender without the secret must not choose how much is hashed.
    let Some(expected) = super::hmac_sha256(&key, &parts) else {
        return false;
    };
    signatures
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok())
        .filter(|given| expected.ct_eq(given).into())
        .count()
        > 0
}
