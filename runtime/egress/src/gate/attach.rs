//! Puts a credential into its slot. Called last, when nothing can refuse the request any more but the credential itself.
//!
//! Values are marked sensitive, so that the HTTP client neither logs nor indexes them. The copies that the client holds
//! while it sends are not wiped.

pub(crate) mod aws;
pub(crate) mod standard_webhooks;
pub(crate) mod template;

use cofferdam_domain::connection::signature::Signature;
use cofferdam_domain::{CredentialSlot, Timestamp};
use cofferdam_vault::Secret;
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

use crate::oauth2::AccessToken;
use crate::refusal::{Refusal, RefusalCode};

/// The unreserved characters of RFC 3986 section 2.3 stay; all others are encoded.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request about to leave.
pub(crate) struct Outbound<'a> {
    /// What a signature covers.
    pub method: &'a Method,
    /// Gets header slots.
    pub headers: &'a mut HeaderMap,
    /// Gets the query slot.
    pub url: &'a mut Url,
    /// What a signature covers.
    pub body: &'a [u8],
    /// Names the message in a signature.
    pub message_id: &'a str,
    /// Dates the message in a signature.
    pub now: Timestamp,
    /// How it is signed, where the slot is `hmac`.
    pub signature: Option<&'a Signature>,
}

/// What must not come back: the secret and what follows from it.
pub(crate) type Needles = Vec<Zeroizing<Vec<u8>>>;

/// Attaches `secret` to `outbound` as `slot` says.
pub(crate) fn attach(slot: &CredentialSlot, secret: &Secret, mut outbound: Outbound<'_>) -> Result<Needles, Refusal> {
    let value = secret.expose();
    let mut needles: Needles = vec![Zeroizing::new(value.to_vec())];
    match slot {
        CredentialSlot::None => {}
        CredentialSlot::Bearer => put(outbound.headers, AUTHORIZATION, b"Bearer ", value)?,
        CredentialSlot::Basic => {
            let (_, password) = split_at_colon(value)
                .ok_or_else(|| unusable("a credential for basic authentication is `user:password` (RFC 7617)"))?;
            if !password.is_empty() {
                needles.push(Zeroizing::new(password.to_vec()));
            }
            let encoded = Zeroizing::new(BASE64.encode(value));
            put(outbound.headers, AUTHORIZATION, b"Basic ", encoded.as_bytes())?;
            needles.push(Zeroizing::new(encoded.as_bytes().to_vec()));
        }
        CredentialSlot::Header { name, prefix } => {
            put(outbound.headers, header_name(name)?, prefix.as_bytes(), value)?;
        }
        CredentialSlot::Query(name) => append_query(outbound.url, name, value),
        CredentialSlot::HmacSha256 { name, prefix } => {
            let signature = HEXLOWER.encode(&sign(value, &[outbound.body]));
            put(
                outbound.headers,
                header_name(name)?,
                prefix.as_bytes(),
                signature.as_bytes(),
            )?;
        }
        CredentialSlot::StandardWebhooks => standard_webhooks::attach(value, &mut outbound, &mut needles)?,
        CredentialSlot::Hmac => {
            let signature = outbound
                .signature
                .ok_or_else(|| unusable("the upstream's grant has no table `signature`, which says what is signed"))?;
            template::attach(signature, value, &mut outbound, &mut needles)?;
        }
        CredentialSlot::AwsSigV4 { region, service } => {
            aws::attach(region, service, value, &mut outbound, &mut needles)?;
        }
        CredentialSlot::OAuth2(_) => return Err(not_supported()),
    }
    Ok(with_texts(needles))
}

/// Makes a request one that its slot can sign. Asked before the credential is read.
pub(crate) fn fit(slot: &CredentialSlot, headers: &HeaderMap, url: &mut Url) -> Result<(), Refusal> {
    match slot {
        CredentialSlot::AwsSigV4 { service, .. } => aws::fit(service, headers, url),
        CredentialSlot::None
        | CredentialSlot::Bearer
        | CredentialSlot::Basic
        | CredentialSlot::Header { .. }
        | CredentialSlot::Query(_)
        | CredentialSlot::OAuth2(_)
        | CredentialSlot::HmacSha256 { .. }
        | CredentialSlot::StandardWebhooks
        | CredentialSlot::Hmac => Ok(()),
    }
}

/// Attaches an access token, in place of one that was attached before (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &mut HeaderMap, token: &AccessToken) -> Result<(), Refusal> {
    put(headers, AUTHORIZATION, b"Bearer ", token.value.expose().as_bytes())
}

/// The slot as it is recorded: without a header's prefix, which an admin may have put part of a secret into.
pub(crate) fn slot_label(slot: &CredentialSlot) -> String {
    match slot {
        CredentialSlot::Header { name, .. } => format!("header {name}"),
        CredentialSlot::HmacSha256 { name, .. } => format!("hmac-sha256 {name}"),
        CredentialSlot::None
        | CredentialSlot::Bearer
        | CredentialSlot::Basic
        | CredentialSlot::Query(_)
        | CredentialSlot::OAuth2(_)
        | CredentialSlot::StandardWebhooks
        | CredentialSlot::Hmac
        | CredentialSlot::AwsSigV4 { .. } => slot.to_string(),
    }
}

/// The answer to the slot `oauth2` where nothing says how tokens are obtained.
pub(crate) fn not_supported() -> Refusal {
    Refusal::new(
        RefusalCode::CredentialKindNotSupported,
        "the upstream takes OAuth 2.0 tokens, and nothing says how they are obtained: add its table `oauth2`, or attach a \
         token as `bearer`",
    )
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A key need not be text. Whoever writes one into JSON, which holds no bytes, writes a character for each (ISO 8859-1): as
/// UTF-8, or as `\u00e9`, which the search takes for the same.
fn with_texts(mut needles: Needles) -> Needles {
    let as_text = |needle: &Zeroizing<Vec<u8>>| {
        let mut text = Zeroizing::new(String::with_capacity(2 * needle.len()));
        text.extend(needle.iter().map(|byte| char::from(*byte)));
        Zeroizing::new(std::mem::take(&mut *text).into_bytes())
    };
    let no_text = needles.iter().filter(|needle| !needle.is_ascii());
    let texts: Needles = no_text.map(as_text).collect();
    needles.extend(texts);
    needles
}

fn put(headers: &mut HeaderMap, name: HeaderName, prefix: &[u8], value: &[u8]) -> Result<(), Refusal> {
    let whole = Zeroizing::new([prefix, value].concat());
    let mut value = HeaderValue::from_bytes(&whole)
        .map_err(|_| unusable("the credential holds a line break or another character that a header cannot carry"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, Refusal> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable("the credential's slot is no header name"))
}

fn append_query(url: &mut Url, name: &str, value: &[u8]) {
    let mut query = Zeroizing::new(url.query().map_or_else(String::new, |query| format!("{query}&")));
    query.extend(percent_encode(name.as_bytes(), QUERY_VALUE));
    query.push('=');
    query.extend(percent_encode(value, QUERY_VALUE));
    url.set_query(Some(&query));
}

fn split_at_colon(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == b':')?;
    Some((&value[..at], &value[at + 1..]))
}

fn unusable(problem: &str) -> Refusal {
    Refusal::new(RefusalCode::CredentialUnusable, problem)
}

#[cfg(test)]
mod tests;
