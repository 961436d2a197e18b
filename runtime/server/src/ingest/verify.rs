//! Who sent a request, found out by the host over the raw bytes before any connector sees it.
//!
//! Whoever fails learns nothing but 401: not which header was missing, not which secret was tried. The operator learns
//! [`Unverified`]. A signature is computed once per active secret, every one of them is tried, and all comparisons take the
//! same time; only then is the time of the request looked at, so that "stale" means signed but late.

mod address;
mod basic;
mod bearer;
mod claim;
mod delivery_id;
mod github;
mod header;
mod hmac;
mod mac;
mod shopify;
mod slack;
mod standard_webhooks;
mod stripe;
mod twilio;

use axum::http::HeaderMap;
use cofferdam_domain::{InboundGrant, InboundScheme, Timestamp};
use cofferdam_vault::Secret;

pub(super) use self::delivery_id::delivery_id;
pub(super) use self::slack::challenge;

/// A request to a hook, as it came in.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    /// All of them, as sent.
    pub(super) headers: &'a HeaderMap,
    /// The path of the request line, undecoded.
    pub(super) path: &'a str,
    /// What of it lies behind the hook's own path: empty, or from a `/` on.
    pub(super) rest: &'a str,
    /// The query of the request line, undecoded, without its `?`.
    pub(super) query: &'a str,
    /// The raw bytes.
    pub(super) body: &'a [u8],
    /// When it came.
    pub(super) now: Timestamp,
}

/// Why a request is not taken. For the operator; it names headers, never what was in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unverified {
    /// The credential has no active version.
    #[error("its credential is not set: set it with `cofferdam secret set`")]
    NoSecret,
    /// None of its versions is of the form that the scheme needs.
    #[error("its credential cannot be used: {0}")]
    UnusableSecret(&'static str),
    /// The sender does not sign, or by another scheme.
    #[error(
        "the header {0} is missing: the sender does not sign by this scheme, or something in between takes it away"
    )]
    MissingHeader(String),
    /// Proxies and libraries disagree on which of them counts.
    #[error("the header {0} was sent more than once")]
    RepeatedHeader(String),
    /// What is there is not what the scheme says.
    #[error("{0}")]
    Malformed(&'static str),
    /// Another secret, another body or, where it is signed, another address.
    #[error("it was not made with this credential, or the request was changed on its way")]
    Mismatch,
    /// Signed, but too long ago or ahead of time.
    #[error(
        "it was signed, but at a time too far from this machine's: it was sent again, was long under way, or a clock is wrong"
    )]
    Stale,
}

impl Unverified {
    /// For metrics: one of seven words.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::NoSecret => "no-secret",
            Self::UnusableSecret(_) => "unusable-secret",
            Self::MissingHeader(_) => "missing-header",
            Self::RepeatedHeader(_) => "repeated-header",
            Self::Malformed(_) => "malformed",
            Self::Mismatch => "mismatch",
            Self::Stale => "stale",
        }
    }
}

/// Checks the request against every active secret.
pub(super) fn verify(grant: &InboundGrant, secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    if grant.scheme.needs_credential() && secrets.is_empty() {
        return Err(Unverified::NoSecret);
    }
    match grant.scheme {
        InboundScheme::Github => github::claim(incoming)?.check(&claim::raw(secrets), incoming.now),
        InboundScheme::StandardWebhooks => standard_webhooks::verify(secrets, incoming),
        InboundScheme::Slack => slack::claim(incoming)?.check(&claim::raw(secrets), incoming.now),
        InboundScheme::Stripe => stripe::claim(incoming)?.check(&claim::raw(secrets), incoming.now),
        InboundScheme::Shopify => shopify::claim(incoming)?.check(&claim::raw(secrets), incoming.now),
        InboundScheme::Twilio => twilio::verify(grant, secrets, incoming),
        InboundScheme::Hmac => hmac::verify(grant, secrets, incoming),
        InboundScheme::Basic => basic::verify(secrets, incoming),
        InboundScheme::Bearer => bearer::verify(grant, secrets, incoming),
        InboundScheme::None => Ok(()),
    }
}

/// Headers that are the host's business and that no connector gets: whoever has them could send the request again.
const HOST_HEADERS: [&str; 15] = [
    "authorization",
    "connection",
    "cookie",
    "proxy-authorization",
    "shopify-hmac-sha256",
    "stripe-signature",
    "te",
    "transfer-encoding",
    "upgrade",
    "webhook-signature",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-shopify-hmac-sha256",
    "x-slack-signature",
    "x-twilio-signature",
];

/// Whether a connector gets the header of this name, in lower case.
pub(super) fn is_for_connector(grant: Option<&InboundGrant>, name: &str) -> bool {
    let granted = grant.into_iter().flat_map(|grant| {
        let signature = grant.signature.as_ref().map(|signature| &signature.header);
        signature.into_iter().chain(&grant.header)
    });
    !HOST_HEADERS.contains(&name) && granted.into_iter().all(|header| header.as_str() != name)
}

#[cfg(test)]
mod tests;
