//! What an admin grants for one upstream.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::base_url::BaseUrl;
use super::oauth2::OAuth2Grant;
use super::slot::CredentialSlot;
use crate::id::CredentialName;

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
    /// How the host obtains the access tokens, for the slot `oauth2`. `credential` then names what holds the tokens, which
    /// only the host writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Grant>,
}
