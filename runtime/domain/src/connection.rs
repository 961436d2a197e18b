//! Connections: a connector installed in a workspace, with what an admin decided about it.

pub mod header;
mod slot;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::{ConnectionName, ConnectorName, CredentialName, UpstreamName, WorkspaceName};
use crate::limits::DEDUPE_WINDOW;
use crate::retry::RetryPolicy;
use crate::subscription::TypePattern;
use crate::time::Timestamp;

pub use self::slot::{BadSlot, CredentialSlot, PREFIX_BYTES_MAX};

/// A connector installed in a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// What the admin wrote.
    #[serde(flatten)]
    pub spec: ConnectionSpec,
    /// The digest of the connector that the grant is for; another one gets nothing until the connection is applied again.
    #[serde(default)]
    pub granted: Option<Digest>,
    /// Whether deliveries are tried and requests taken. Toggled without a new revision.
    pub enabled: bool,
    /// Raised by every change of the spec.
    pub revision: u64,
    /// When the spec or the toggle last changed.
    pub updated_at: Timestamp,
}

/// What an admin writes: the content of a connection file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Unique in the workspace.
    pub name: ConnectionName,
    /// The connector that it runs.
    pub connector: ConnectorName,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Where the person on call reads what to do.
    #[serde(default)]
    pub runbook: Option<String>,
    /// Event types that are delivered to it. A source has none.
    #[serde(default)]
    pub subscribe: Vec<TypePattern>,
    /// A CEL expression over the event's attributes and JSON body that must be true for an event to be owed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Handed to the connector; holds no secret.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// The grant: which of the upstreams that the connector asks for it may call, and how.
    #[serde(default)]
    pub upstreams: BTreeMap<UpstreamName, UpstreamGrant>,
    /// Whether and how incoming requests are taken.
    #[serde(default)]
    pub inbound: Option<InboundGrant>,
    /// Limits and retries.
    #[serde(default)]
    pub policy: Policy,
}

/// What a connector may do with one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamGrant {
    /// Every request starts with it.
    pub base_url: BaseUrl,
    /// Methods that are allowed; empty means those that the descriptor asks for.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path prefixes below the base URL that are allowed; empty means those that the descriptor asks for.
    #[serde(default)]
    pub path_prefixes: Vec<String>,
    /// The credential to attach.
    #[serde(default)]
    pub credential: Option<CredentialName>,
    /// Where it goes; none means where the descriptor asks for it.
    #[serde(default)]
    pub attach: Option<CredentialSlot>,
    /// Networks that are blocked by default and allowed for this upstream.
    #[serde(default)]
    pub networks: Vec<IpNet>,
}

/// An `http` or `https` URL without user, query or fragment; its path ends in no slash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(String);

/// The text is no base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a base URL is `https://host[:port][/path]` or `http://…`, without user, query or fragment: {problem}")]
pub struct BadBaseUrl {
    problem: &'static str,
}

impl BaseUrl {
    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = BadBaseUrl;

    fn from_str(text: &str) -> Result<Self, BadBaseUrl> {
        let bad = |problem| BadBaseUrl { problem };
        let url = url::Url::parse(text).map_err(|_| bad("it cannot be parsed"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("the scheme is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it names a user"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or fragment"));
        }
        if text.len() > 2048 {
            return Err(bad("it is longer than 2048 bytes"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BadBaseUrl;

    fn try_from(text: String) -> Result<Self, BadBaseUrl> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// How incoming requests are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundGrant {
    /// The signature scheme.
    pub scheme: InboundScheme,
    /// The signing secret, by name.
    pub credential: CredentialName,
    /// How long the id of a request is remembered, so that the same request sent again is not taken twice, in hours; 1 to
    /// 720, none means 72.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_window_hours: Option<u32>,
}

impl InboundGrant {
    /// How long the id of a request is remembered.
    pub fn dedupe_window(&self) -> Duration {
        self.dedupe_window_hours
            .map_or(DEDUPE_WINDOW, |hours| Duration::from_secs(u64::from(hours) * 3600))
    }
}

/// Signature schemes of incoming requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboundScheme {
    /// `X-Hub-Signature-256`.
    Github,
    /// Standard Webhooks 1.0.
    StandardWebhooks,
}

impl InboundScheme {
    /// The name in files, the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::StandardWebhooks => "standard-webhooks",
        }
    }
}

/// Limits and retries of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Attempts under way at once; 1 to 256.
    pub concurrency: u16,
    /// Wall time of one call, in milliseconds; 100 to 300,000.
    pub deadline_ms: u64,
    /// Wall time of one request of a call, in milliseconds.
    pub request_timeout_ms: u64,
    /// CPU time of one call, in milliseconds.
    pub cpu_ms: u64,
    /// Linear memory of one call, in bytes.
    pub memory_bytes: u64,
    /// Largest response body that a guest gets, in bytes.
    pub response_bytes_max: u64,
    /// Attempts that may begin in a span of time; none means as fast as they come.
    pub rate: Option<Rate>,
    /// When to stop trying a destination that does not work, and how to begin again.
    pub breaker: BreakerPolicy,
    /// What deliveries must share to be made one after the other, in the order in which their events were accepted; none
    /// means no order.
    pub order_by: Option<OrderBy>,
    /// Deliveries that may wait before producers are told to come back later; none means the server's mark.
    pub pending_max: Option<u64>,
    /// The same for the bytes of their bodies.
    pub pending_bytes_max: Option<u64>,
    /// The same for how long the first of them has been due, in milliseconds.
    pub pending_age_max_ms: Option<u64>,
    /// Retries.
    pub retry: RetryPolicy,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Attempts in each span; 1 to 1,000,000.
    pub count: u32,
    /// The span, in milliseconds; 1 to 86,400,000.
    pub per_ms: u64,
    /// Attempts that may begin at once after a quiet time; none means `count`.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// When to stop trying, and how to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Failures of the destination in a row that open the breaker; 0 means never.
    pub failures: u32,
    /// How long it stays open at first, in milliseconds; each probe that fails doubles it.
    pub open_ms: u64,
    /// The most that it grows to, in milliseconds.
    pub open_max_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 10,
            open_ms: 10_000,
            open_max_ms: 300_000,
        }
    }
}

