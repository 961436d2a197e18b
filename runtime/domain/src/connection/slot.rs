//! Where the host puts a credential, and the one rule for what connectors may ask for and admins may write.
//!
//! A slot never frames the message, names the host or carries what the host says about itself: a credential in such a
//! place would be a way round the gate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::header;

/// Longest prefix of a header slot, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// Longest header or query parameter name of a slot, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// How much of a text an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// Where the host puts a credential. The wire form is a text: `bearer`, `basic`, `header X-Api-Key`, `header Authorization
/// token `, `query key`, `standard-webhooks`, `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CredentialSlot {
    /// No credential.
    None,
    /// `Authorization: Bearer <secret>` (RFC 6750 section 2.1).
    Bearer,
    /// `Authorization: Basic <base64>` (RFC 7617).
    Basic,
    /// A named header with the secret behind a prefix.
    Header {
        /// Lower case.
        name: String,
        /// Put before the secret.
        prefix: String,
    },
    /// A query parameter.
    Query(String),
    /// A bearer token that the host obtains; scopes.
    OAuth2(Vec<String>),
    /// Hex HMAC-SHA256 of the body in a named header.
    HmacSha256 {
        /// Lower case.
        name: String,
        /// Put before the signature.
        prefix: String,
    },
    /// Standard Webhooks 1.0 signature headers.
    StandardWebhooks,
}

/// The text names no slot that a credential may go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no credential slot; {problem}")]
pub struct BadSlot {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error(
        "use `none`, `bearer`, `basic`, `header NAME [PREFIX]`, `query NAME`, `oauth2 [SCOPE …]`, \
         `hmac-sha256 NAME [PREFIX]` or `standard-webhooks`"
    )]
    Unknown,
    #[error("this header is the host's own and holds no credential")]
    HostHeader,
    #[error("a prefix is at most {PREFIX_BYTES_MAX} bytes of visible ASCII and spaces")]
    BadPrefix,
    #[error("the prefix in `authorization` is empty, or one word and one space (RFC 9110 section 11.4)")]
    NotAScheme,
    #[error("the prefix in `cookie` is `NAME=` (RFC 6265 section 4.2.1)")]
    NotACookieName,
}

impl FromStr for CredentialSlot {
    type Err = BadSlot;

    fn from_str(text: &str) -> Result<Self, BadSlot> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let slot = match (word, rest) {
            ("none", "") => Ok(Self::None),
            ("bearer", "") => Ok(Self::Bearer),
            ("basic", "") => Ok(Self::Basic),
            ("standard-webhooks", "") => Ok(Self::StandardWebhooks),
            ("header", _) => named(rest).map(|(name, prefix)| Self::Header { name, prefix }),
            ("hmac-sha256", _) => named(rest).map(|(name, prefix)| Self::HmacSha256 { name, prefix }),
            ("query", name) if is_token(name) => Ok(Self::Query(name.to_owned())),
            ("oauth2", scopes) => Ok(Self::OAuth2(scopes.split_whitespace().map(str::to_owned).collect())),
            _ => Err(Problem::Unknown),
        };
        slot.map_err(|problem| BadSlot {
            text: text.chars().take(QUOTED_CHARS_MAX).collect(),
            problem,
        })
    }
}

impl CredentialSlot {
    /// Whether it takes an access token that the host obtains.
    pub const fn is_oauth2(&self) -> bool {
        matches!(self, Self::OAuth2(_))
    }
}

/// A header's name and prefix. The prefix may end in a space (`token `), so only the first separator is taken away.
fn named(text: &str) -> Result<(String, String), Problem> {
    let (name, prefix) = text.split_once(' ').unwrap_or((text, ""));
    if !is_token(name) {
        return Err(Problem::Unknown);
    }
    if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Problem::BadPrefix);
    }
    let folded = header::folded(name);
    match folded.as_str() {
        "authorization" if !is_scheme(prefix) => Err(Problem::NotAScheme),
        "cookie" if !is_cookie_name(prefix) => Err(Problem::NotACookieName),
        name if header::is_hosts(name) || name == "idempotency-key" || name.starts_with("webhook-") => {
            Err(Problem::HostHeader)
        }
        _ => Ok((name.to_ascii_lowercase(), prefix.to_owned())),
    }
}

fn is_scheme(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix(' ').is_some_and(is_token)
}

fn is_cookie_name(prefix: &str) -> bool {
    prefix.strip_suffix('=').is_some_and(is_token)
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl TryFrom<String> for CredentialSlot {
    type Error = BadSlot;

    fn try_from(text: String) -> Result<Self, BadSlot> {
        text.parse()
    }
}

impl From<CredentialSlot> for String {
    fn from(slot: CredentialSlot) -> Self {
        slot.to_string()
    }
}

impl fmt::Display for CredentialSlot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::Bearer => out.write_str("bearer"),
            Self::Basic => out.write_str("basic"),
            Self::Header { name, prefix } if prefix.is_empty() => write!(out, "header {name}"),
            Self::Header { name, prefix } => write!(out, "header {name} {prefix}"),
            Self::Query(name) => write!(out, "query {name}"),
            Self::OAuth2(scopes) if scopes.is_empty() => out.write_str("oauth2"),
            Self::OAuth2(scopes) => write!(out, "oauth2 {}", scopes.join(" ")),
            Self::HmacSha256 { name, prefix } if prefix.is_empty() => write!(out, "hmac-sha256 {name}"),
            Self::HmacSha256 { name, prefix } => write!(out, "hmac-sha256 {name} {prefix}"),
            Self::StandardWebhooks => out.write_str("standard-webhooks"),
        }
    }
}

#[cfg(test)]
mod tests;
