//! From what the host saw to a verdict: the host's own trail first, the guest's word second.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::{CREDENTIAL_REFUSALS, Exchange, ExchangeResult};
use crate::fault::{Fault, FaultKind};

/// The taxonomy of failures. Dashboards, alerts and runbooks are keyed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The upstream refused the credential.
    Auth,
    /// The upstream, or our own budget for it, asks to slow down.
    RateLimited,
    /// The upstream or something behind it does not work now.
    Dependency,
    /// Name resolution, connection or TLS failed.
    Transport,
    /// Time ran out after bytes had left: the effect may have happened.
    Timeout,
    /// The upstream refused this event as malformed.
    Schema,
    /// The target is gone for good.
    Gone,
    /// The connection's settings are wrong.
    Configuration,
    /// The gate refused a request.
    Policy,
    /// The connector trapped, ran out of a limit or returned nonsense.
    ConnectorFault,
    /// The event's data cannot be worked with.
    DataQuality,
}

impl FailureClass {
    /// Every class, for label sets and documentation.
    pub const ALL: [Self; 11] = [
        Self::Auth,
        Self::RateLimited,
        Self::Dependency,
        Self::Transport,
        Self::Timeout,
        Self::Schema,
        Self::Gone,
        Self::Configuration,
        Self::Policy,
        Self::ConnectorFault,
        Self::DataQuality,
    ];

    /// The name used in records, metrics, the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::RateLimited => "rate-limited",
            Self::Dependency => "dependency",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Schema => "schema",
            Self::Gone => "gone",
            Self::Configuration => "configuration",
            Self::Policy => "policy",
            Self::ConnectorFault => "connector-fault",
            Self::DataQuality => "data-quality",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What proves a delivered attempt, as the connector states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What the upstream calls the thing that was made.
    #[serde(default)]
    pub external_id: Option<String>,
    /// One line for the person on call.
    #[serde(default)]
    pub summary: Option<String>,
    /// The later word that is expected.
    #[serde(default)]
    pub confirmation: Option<ExpectedConfirmation>,
}

/// The later word from outside that the business effect happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedConfirmation {
    /// The value by which the confirmation names this receipt.
    pub key: String,
    /// How long to wait for it, in milliseconds.
    pub within_ms: u64,
}

/// The guest's word on why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFailure {
    /// Closed set of the contract.
    pub kind: GuestFailureKind,
    /// The upstream's own word.
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
    /// The upstream asked to wait this long.
    pub retry_after: Option<Duration>,
}

/// `failure-kind` of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestFailureKind {
    /// See the contract.
    Auth,
    /// See the contract.
    RateLimited,
    /// See the contract.
    Dependency,
    /// See the contract.
    Invalid,
    /// See the contract.
    DataQuality,
    /// See the contract.
    Configuration,
    /// See the contract.
    Gone,
}

impl GuestFailureKind {
    const fn class(self) -> FailureClass {
        match self {
            Self::Auth => FailureClass::Auth,
            Self::RateLimited => FailureClass::RateLimited,
            Self::Dependency => FailureClass::Dependency,
            Self::Invalid => FailureClass::Schema,
            Self::DataQuality => FailureClass::DataQuality,
            Self::Configuration => FailureClass::Configuration,
            Self::Gone => FailureClass::Gone,
        }
    }
}

/// How the call into the guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The guest says that it is done.
    Done(Receipt),
    /// The guest says that it could not.
    Failed(GuestFailure),
    /// The guest broke the contract.
    Faulted(Fault),
    /// The host has judged already: a kept request that its source connector still cannot read.
    Refused(Failure),
}

/// The host's verdict on an attempt, before policy decides what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Delivered(Receipt),
    /// It is not.
    Failed(Failure),
}

/// A failure as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The host's class.
    pub class: FailureClass,
    /// The upstream's, the gate's or the host's own word.
    #[serde(default)]
    pub code: Option<String>,
    /// One sentence for the person on call.
    pub message: String,
    /// True when the effect may have happened all the same.
    #[serde(default)]
    pub ambiguous: bool,
    /// The upstream asked to wait at least this long.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// Weighs how the call ended against the trail it left.
///
/// The last exchange decides, since a connector may probe with earlier ones: a lookup that answers 404 before a
/// creation that answers 201 is a delivery. Where the last exchange went well, the guest's word stands: a 200 that says
/// `"ok": false` is a failure only the connector can read.
pub fn classify(result: CallResult, trail: &[Exchange]) -> Verdict {
    let seen = trail
        .last()
        .and_then(|exchange| class_of(&exchange.result).map(|class| (class, exchange)));
    match (result, seen) {
        (CallResult::Done(receipt), None) => Verdict::Delivered(receipt),
        (CallResult::Failed(said), None) => Verdict::Failed(from_guest(said)),
        // A deadline that passes while a request is under way, sent or still connecting, is the upstream's slowness and not
        // the connector's fault.
        (
            CallResult::Faulted(Fault {
                kind: FaultKind::Deadline,
                ..
            }),
            Some((class @ (FailureClass::Timeout | FailureClass::Transport), exchange)),
        ) => Verdict::Failed(from_exchange(class, exchange, None)),
        (CallResult::Refused(failure), _) => Verdict::Failed(failure),
        (CallResult::Faulted(fault), _) => Verdict::Failed(Failure {
            class: FailureClass::ConnectorFault,
            code: Some(fault.kind.code().to_owned()),
            message: fault.message,
            ambiguous: trail.iter().any(|exchange| exchange.result.may_have_acted()),
            retry_after_ms: None,
        }),
        (CallResult::Done(_), Some((class, exchange))) => Verdict::Failed(from_exchange(class, exchange, None)),
        (CallResult::Failed(said), Some((class, exchange))) => {
            Verdict::Failed(from_exchange(class, exchange, Some(said)))
        }
    }
}

