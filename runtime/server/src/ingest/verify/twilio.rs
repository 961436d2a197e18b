//! Twilio: `X-Twilio-Signature` is the base 64 HMAC-SHA1, under the account's auth token, of the whole URL and then of each
//! form parameter, name and value, sorted by name with nothing in between. A parameter that comes several times counts once
//! per different value, sorted. The URL counts with and without its port, because Twilio's products sign either.
//!
//! A body that is no form is covered by the query parameter `bodySHA256`, the hex SHA-256 of the body, in the signed URL.
//! A webhook rule may sign with a shared key by HMAC-SHA256 instead, and says so in another header.
//!
//! Nothing stands between what is signed, so whoever has a signed request can move letters between a parameter's name and
//! value, and no time is signed: TLS has to keep requests from being captured.
//!
//! <https://www.twilio.com/docs/usage/security#validating-requests>,
//! <https://www.twilio.com/docs/usage/webhooks/webhooks-security>,
//! <https://www.twilio.com/docs/usage/webhooks/webhook-shared-keys>

use std::borrow::Cow;
use std::collections::BTreeSet;

use cofferdam_domain::InboundGrant;
use cofferdam_domain::connection::signature::HmacAlgorithm;
use cofferdam_vault::Secret;
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::claim::{self, Claim};
use super::{Incoming, Unverified, address, header};

/// Most parameters of a form. Twilio sends some dozens.
const PARAMETERS_MAX: usize = 1_000;

/// The query parameter that covers a body that is no form.
const BODY_HASH: &[u8] = b"bodySHA256";

/// Names the algorithm where it is not HMAC-SHA1.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// Name and value.
type Parameter<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

pub(super) fn verify(grant: &InboundGrant, secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    let given = header::one(incoming.headers, "x-twilio-signature")?;
    let given = data_encoding::BASE64
        .decode(given.as_bytes())
        .map_err(|_| Unverified::Malformed("x-twilio-signature is not base 64"))?;
    let external = grant
        .external_url
        .as_ref()
        .ok_or(Unverified::Malformed("the connection has no external_url"))?;
    let url = address::url(external, incoming);
    let (algorithm, parameters) = (algorithm(incoming)?, parameters(incoming)?);
    let keys = claim::raw(secrets);
    let holds = with_and_without_port(&url).map(|url| {
        let claim = Claim {
            algorithm,
            signed: std::iter::once(Cow::Owned(url.into_bytes()))
                .chain(
                    parameters
                        .iter()
                        .flat_map(|(name, value)| [name.clone(), value.clone()]),
                )
                .collect(),
            given: vec![given.clone()],
            sent: None,
        };
        claim.holds(&keys)
    });
    if holds.contains(&true) {
        Ok(())
    } else {
        Err(Unverified::Mismatch)
    }
}

/// The header is not signed, and need not be: one key under two algorithms makes two signatures that nobody can turn into
/// each other.
fn algorithm(incoming: &Incoming<'_>) -> Result<HmacAlgorithm, Unverified> {
    if !incoming.headers.contains_key(SETTINGS) {
        return Ok(HmacAlgorithm::Sha1);
    }
    let settings = header::one(incoming.headers, SETTINGS)?;
    let mut algorithms = settings
        .split(',')
        .filter_map(|item| item.trim().strip_prefix("algorithm="));
    match (algorithms.next(), algorithms.next()) {
        (Some("HMAC_SHA1"), None) => Ok(HmacAlgorithm::Sha1),
        (Some("HMAC_SHA256"), None) => Ok(HmacAlgorithm::Sha256),
        _ => Err(Unverified::Malformed(
            "x-twilio-webhooks-signature-settings names no algorithm that is known here",
        )),
    }
}

/// What is signed behind the URL. Every byte of the body is covered, by a parameter or by its hash, or the request is refused.
fn parameters<'a>(incoming: &Incoming<'a>) -> Result<BTreeSet<Parameter<'a>>, Unverified> {
    let hash = form(incoming.query.as_bytes()).find(|(name, _)| &**name == BODY_HASH);
    if let Some((_, expected)) = hash {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(incoming.body));
        return if hash.as_bytes().ct_eq(&expected).into() {
            Ok(BTreeSet::new())
        } else {
            Err(Unverified::Mismatch)
        };
    }
    if incoming.body.is_empty() {
        return Ok(BTreeSet::new());
    }
    let is_form = header::only(incoming.headers, "content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(Unverified::Malformed(
            "its body is neither a form nor covered by `bodySHA256` in the query, so nobody signed it",
        ));
    }
    if form(incoming.body).nth(PARAMETERS_MAX).is_some() {
        return Err(Unverified::Malformed("its form has more than 1,000 parameters"));
    }
    Ok(form(incoming.body).collect())
}

/// Names and values of a form (<https://url.spec.whatwg.org/#urlencoded-parsing>), byte by byte: bytes that are no UTF-8 stay
/// what they are, so that no two bodies are signed alike for having been repaired.
fn form(text: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    text.split(|byte| *byte == b'&')
        .filter(|item| !item.is_empty())
        .map(|item| {
            let at = item.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((item, &b""[..]), |at| (&item[..at], &item[at + 1..]));
            (decoded(name), decoded(value))
        })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// The URL without any port, and with one: its own or the scheme's.
fn with_and_without_port(url: &str) -> [String; 2] {
    let (scheme, authority, rest) = address::parts(url);
    let name_end = authority.rfind(']').map_or(0, |at| at + 1);
    let port = authority[name_end..].find(':').map(|at| name_end + at);
    let (host, port) = port.map_or((authority, None), |at| (&authority[..at], Some(&authority[at..])));
    let port = port.unwrap_or(if scheme.eq_ignore_ascii_case("https://") {
        ":443"
    } else {
        ":80"
    });
    [format!("{scheme}{host}{rest}"), format!("{scheme}{host}{port}{rest}")]
}
