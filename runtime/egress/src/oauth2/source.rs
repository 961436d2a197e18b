//! Names a token set, and says where its tokens come from.

use std::sync::Arc;

use cofferdam_domain::connection::OAuth2Grant;
use cofferdam_domain::{Connection, ConnectionName, CredentialName, CredentialSlot, UpstreamName, WorkspaceName};

/// The credential that holds a token set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The connection that it is bound to.
    pub connection: ConnectionName,
    /// Its name.
    pub credential: CredentialName,
}

/// Where the tokens of one upstream come from, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// Where they are kept.
    pub key: TokenKey,
    /// The upstream that they are for.
    pub upstream: UpstreamName,
    /// What an admin wrote, with the slot's scopes filled in.
    pub grant: Arc<OAuth2Grant>,
}

impl TokenSource {
    /// Of an upstream of this connection; none if its grant does not say how tokens are obtained, or what keeps them.
    /// `asked` is the slot that the connector asks for.
    pub fn of(connection: &Connection, upstream: &UpstreamName, asked: Option<&CredentialSlot>) -> Option<Self> {
        let granted = connection.spec.upstreams.get(upstream)?;
        let slot = granted.attach.as_ref().or(asked)?;
        if !slot.is_oauth2() {
            return None;
        }
        Some(Self {
            key: TokenKey {
                workspace: connection.workspace.clone(),
                connection: connection.spec.name.clone(),
                credential: granted.credential.clone()?,
            },
            upstream: upstream.clone(),
            grant: Arc::new(granted.oauth2.as_ref()?.for_slot(slot)),
        })
    }

    /// The credential that holds the client's secret, if it has one.
    pub(crate) fn client_secret(&self) -> Option<TokenKey> {
        let credential = self.grant.client_secret.clone()?;
        Some(TokenKey {
            credential,
            ..self.key.clone()
        })
    }
}
