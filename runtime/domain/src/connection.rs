//! Connections: a connector installed in a workspace, with what an admin decided about it.

mod base_url;
mod budget;
pub mod header;
mod inbound;
mod limit;
pub mod oauth2;
mod policy;
mod poll;
pub mod signature;
mod slot;
mod span;
mod upstream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grant::Grant;
use crate::hash::Digest;
use crate::id::{ConnectionName, ConnectorName, CredentialName, UpstreamName, WorkspaceName};
use crate::subscription::TypePattern;
use crate::time::Timestamp;

pub use self::base_url::{BadBaseUrl, BaseUrl};
pub use self::budget::BudgetGrant;
pub use self::inbound::{InboundGrant, InboundScheme};
pub use self::limit::{Bounds, CallLimit, Maximum, OverMaximum};
pub use self::oauth2::{OAuth2Grant, OAuth2GrantKind};
pub use self::policy::{BreakerPolicy, OrderBy, Policy, Rate};
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
    /// The digest of the version of its connector that was granted last.
    #[serde(default)]
    pub granted: Option<Digest>,
    /// What was granted with it, and what else was decided about versions of the connector.
    #[serde(default)]
    pub grant: Grant,
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
