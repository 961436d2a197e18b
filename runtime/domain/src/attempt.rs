//! Attempts and the trail each leaves: what went out, what came back, what the guest noted.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::classify::{Failure, Receipt};
use crate::hash::Digest;
use crate::id::{ConnectionName, ConnectorName, DeliveryId, UpstreamName, WorkspaceName};
use crate::retry::Outcome;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// One run of a delivery through a connector. It is made durable before anything leaves, and completed by the settle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The delivery it belongs to.
    pub delivery: DeliveryId,
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The connection it went through.
    pub connection: ConnectionName,
    /// 1 for the first run ever of this delivery; never reused, not even by a replay.
    pub run: u32,
    /// The number the connector was told: charged attempts of the present series, this one included.
    pub number: u32,
    /// The span of this attempt.
    pub trace: TraceContext,
    /// When the lease was taken.
    pub started_at: Timestamp,
    /// None while it runs, and for ever if the process died in it.
    #[serde(default)]
    pub ended: Option<AttemptEnd>,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When the call had ended.
    pub at: Timestamp,
    /// The code that ran; none when no code could be run.
    #[serde(default)]
    pub connector: Option<ConnectorRef>,
    /// What happens next.
    pub outcome: Outcome,
    /// Why, unless delivered.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What proves it, if delivered.
    #[serde(default)]
    pub receipt: Option<Receipt>,
    /// Every request that left, or was refused, in order.
    #[serde(default)]
    pub trail: Vec<Exchange>,
    /// What the guest noted.
    #[serde(default)]
    pub logs: Vec<LogLine>,
    /// Lines over the limit.
    #[serde(default)]
    pub logs_dropped: u32,
    /// What the call used.
    #[serde(default)]
    pub usage: Usage,
}

/// Names the exact code that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorRef {
    /// As its descriptor says.
    pub name: ConnectorName,
    /// As its descriptor says.
    pub version: String,
    /// Of the component's bytes.
    pub digest: Digest,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall time of the call, in microseconds.
    pub wall_us: u64,
    /// Largest linear memory, in bytes.
    pub memory_bytes: u64,
}

/// A line that the guest wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub message: String,
    /// Names and values.
    #[serde(default)]
    pub fields: Vec<(String, String)>,
}

/// One request of a guest, as the gate saw it. Never a secret, never a body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The upstream as the guest named it.
    pub upstream: UpstreamName,
    /// Upper case.
    pub method: String,
    /// The granted path prefix that the path falls under: what follows it may be personal, or a secret.
    pub path_prefix: String,
    /// SHA-256 of path and query as they left.
    pub path_hash: Digest,
    /// The address that was dialled.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// SHA-256 of the exact outbound body.
    pub request_hash: Digest,
    /// Size of the outbound body.
    pub request_bytes: u64,
    /// The slot that the credential went into, if one was attached: `bearer`, `header x-api-key`, …
    #[serde(default)]
    pub credential: Option<String>,
    /// The span of this request, as sent in `traceparent`.
    pub trace: TraceContext,
    /// When the gate took it in.
    pub started_at: Timestamp,
    /// Timings.
    #[serde(default)]
    pub timings: Timings,
    /// How it ended.
    pub result: ExchangeResult,
    /// The upstream answered with the credential in it; it was replaced before the guest saw it.
    #[serde(default)]
    pub credential_reflected: bool,
}

/// Milliseconds from the start of the exchange; none for what was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Until the name was resolved and every address checked; none on a reused connection.
    #[serde(default)]
    pub resolved_ms: Option<u64>,
    /// Until the response head was there.
    #[serde(default)]
    pub first_byte_ms: Option<u64>,
    /// Until the end.
    #[serde(default)]
    pub total_ms: Option<u64>,
}

/// Codes of refusals that a change of the credential cures. The event is not at fault, so its lane waits for that change.
pub const CREDENTIAL_REFUSALS: [&str; 5] = [
    "credential-consent-needed",
    "credential-missing",
    "credential-refused",
    "credential-unusable",
    "token-endpoint-blocked",
];

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExchangeResult {
    /// The upstream answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// SHA-256 of the body as the guest got it.
        body_hash: Digest,
        /// Its size.
        body_bytes: u64,
        /// Response headers on the allow-list (request ids, rate limits, retry-after, dates).
        headers: Vec<(String, String)>,
        /// What `Retry-After` asks for.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The call was ended while this was under way.
    InFlight {
        /// Whether bytes may have left.
        request_sent: bool,
    },
    /// The gate said no; nothing left.
    Refused {
        /// Stable and documented.
        code: String,
        /// For the author.
        message: String,
    },
    /// The connection's own budget is used up; nothing left.
    RateLimited {
        /// Until there is budget again.
        wait_ms: u64,
    },
    /// Time ran out.
    TimedOut {
        /// Whether bytes may have left.
        request_sent: bool,
    },
    /// Resolution, connection or TLS failed; nothing left.
    Unreachable {
        /// Why, without addresses the guest must not learn.
        message: String,
    },
    /// The connection broke after bytes had left.
    Interrupted {
        /// How.
        message: String,
    },
    /// Over the cap.
    ResponseTooLarge {
        /// The cap.
        bytes_max: u64,
    },
    /// Not HTTP, or not decodable.
    ProtocolError {
        /// How.
        message: String,
    },
}

impl ExchangeResult {
    /// Whether the upstream may have acted on the request although no success was seen.
    pub const fn may_have_acted(&self) -> bool {
        match self {
            Self::InFlight { request_sent } | Self::TimedOut { request_sent } => *request_sent,
            Self::Interrupted { .. } | Self::ResponseTooLarge { .. } | Self::ProtocolError { .. } => true,
            Self::Answered { status, .. } => *status < 300,
            Self::Refused { .. } | Self::RateLimited { .. } | Self::Unreachable { .. } => false,
        }
    }

    /// How long the other side, or our own budget, asks to wait.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Answered { retry_after_ms, .. } => *retry_after_ms,
            Self::RateLimited { wait_ms } => Some(*wait_ms),
            Self::InFlight { .. }
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::Interrupted { .. }
            | Self::ResponseTooLarge { .. }
            | Self::ProtocolError { .. } => None,
        }
    }
}
