//! What a call came to: receipts and failures.

use crate::bindings::imports::cofferdam::connector::state::StateError;
use crate::{ExpectedConfirmation, Failure, FailureKind, HttpError, Receipt, Rejection};

impl Receipt {
    /// A receipt with one line for the person on call, at most 1 KiB.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            external_id: None,
            summary: Some(summary.into()),
            confirmation: None,
        }
    }

    /// What the upstream calls the thing that was made, at most 256 bytes.
    #[must_use]
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Expects a later event or callback that names this key, within so many milliseconds.
    #[must_use]
    pub fn expect_confirmation(mut self, key: impl Into<String>, within_ms: u64) -> Self {
        self.confirmation = Some(ExpectedConfirmation {
            key: key.into(),
            within_ms,
        });
        self
    }
}

impl Failure {
    /// A failure of this kind. `message` is one sentence for the person on call, at most 1 KiB: no body, no personal data.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The upstream refused the credential: the lane waits until it changes.
    #[must_use]
    pub fn auth(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Auth, message)
    }

    /// The upstream asked to slow down.
    #[must_use]
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(FailureKind::RateLimited, message)
    }

    /// The upstream does not work now: tried again later.
    #[must_use]
    pub fn dependency(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Dependency, message)
    }

    /// The upstream understood and refused this event: dead letter at once.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Invalid, message)
    }

    /// The event's data cannot be worked with: dead letter at once.
    #[must_use]
    pub fn data_quality(message: impl Into<String>) -> Self {
        Self::new(FailureKind::DataQuality, message)
    }

    /// The connection's settings are wrong: dead letter, and the connection is flagged.
    #[must_use]
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Configuration, message)
    }

    /// The target is gone for good: dead letter, and the connection is flagged.
    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Gone, message)
    }

    /// The upstream's own word, at most 128 bytes.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The upstream asked to wait at least this long.
    #[must_use]
    pub fn retry_after_ms(mut self, wait: u64) -> Self {
        self.retry_after_ms = Some(wait);
        self
    }
}

impl From<HttpError> for Failure {
    /// What the host's own record of the request comes to, so that `?` is the right thing to write.
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Refused(refusal) => Self::configuration(refusal.message).code(refusal.code),
            HttpError::RateLimited(wait_ms) => {
                Self::rate_limited("the budget of the upstream is used up").retry_after_ms(wait_ms)
            }
            HttpError::TimedOut(sent) if sent.request_sent => {
                Self::dependency("the upstream did not answer in time").code("timed-out")
            }
            HttpError::TimedOut(_) => Self::dependency("the upstream was not reached in time").code("timed-out"),
            HttpError::Unreachable(message) => Self::dependency(message).code("unreachable"),
            HttpError::Interrupted(message) => Self::dependency(message).code("interrupted"),
            HttpError::ResponseTooLarge(bytes_max) => {
                Self::dependency(format!("the response is larger than {bytes_max} bytes")).code("response-too-large")
            }
            HttpError::ProtocolError(message) => Self::dependency(message).code("protocol-error"),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NotGranted => {
                Self::configuration("the connection has no grant for state").code("state-not-granted")
            }
            StateError::KeySize => Self::data_quality("a state key is 1 to 256 bytes").code("state-key-size"),
            StateError::ValueTooLarge(bytes_max) => {
                Self::data_quality(format!("a state value is larger than {bytes_max} bytes")).code("state-value-size")
            }
            StateError::Full(bytes_max) => {
                Self::configuration(format!("the connection's state is full at {bytes_max} bytes")).code("state-full")
            }
            // Somebody else was faster: the next attempt starts from what they wrote.
            StateError::Conflict(_) => Self::dependency("the state was changed meanwhile").code("state-conflict"),
        }
    }
}

impl Rejection {
    /// Why a verified request cannot be understood: an open code such as `unknown-payload`, and one sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: Some(code.to_owned()),
            message: message.into(),
        }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
        }
    }
}
