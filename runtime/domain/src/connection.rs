//! Connections: a connector installed in a workspace, with what an admin decided about it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::id::{ConnectionName, ConnectorName, CredentialName, UpstreamName, WorkspaceName};
use crate::retry::RetryPolicy;
use crate::subscription::TypePattern;
use crate::time::Timestamp;

/// A connector installed in a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// What the admin wrote.
    #[serde(flatten)]
    pub spec: ConnectionSpec,
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

/// The text names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no credential slot; use `none`, `bearer`, `basic`, `header NAME [PREFIX]`, `query NAME`, `oauth2 [SCOPE …]`, \
     `hmac-sha256 NAME [PREFIX]` or `standard-webhooks`"
)]
pub struct BadSlot(String);

impl FromStr for CredentialSlot {
    type Err = BadSlot;

    fn from_str(text: &str) -> Result<Self, BadSlot> {
        let bad = || BadSlot(text.chars().take(80).collect());
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        // A prefix may end in a space (`token `), so only the first separator is taken away.
        let named = || -> Result<(String, String), BadSlot> {
            let (name, prefix) = rest.split_once(' ').unwrap_or((rest, ""));
            if is_token(name) {
                Ok((name.to_ascii_lowercase(), prefix.to_owned()))
            } else {
                Err(bad())
            }
        };
        match (word, rest) {
            ("none", "") => Ok(Self::None),
            ("bearer", "") => Ok(Self::Bearer),
            ("basic", "") => Ok(Self::Basic),
            ("standard-webhooks", "") => Ok(Self::StandardWebhooks),
            ("header", _) => named().map(|(name, prefix)| Self::Header { name, prefix }),
            ("hmac-sha256", _) => named().map(|(name, prefix)| Self::HmacSha256 { name, prefix }),
            ("query", name) if is_token(name) => Ok(Self::Query(name.to_owned())),
            ("oauth2", scopes) => Ok(Self::OAuth2(scopes.split_whitespace().map(str::to_owned).collect())),
            _ => Err(bad()),
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
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
    /// Retries.
    pub retry: RetryPolicy,
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
        within("retry.max_age_ms", self.retry.max_age_ms, 1_000, 30 * 24 * 3_600_000);
        within("retry.faults_max", self.retry.faults_max.into(), 1, 100);
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
