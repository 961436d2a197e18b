//! Header names that only the host writes: one list for what guests may send and for what a credential slot may name.
//!
//! Names compare folded. CGI and what descends from it (WSGI, Rack, PHP) hands `x-a` and `x_a` to an application as one
//! variable (RFC 3875 section 4.1.18), and some servers treat every other mark alike, so a name that differs from a listed
//! one in its marks only is that name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a header that an admin writes, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Headers that frame the message, route it, name the host, carry the trace, or put another method or path behind the
/// granted one; folded. Every name that starts with `proxy-` is another.
pub const HOST_HEADERS: [&str; 22] = [
    "accept-encoding",
    "baggage",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-host",
    // Servers that honour these would see another method or path than the one that was granted.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// The name as it compares: letters in lower case, everything but letters and digits as `-`.
pub fn folded(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// Whether nobody but the host writes the header of this folded name.
pub fn is_hosts(folded: &str) -> bool {
    HOST_HEADERS.contains(&folded) || folded.starts_with("proxy-")
}

/// A header that something other than the message's framing is written to or read from, in lower case.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);

/// The text names no header that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeaderName {
    /// RFC 9110 section 5.1.
    #[error(
        "a header's name is 1 to {NAME_BYTES_MAX} letters, digits and marks such as `-`, without spaces or a colon"
    )]
    Malformed,
    /// It frames or routes the message.
    #[error("the header `{0}` frames or routes the message and holds nothing else")]
    HostHeader(String),
}

impl HeaderName {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = BadHeaderName;

    fn from_str(text: &str) -> Result<Self, BadHeaderName> {
        if text.len() > NAME_BYTES_MAX || !is_token(text) {
            return Err(BadHeaderName::Malformed);
        }
        let name = text.to_ascii_lowercase();
        if is_hosts(&folded(&name)) {
            return Err(BadHeaderName::HostHeader(name));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for HeaderName {
    type Error = BadHeaderName;

    fn try_from(text: String) -> Result<Self, BadHeaderName> {
        text.parse()
    }
}

impl From<HeaderName> for String {
    fn from(name: HeaderName) -> Self {
        name.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// Whether a text may stand before a credential in `authorization`: nothing, or one word and one space (RFC 9110 section
/// 11.4).
pub(super) fn is_auth_scheme(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix(' ').is_some_and(is_token)
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_and_marks_only_are_one() {
        for name in ["Content-Length", "content_length", "CONTENT.LENGTH", "content-length"] {
            assert_eq!(folded(name), "content-length");
        }
        for name in HOST_HEADERS {
            assert_eq!(folded(name), name, "the list is folded");
        }
        assert!(is_hosts("proxy-anything"));
        assert!(!is_hosts("content-type"));
    }
}
