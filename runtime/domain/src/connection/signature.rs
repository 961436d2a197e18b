//! How a message is signed by HMAC: what is signed, with which algorithm, and where the signature is written.
//!
//! One description serves both directions: the host verifies requests that come in by it, and signs requests that go out
//! by it. It holds no key and computes no HMAC; whoever does feeds it the parts that [`Template::render`] names, in order.

mod encoding;
mod template;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::header::{self, HeaderName};
use crate::time::Timestamp;

pub use self::encoding::{SecretEncoding, SignatureEncoding};
pub use self::template::{BadTemplate, Message, Placeholder, Template};

/// Longest text in front of a signature, in bytes.
const PREFIX_BYTES_MAX: usize = 64;

/// Longest text of a timestamp that is read, in bytes. The longest RFC 3339 with nanoseconds and an offset has 35.
const TIMESTAMP_BYTES_MAX: usize = 40;

/// How a message is signed.
///
/// The defaults sign the body alone by HMAC-SHA256 and write lower-case hex; only the header has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The hash under the HMAC.
    #[serde(default)]
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The header that holds it.
    pub header: HeaderName,
    /// Text in front of it in the header, such as `sha256=`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What is signed.
    #[serde(default)]
    pub template: Template,
    /// The header that holds `{timestamp}`; needed if the template has it, and of no use otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<HeaderName>,
    /// How that timestamp is written.
    #[serde(default)]
    pub timestamp_unit: TimestampUnit,
    /// The header that holds the id of the message. Needed if the template has `{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_header: Option<HeaderName>,
    /// How the credential's text becomes the key.
    #[serde(default)]
    pub secret_encoding: SecretEncoding,
}

/// The hash under an HMAC (RFC 2104). SHA-1 is here because providers still sign by it; its known collisions do not
/// reach an HMAC (RFC 6194 section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HmacAlgorithm {
    /// HMAC-SHA1, 20 bytes.
    Sha1,
    /// HMAC-SHA256, 32 bytes.
    #[default]
    Sha256,
    /// HMAC-SHA512, 64 bytes.
    Sha512,
}

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampUnit {
    /// Seconds since the Unix epoch, in decimal digits.
    #[default]
    Seconds,
    /// Milliseconds since the Unix epoch, in decimal digits.
    Milliseconds,
    /// RFC 3339, such as `2026-11-25T08:00:00Z`.
    Rfc3339,
}

impl Signature {
    /// A signature of the body alone in this header, by every default.
    pub fn of_body(header: HeaderName) -> Self {
        Self {
            algorithm: HmacAlgorithm::default(),
            encoding: SignatureEncoding::default(),
            header,
            prefix: String::new(),
            template: Template::default(),
            timestamp_header: None,
            timestamp_unit: TimestampUnit::default(),
            id_header: None,
            secret_encoding: SecretEncoding::default(),
        }
    }

    /// Whether a timestamp is signed, so that a message that was captured is good for a while only.
    pub fn signs_time(&self) -> bool {
        self.template.has(Placeholder::Timestamp)
    }

    /// Everything that keeps it from being used, each with what to write instead.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let prefix = &self.prefix;
        if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            problems.push(format!(
                "prefix is at most {PREFIX_BYTES_MAX} bytes of visible ASCII and spaces"
            ));
        }
        if self.header.as_str() == "authorization" && !header::is_auth_scheme(prefix) {
            problems.push(
                "prefix in `authorization` is empty, or one word and one space (RFC 9110 section 11.4): write `HMAC `"
                    .to_owned(),
            );
        }
        if self.header.as_str() == "cookie" {
            problems.push("header is `cookie`, which holds no signature: name the header that does".to_owned());
        }
        problems.extend(self.problem_of_header(
            Placeholder::Timestamp,
            "timestamp_header",
            self.timestamp_header.as_ref(),
        ));
        problems.extend(self.problem_of_header(Placeholder::Id, "id_header", self.id_header.as_ref()));
        if self.timestamp_header.is_some() && !self.signs_time() {
            problems.push(
                "timestamp_header is set, but an unsigned timestamp keeps nobody from sending a captured message again: \
                 write {timestamp} into the template where the provider signs it, or leave timestamp_header out"
                    .to_owned(),
            );
        }
        if self.timestamp_header.is_some() && self.timestamp_header == self.id_header {
            problems.push("timestamp_header and id_header name one header: name two".to_owned());
        }
        problems
    }

    fn problem_of_header(&self, placeholder: Placeholder, field: &str, header: Option<&HeaderName>) -> Option<String> {
        match header {
            None if self.template.has(placeholder) => Some(format!(
                "template has {{{placeholder}}}, so {field} must name the header that holds it"
            )),
            Some(header) if *header == self.header => Some(format!(
                "{field} is the header of the signature itself: name the one that holds {{{placeholder}}}"
            )),
            Some(_) | None => None,
        }
    }
}

impl HmacAlgorithm {
    /// The name in files, the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl TimestampUnit {
    /// The time that a text names, or none if it is not written in this unit: no sign, no space, no leading zero, so that
    /// one time has one text and no digit can move between a signed timestamp and what is signed beside it.
    pub fn parse(self, text: &str) -> Option<Timestamp> {
        if text.len() > TIMESTAMP_BYTES_MAX {
            return None;
        }
        match self {
            Self::Seconds => digits(text)?.checked_mul(1_000).map(Timestamp::from_millis),
            Self::Milliseconds => digits(text).map(Timestamp::from_millis),
            Self::Rfc3339 => Timestamp::parse_rfc3339(text),
        }
    }

    /// The time as this unit writes it.
    pub fn render(self, time: Timestamp) -> String {
        match self {
            Self::Seconds => (time.as_millis() / 1_000).to_string(),
            Self::Milliseconds => time.as_millis().to_string(),
            Self::Rfc3339 => time.to_string(),
        }
    }
}

/// Whether the two times lie at most this far apart, whichever is first.
pub fn within(tolerance: Duration, one: Timestamp, other: Timestamp) -> bool {
    one.since(other) <= tolerance && other.since(one) <= tolerance
}

fn digits(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
