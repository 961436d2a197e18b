//! Slack: `X-Slack-Signature: v0=<hex HMAC-SHA256 of "v0:timestamp:body">` under the app's signing secret, and
//! `X-Slack-Request-Timestamp`, at most five minutes away.
//! <https://docs.slack.dev/authentication/verifying-requests-from-slack>
//!
//! The handshake that an Events API request URL must pass is answered here too, after the check and without a connector.
//! <https://docs.slack.dev/reference/events/url_verification>

use std::borrow::Cow;
use std::time::Duration;

use cofferdam_domain::connection::signature::{HmacAlgorithm, TimestampUnit};
use serde::Deserialize;

use super::claim::{Claim, Sent};
use super::{Incoming, Unverified, delivery_id, header};

/// How far a timestamp may lie in the past or the future.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Longest challenge that is answered, in bytes. Slack's have some 50.
const CHALLENGE_BYTES_MAX: usize = 1024;

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Unverified> {
    let timestamp = header::one(incoming.headers, "x-slack-request-timestamp")?;
    let given = header::one(incoming.headers, "x-slack-signature")?
        .strip_prefix("v0=")
        .and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok())
        .ok_or(Unverified::Malformed("x-slack-signature is not `v0=` and hex"))?;
    let at = TimestampUnit::Seconds.parse(timestamp).ok_or(Unverified::Malformed(
        "x-slack-request-timestamp is not seconds since 1970",
    ))?;
    Ok(Claim {
        algorithm: HmacAlgorithm::Sha256,
        signed: vec![
            b"v0:".into(),
            timestamp.as_bytes().into(),
            b":".into(),
            incoming.body.into(),
        ],
        given: vec![given],
        sent: Some(Sent {
            at,
            tolerance: TOLERANCE,
        }),
    })
}

/// What Slack's handshake asks to have back, if the body is one. Only of a request that was verified.
pub(in super::super) fn challenge(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Handshake<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        challenge: String,
    }
    let handshake: Handshake<'_> = delivery_id::object(body)?;
    (handshake.kind == "url_verification" && handshake.challenge.len() <= CHALLENGE_BYTES_MAX)
        .then_some(handshake.challenge)
}
