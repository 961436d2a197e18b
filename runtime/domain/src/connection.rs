//! Connections: a connector installed in a workspace, with what an admin decided about it.

mod base_url;
mod budget;
pub mod header;
mod inbound;
pub mod oauth2;
mod poll;
pub mod signature;
mod slot;
mod span;
mod upstream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::{ConnectionName, ConnectorName, CredentialName, UpstreamName, WorkspaceName};
use crate::retry::RetryPolicy;
use crate::subscription::TypePattern;
use crate::time::Timestamp;

pub use self::base_url::{BadBaseUrl, BaseUrl};
pub use self::budget::BudgetGrant;
pub use self::inbound::{InboundGrant, InboundScheme};
pub use self::oauth2::{OAuth2Grant, OAuth2GrantKind};
pub use self::poll::{
    Missed, POLL_EVERY_MAX, POLL_EVERY_MIN, POLL_JITTER_DEFAULT_DIVISOR, POLL_JITTER_DEFAULT_MAX, POLL_JITTER_MAX,
    PollGrant, StateGrant,
};
pub use self::slot::{BadSlot, CredentialSlot, PREFIX_BYTES_MAX};
pub use self::span::{BadSpan, Span};
pub use self::upstream::{CA_BYTES_MAX, REDIRECT_ORIGINS_MAX, REDIRECTS_MAX, UpstreamGrant, UpstreamTls};

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
    /// Whether its connector may keep something between calls, and how much. Its calls are then made one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateGrant>,
    /// Whether and when its connector is asked for news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<PollGrant>,
    /// Limits and retries.
    #[serde(default)]
    pub policy: Policy,
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

impl Connection {
    /// The path of its hook on the public listener, if it takes requests.
    pub fn hook_path(&self) -> Option<String> {
        let name = &self.spec.name;
        self.spec.inbound.as_ref()?;
        Some(if self.workspace == WorkspaceName::default() {
            format!("/hooks/{name}")
        } else {
            format!("/workspaces/{}/hooks/{name}", self.workspace)
        })
    }
}

impl ConnectionSpec {
    /// Every credential that it names.
    pub fn credentials(&self) -> impl Iterator<Item = &CredentialName> {
        let outbound = self.upstreams.values().flat_map(UpstreamGrant::credentials);
        outbound.chain(self.inbound.iter().filter_map(|inbound| inbound.credential.as_ref()))
    }

    /// What is wrong with how access tokens are obtained, each as a sentence that begins with the key.
    ///
    /// A credential that holds tokens holds nothing else: whoever else read it would send a refresh token where none
    /// belongs.
    pub fn oauth2_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, upstream) in &self.upstreams {
            let Some(oauth2) = &upstream.oauth2 else {
                continue;
            };
            let at = format!("upstreams.{name}");
            problems.extend(oauth2.problems(&format!("{at}.oauth2")));
            if upstream.attach.as_ref().is_some_and(|slot| !slot.is_oauth2()) {
                problems.push(format!("{at}.attach is not `oauth2`, so nobody would use the tokens"));
            }
            let Some(tokens) = &upstream.credential else {
                problems.push(format!("{at}.credential is missing: it names what holds the tokens"));
                continue;
            };
            let shared = self.upstreams.iter().any(|(other, grant)| {
                let same = grant.oauth2 == upstream.oauth2 && grant.attach == upstream.attach;
                let secret = grant.oauth2.as_ref().and_then(|oauth2| oauth2.client_secret.as_ref());
                (other != name && grant.credential.as_ref() == Some(tokens) && !same) || secret == Some(tokens)
            });
            let signs = self.inbound.as_ref().and_then(|inbound| inbound.credential.as_ref()) == Some(tokens);
            if shared || signs {
                problems.push(format!(
                    "{at}.credential is {tokens}, which has another use in this file; tokens need a name of their own"
                ));
            }
        }
        problems
    }

    /// Whether an event of this type is delivered to it.
    pub fn wants(&self, kind: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.matches(kind))
    }
}

#[cfg(test)]
mod tests;
