//! Signatures of incoming requests, verified by the host over the raw bytes before any connector sees them.
//!
//! A refusal says nothing about why: not which header was missing, not which secret was tried.

mod github;
mod standard_webhooks;

use axum::http::HeaderMap;
use cofferdam_domain::{InboundScheme, Timestamp};
use cofferdam_vault::Secret;

/// The request is not from who it should be from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unverified;

/// Checks the request against every active secret.
pub(super) fn verify(
    scheme: InboundScheme,
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Unverified> {
    // Every secret is tried, also after a match: the time taken says nothing about which one it was.
    let matches = secrets.iter().filter(|secret| match scheme {
        InboundScheme::Github => github::verify(secret.expose(), headers, body),
        InboundScheme::StandardWebhooks => standard_webhooks::verify(secret.expose(), headers, body, now),
    });
    if matches.count() > 0 { Ok(()) } else { Err(Unverified) }
}

/// The provider's own id of this delivery, for schemes that have one: it is the dedupe key if the connector names none.
pub(super) fn delivery_id(scheme: InboundScheme, headers: &HeaderMap) -> Option<String> {
    let name = match scheme {
        InboundScheme::Github => "x-github-delivery",
        InboundScheme::StandardWebhooks => "webhook-id",
    };
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Headers that are the host's business and that no connector gets: whoever has them could replay the request.
pub(super) const HOST_HEADERS: [&str; 10] = [
    "authorization",
    "connection",
    "cookie",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "webhook-signature",
    "x-hub-signature",
    "x-hub-signature-256",
];

/// HMAC-SHA256 (RFC 2104) of the parts, one after the other. Compare it in constant time.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    use hmac::{KeyInit, Mac};
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests;