/// What ordered deliveries of one connection have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderBy {
    /// All of them: one after the other.
    Connection,
    /// The CloudEvents `source`.
    Source,
    /// The CloudEvents `subject`; events without one have no order.
    Subject,
    /// The CloudEvents extension `partitionkey`; events without one have no order.
    Partitionkey,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 8,
            deadline_ms: 30_000,
            request_timeout_ms: 20_000,
            cpu_ms: 2_000,
            memory_bytes: 64 * 1024 * 1024,
            response_bytes_max: 1024 * 1024,
            rate: None,
            breaker: BreakerPolicy::default(),
            order_by: None,
            pending_max: None,
            pending_bytes_max: None,
            pending_age_max_ms: None,
            retry: RetryPolicy::default(),
        }
    }
}

impl Policy {
    /// Every value out of bounds, named.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut within = |name: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push(format!("policy.{name} is {value}; it must be {min} to {max}"));
            }
        };
        within("concurrency", self.concurrency.into(), 1, 256);
        within("deadline_ms", self.deadline_ms, 100, 300_000);
        within("request_timeout_ms", self.request_timeout_ms, 100, 300_000);
        within("cpu_ms", self.cpu_ms, 10, 60_000);
        within("memory_bytes", self.memory_bytes, 1024 * 1024, 256 * 1024 * 1024);
        within("response_bytes_max", self.response_bytes_max, 1024, 16 * 1024 * 1024);
        within(
            "retry.schedule_ms (its length)",
            self.retry.schedule_ms.len() as u64,
            1,
            64,
        );
        for wait in &self.retry.schedule_ms {
            within("retry.schedule_ms (each of it)", *wait, 0, 30 * 24 * 3_600_000);
        }
        within("retry.max_age_ms", self.retry.max_age_ms, 1_000, 30 * 24 * 3_600_000);
        within("retry.faults_max", self.retry.faults_max.into(), 1, 100);
        within("retry.interruptions_max", self.retry.interruptions_max.into(), 1, 100);
        if let Some(rate) = self.rate {
            within("rate.count", rate.count.into(), 1, 1_000_000);
            within("rate.per_ms", rate.per_ms, 1, 24 * 3_600_000);
            within("rate.burst", rate.burst.unwrap_or(rate.count).into(), 1, 1_000_000);
        }
        within("breaker.failures", self.breaker.failures.into(), 0, 10_000);
        within("breaker.open_ms", self.breaker.open_ms, 100, 24 * 3_600_000);
        within(
            "breaker.open_max_ms",
            self.breaker.open_max_ms,
            self.breaker.open_ms,
            24 * 3_600_000,
        );
        for (name, value) in [
            ("pending_max", self.pending_max),
            ("pending_bytes_max", self.pending_bytes_max),
            ("pending_age_max_ms", self.pending_age_max_ms),
        ] {
            within(name, value.unwrap_or(1), 1, 1 << 50);
        }
        problems
    }
}

impl ConnectionSpec {
    /// Whether an event of this type is delivered to it.
    pub fn wants(&self, kind: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.matches(kind))
    }
}

#[cfg(test)]
mod tests;
