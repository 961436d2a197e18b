//! How the host obtains the access tokens of one upstream: `[upstreams.NAME.oauth2]` of a connection file.
//!
//! Everything here is written by an admin and none of it is secret: the client's secret and the tokens are credentials in
//! the vault, by name. What is written decides where a secret is sent, so it is checked when it is applied, and a token
//! set is bound to the part of it that says whose it is ([`OAuth2Grant::bound_to`]).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::slot::CredentialSlot;
use crate::hash::Digest;
use crate::id::CredentialName;

/// Longest client id, audience and parameter value, in bytes.
pub const OAUTH2_VALUE_BYTES_MAX: usize = 1024;

/// Most extra parameters of one request.
pub const OAUTH2_PARAMETERS_MAX: usize = 16;

/// Most scopes.
pub const OAUTH2_SCOPES_MAX: usize = 64;

/// Longest scope, in bytes.
pub const OAUTH2_SCOPE_BYTES_MAX: usize = 256;

/// Longest URL of an endpoint, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Longest name of an extra parameter, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Parameters that the host writes itself: RFC 6749, RFC 7636, RFC 7521, and `response_mode`, which would send the code
/// where the callback does not see it.
const RESERVED: [&str; 18] = [
    "assertion",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// How access tokens are obtained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2Grant {
    /// Who the tokens speak for.
    pub grant: OAuth2GrantKind,
    /// Where tokens are asked for (RFC 6749 section 3.2).
    pub token_url: EndpointUrl,
    /// Where a person consents (RFC 6749 section 3.1); for `authorization-code` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<EndpointUrl>,
    /// The authorization server's issuer identifier. Set, every answer of a consent must carry it as `iss` (RFC 9207); not
    /// set, an `iss` that comes all the same must be of the authorize URL's origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// By which the authorization server knows this host.
    pub client_id: String,
    /// The credential that holds the client's secret; a public client has none, and is protected by PKCE alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<CredentialName>,
    /// How the client's secret is sent.
    #[serde(default, skip_serializing_if = "ClientAuth::is_default")]
    pub client_auth: ClientAuth,
    /// What is asked for; none means what the slot names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Sent as `audience`, with which some servers choose the API that a token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Further parameters of the consent, such as `access_type = "offline"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorize_parameters: BTreeMap<String, String>,
    /// Further parameters of every token request, such as `resource`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_parameters: BTreeMap<String, String>,
    /// Networks that are blocked by default and allowed for the token endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

/// Who the tokens speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OAuth2GrantKind {
    /// The client itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// A person, who consents in a browser (RFC 6749 section 4.1 with RFC 7636).
    AuthorizationCode,
}

/// How the client's secret is sent (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// As HTTP Basic: what every server must take.
    #[default]
    Basic,
    /// In the body of the request.
    Body,
}

impl ClientAuth {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_default(&self) -> bool {
        *self == Self::Basic
    }
}

/// The URL of an authorization server's endpoint: `https`, or `http` on this very machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl(url::Url);

/// The text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an OAuth 2.0 endpoint is `https://host[:port]/path[?query]`, without user or fragment: {problem}")]
pub struct BadEndpointUrl {
    problem: &'static str,
}

impl EndpointUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL in parts.
    pub fn as_url(&self) -> &url::Url {
        &self.0
    }
}

impl FromStr for EndpointUrl {
    type Err = BadEndpointUrl;

    fn from_str(text: &str) -> Result<Self, BadEndpointUrl> {
        let bad = |problem| BadEndpointUrl { problem };
        if text.len() > URL_BYTES_MAX {
            return Err(bad("it is longer than 2048 bytes"));
        }
        let url = url::Url::parse(text).map_err(|_| bad("it cannot be parsed"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("the scheme is not https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it names a user"));
        }
        if url.fragment().is_some() {
            return Err(bad("it has a fragment"));
        }
        if url.scheme() == "http" && !is_this_machine(&url) {
            return Err(bad(
                "secrets go there, so it is https; only this machine (127.0.0.1, [::1], localhost) may be http",
            ));
        }
        Ok(Self(url))
    }
}

fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = BadEndpointUrl;

    fn try_from(text: String) -> Result<Self, BadEndpointUrl> {
        text.parse()
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.0.into()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl OAuth2Grant {
    /// With the scopes that the slot names, if it says none itself.
    #[must_use]
    pub fn for_slot(&self, slot: &CredentialSlot) -> Self {
        let mut grant = self.clone();
        if let (None, CredentialSlot::OAuth2(scopes)) = (&grant.scopes, slot) {
            grant.scopes = Some(scopes.clone());
        }
        grant
    }

    /// What is asked for.
    pub fn scopes(&self) -> &[String] {
        self.scopes.as_deref().unwrap_or_default()
    }

    /// Whose tokens these are: a token set that was obtained under another value is never sent to this one's endpoint.
    pub fn bound_to(&self) -> Digest {
        let (kind, url, client) = (self.grant, &self.token_url, &self.client_id);
        hashed(&(kind, url, client))
    }

    /// Everything that a token request says but secrets: an authorization server that has refused one may think
    /// differently of another.
    pub fn asked(&self) -> Digest {
        hashed(self)
    }

    /// Every value that breaks a rule, as a sentence that begins with the key; `at` is the table's name.
    pub fn problems(&self, at: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: &str| problems.push(format!("{at}.{key} {problem}"));
        match (self.grant, &self.authorize_url) {
            (OAuth2GrantKind::AuthorizationCode, None) => {
                add("authorize_url", "is missing: it is where a person consents");
            }
            (OAuth2GrantKind::ClientCredentials, Some(_)) => {
                add("authorize_url", "has no use with client-credentials; remove it");
            }
            (OAuth2GrantKind::AuthorizationCode, Some(_)) | (OAuth2GrantKind::ClientCredentials, None) => {}
        }
        if self.grant == OAuth2GrantKind::ClientCredentials {
            if self.client_secret.is_none() {
                add(
                    "client_secret",
                    "is missing: with client-credentials nothing else says who we are",
                );
            }
            if !self.authorize_parameters.is_empty() {
                add(
                    "authorize_parameters",
                    "have no use with client-credentials; remove them",
                );
            }
            if self.issuer.is_some() {
                add("issuer", "has no use with client-credentials; remove it");
            }
        }
        if !is_value(&self.client_id) {
            add("client_id", &value_rule());
        }
        for (key, value) in [("audience", &self.audience), ("issuer", &self.issuer)] {
            if value.as_deref().is_some_and(|value| !is_value(value)) {
                add(key, &value_rule());
            }
        }
        let scopes = self.scopes();
        if scopes.len() > OAUTH2_SCOPES_MAX {
            add(
                "scopes",
                &format!("are {}; {OAUTH2_SCOPES_MAX} are allowed", scopes.len()),
            );
        }
        if scopes.iter().any(|scope| !is_scope(scope)) {
            add(
                "scopes",
                &format!(
                    "are 1 to {OAUTH2_SCOPE_BYTES_MAX} bytes of visible ASCII each, without spaces, `\"` and `\\` \
                     (RFC 6749 section 3.3)"
                ),
            );
        }
        for (key, parameters) in [
            ("authorize_parameters", &self.authorize_parameters),
            ("token_parameters", &self.token_parameters),
        ] {
            if parameters.len() > OAUTH2_PARAMETERS_MAX {
                add(
                    key,
                    &format!("are {}; {OAUTH2_PARAMETERS_MAX} are allowed", parameters.len()),
                );
            }
            for (name, value) in parameters {
                if RESERVED.contains(&name.as_str()) {
                    add(key, &format!("hold `{name}`, which the host writes itself"));
                } else if !is_name(name) || !is_value(value) {
                    add(
                        key,
                        &format!(
                            "hold a name that is not 1 to {NAME_BYTES_MAX} letters, digits, `-`, `.` and `_`, or a value \
                             that is not 1 to {OAUTH2_VALUE_BYTES_MAX} bytes of printable ASCII"
                        ),
                    );
                }
            }
        }
        problems
    }
}

fn hashed(value: &impl Serialize) -> Digest {
    let json = serde_json::to_vec(value).expect("a grant is made of texts and lists of them");
    Digest::of(&json)
}

fn value_rule() -> String {
    format!("must be 1 to {OAUTH2_VALUE_BYTES_MAX} bytes of printable ASCII")
}

fn is_value(text: &str) -> bool {
    (1..=OAUTH2_VALUE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_scope(text: &str) -> bool {
    (1..=OAUTH2_SCOPE_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests;
