//! What a guest hands to the gate and what it gets back: the nouns of `wit/http.wit`.

use std::time::Duration;

use bytes::Bytes;

use crate::account::AnswerAccount;
use crate::refusal::Refusal;

/// A request as the guest wrote it; nothing about it is trusted.
#[derive(Clone, Debug, Default)]
pub struct GuestRequest {
    /// The name of an upstream.
    pub upstream: String,
    /// Upper case.
    pub method: String,
    /// Below the upstream's base URL, starting with `/`; empty for the base URL itself.
    pub path: String,
    /// Percent-encoded, without `?`.
    pub query: Option<String>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// At most this long in all.
    pub timeout: Option<Duration>,
    /// What its answer counts against while it is read.
    pub account: AnswerAccount,
}

/// A whole response, decoded, with the credential taken out if the upstream reflected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestResponse {
    /// HTTP status; a redirect that the host does not follow is handed on.
    pub status: u16,
    /// Names in lower case, and values; without hop-by-hop headers, `content-length` and cookies.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no response. The texts are the gate's own sentences: no address, URL or secret is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The gate said no; nothing was sent.
    #[error("refused ({}): {}", .0.code(), .0)]
    Refused(Refusal),
    /// The upstream's budget is used up; nothing was sent.
    #[error("over the budget of the upstream; wait {} ms", .wait.as_millis())]
    RateLimited {
        /// Until there is budget again.
        wait: Duration,
    },
    /// Time ran out.
    #[error("timed out {}", if *.request_sent { "after the request had left" } else { "before the request left" })]
    TimedOut {
        /// Whether bytes may have left.
        request_sent: bool,
    },
    /// Resolution, connection or TLS failed; nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection broke after bytes had left.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// The response is larger than this many bytes.
    #[error("the response is larger than {0} bytes")]
    ResponseTooLarge(u64),
    /// The answer is not HTTP, or could not be decoded.
    #[error("protocol error: {0}")]
    ProtocolError(String),
}

impl HttpError {
    /// What it means on the way of a redirect whose answer stands for a change that was carried out: nothing may be said
    /// that promises that nothing has happened.
    pub(crate) fn after_change(self) -> Self {
        match self {
            Self::RateLimited { .. } | Self::Unreachable(_) | Self::TimedOut { request_sent: false } => {
                Self::Interrupted(format!(
                    "the upstream took the request and pointed elsewhere for the outcome: {self}"
                ))
            }
            Self::Refused(_)
            | Self::TimedOut { request_sent: true }
            | Self::Interrupted(_)
            | Self::ResponseTooLarge(_)
            | Self::ProtocolError(_) => self,
        }
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_way_of_a_redirect_after_a_change_nothing_promises_that_nothing_has_happened() {
        for error in [
            HttpError::RateLimited {
                wait: Duration::from_secs(5),
            },
            HttpError::Unreachable("gone".to_owned()),
            HttpError::TimedOut { request_sent: false },
        ] {
            assert!(matches!(error.after_change(), HttpError::Interrupted(_)));
        }
        let ambiguous = HttpError::TimedOut { request_sent: true };
        assert_eq!(ambiguous.clone().after_change(), ambiguous);
    }
}