/// As [`classify`], for a poll: `304 Not Modified` (RFC 9110 section 15.4.5) is how an upstream says that there is nothing
/// new, so the connector's word stands.
pub fn classify_poll(result: CallResult, trail: &[Exchange]) -> Verdict {
    let unchanged = trail
        .last()
        .is_some_and(|last| matches!(last.result, ExchangeResult::Answered { status: 304, .. }));
    match result {
        CallResult::Done(_) | CallResult::Failed(_) if unchanged => classify(result, &[]),
        CallResult::Done(_) | CallResult::Failed(_) | CallResult::Faulted(_) | CallResult::Refused(_) => {
            classify(result, trail)
        }
    }
}

/// The class of a status or of a gate's answer; none when nothing is wrong.
fn class_of(result: &ExchangeResult) -> Option<FailureClass> {
    match result {
        // A 403 that asks to wait, or says that a limit is spent, is no word on the credential:
        // https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
        ExchangeResult::Answered {
            status: 403,
            retry_after_ms: Some(_),
            ..
        } => Some(FailureClass::RateLimited),
        ExchangeResult::Answered { status, .. } => class_of_status(*status),
        ExchangeResult::InFlight { request_sent } | ExchangeResult::TimedOut { request_sent } => {
            Some(if *request_sent {
                FailureClass::Timeout
            } else {
                FailureClass::Transport
            })
        }
        ExchangeResult::Interrupted { .. } => Some(FailureClass::Timeout),
        ExchangeResult::Refused { code, .. } if CREDENTIAL_REFUSALS.contains(&code.as_str()) => {
            Some(FailureClass::Auth)
        }
        ExchangeResult::Refused { .. } => Some(FailureClass::Policy),
        ExchangeResult::RateLimited { .. } => Some(FailureClass::RateLimited),
        ExchangeResult::Unreachable { .. } => Some(FailureClass::Transport),
        ExchangeResult::ResponseTooLarge { .. } | ExchangeResult::ProtocolError { .. } => {
            Some(FailureClass::Dependency)
        }
    }
}

fn class_of_status(status: u16) -> Option<FailureClass> {
    match status {
        200..=299 => None,
        300..=399 => Some(FailureClass::Configuration),
        401 | 403 | 407 => Some(FailureClass::Auth),
        408 | 425 => Some(FailureClass::Dependency),
        429 => Some(FailureClass::RateLimited),
        410 => Some(FailureClass::Gone),
        400..=499 => Some(FailureClass::Schema),
        _ => Some(FailureClass::Dependency),
    }
}

fn from_guest(said: GuestFailure) -> Failure {
    Failure {
        class: said.kind.class(),
        code: said.code,
        message: said.message,
        ambiguous: false,
        retry_after_ms: said.retry_after.map(millis),
    }
}

fn from_exchange(class: FailureClass, exchange: &Exchange, said: Option<GuestFailure>) -> Failure {
    let upstream = &exchange.upstream;
    let (code, seen) = match &exchange.result {
        ExchangeResult::Answered { status, .. } => (status.to_string(), format!("{upstream} answered {status}")),
        ExchangeResult::InFlight { .. } | ExchangeResult::TimedOut { .. } => {
            ("timed-out".to_owned(), format!("{upstream} did not answer in time"))
        }
        ExchangeResult::Interrupted { message } => (
            "interrupted".to_owned(),
            format!("the connection to {upstream} broke: {message}"),
        ),
        ExchangeResult::Refused { code, message } => (code.clone(), message.clone()),
        ExchangeResult::RateLimited { wait_ms } => (
            "local-rate".to_owned(),
            format!("the budget of {upstream} asks to wait {wait_ms} ms"),
        ),
        ExchangeResult::Unreachable { message } => (
            "unreachable".to_owned(),
            format!("{upstream} could not be reached: {message}"),
        ),
        ExchangeResult::ResponseTooLarge { bytes_max } => (
            "response-too-large".to_owned(),
            format!("{upstream} answered with more than {bytes_max} bytes"),
        ),
        ExchangeResult::ProtocolError { message } => (
            "protocol-error".to_owned(),
            format!("{upstream} did not answer in HTTP: {message}"),
        ),
    };
    let said_wait = said.as_ref().and_then(|said| said.retry_after).map(millis);
    // A connector that only repeats the status has nothing to add.
    let said = said.filter(|said| said.code.as_deref() != Some(&code));
    let (said_code, said_message) = said.map_or((None, None), |said| (said.code, Some(said.message)));
    Failure {
        class,
        code: Some(match said_code {
            Some(said) => format!("{code} {said}"),
            None => code,
        }),
        message: match said_message {
            Some(said) if !said.is_empty() => format!("{seen}; the connector says: {said}"),
            _ => seen,
        },
        ambiguous: exchange.result.may_have_acted(),
        retry_after_ms: exchange.result.retry_after_ms().max(said_wait),
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
