//! Whether and how incoming requests are taken.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::base_url::BaseUrl;
use super::header::HeaderName;
use super::signature::{Placeholder, Signature};
use crate::id::CredentialName;
use crate::limits::{DEDUPE_WINDOW, DEDUPE_WINDOW_HOURS_MAX, DEDUPE_WINDOW_HOURS_MIN};

/// How far a timestamp of the scheme `hmac` may lie in the past or the future, unless the grant says otherwise.
const TOLERANCE_S: u32 = 300;

/// The most that it may be set to, in seconds: an hour.
const TOLERANCE_S_MAX: u32 = 3_600;

/// How incoming requests are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundGrant {
    /// The signature scheme.
    pub scheme: InboundScheme,
    /// The signing secret, by name. Every scheme has one but `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialName>,
    /// The hook's URL as the provider was given it, where the provider signs it: behind a proxy the host cannot know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<BaseUrl>,
    /// The header that holds the token of the scheme `bearer`; none means `Authorization: Bearer <token>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderName>,
    /// How far the timestamp of the scheme `hmac` may lie in the past or the future, in seconds; 1 to 3,600, none means 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// How the scheme `hmac` signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// How long the id of a request is remembered, so that the same request sent again is not taken twice, in hours; 1 to
    /// 720, none means 72.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_window_hours: Option<u32>,
}

impl InboundGrant {
    /// A grant of this scheme with this signing secret and every default.
    pub fn new(scheme: InboundScheme, credential: Option<CredentialName>) -> Self {
        Self {
            scheme,
            credential,
            external_url: None,
            header: None,
            tolerance_s: None,
            signature: None,
            dedupe_window_hours: None,
        }
    }

    /// How long the id of a request is remembered.
    pub fn dedupe_window(&self) -> Duration {
        self.dedupe_window_hours
            .map_or(DEDUPE_WINDOW, |hours| Duration::from_secs(u64::from(hours) * 3600))
    }

    /// How far the timestamp of the scheme `hmac` may lie in the past or the future.
    pub fn tolerance(&self) -> Duration {
        Duration::from_secs(self.tolerance_s.unwrap_or(TOLERANCE_S).into())
    }

    /// Everything that keeps requests from being verified, each named by its field and with what to write instead.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let scheme = self.scheme;
        match &self.credential {
            None if scheme.needs_credential() => problems.push(format!(
                "inbound.scheme {scheme} needs a credential, {}: write `credential = \"webhook-secret\"` under [inbound], and \
                 set it with `cofferdam secret set`",
                scheme.secret()
            )),
            Some(credential) if !scheme.needs_credential() => problems.push(format!(
                "inbound.credential is {credential}, but scheme none checks nothing, so anybody who knows the address may send: \
                 name the scheme that the provider signs by, or leave the credential out"
            )),
            Some(_) | None => {}
        }
        problems.extend(self.problem_of_external_url());
        if self.header.is_some() && scheme != InboundScheme::Bearer {
            problems.push(format!(
                "inbound.header belongs to scheme bearer, and this is {scheme}: leave it out{}",
                if scheme == InboundScheme::Hmac {
                    ", and name the signature's header under [inbound.signature]"
                } else {
                    ""
                }
            ));
        }
        if self
            .header
            .as_ref()
            .is_some_and(|header| header.as_str() == "authorization")
        {
            problems.push(
                "inbound.header is authorization, where scheme bearer looks anyway (`Authorization: Bearer TOKEN`): leave it out"
                    .to_owned(),
            );
        }
        problems.extend(self.problems_of_signature());
        if let Some(hours) = self.dedupe_window_hours
            && !(DEDUPE_WINDOW_HOURS_MIN..=DEDUPE_WINDOW_HOURS_MAX).contains(&hours)
        {
            problems.push(format!(
                "inbound.dedupe_window_hours is {hours}; it must be {DEDUPE_WINDOW_HOURS_MIN} to {DEDUPE_WINDOW_HOURS_MAX}"
            ));
        }
        problems
    }

    fn problem_of_external_url(&self) -> Option<String> {
        const WRITE: &str = "write the address that the provider was given, such as \
                             `external_url = \"https://hooks.example.com/hooks/NAME\"`";
        let signs_url = self
            .signature
            .as_ref()
            .is_some_and(|signature| signature.template.has(Placeholder::Url));
        match (self.scheme, &self.external_url) {
            (InboundScheme::Twilio, None) => Some(format!(
                "inbound.scheme twilio needs an external_url, because Twilio signs the whole URL, which a proxy may have changed; \
                 {WRITE}"
            )),
            (InboundScheme::Hmac, None) if signs_url => Some(format!(
                "inbound.signature.template has {{url}}, which a proxy may have changed, so it needs an external_url; {WRITE}"
            )),
            (InboundScheme::Twilio | InboundScheme::Hmac, _) | (_, None) => None,
            (scheme, Some(_)) => Some(format!(
                "inbound.external_url is for providers that sign the URL, and scheme {scheme} does not: leave it out"
            )),
        }
    }

    fn problems_of_signature(&self) -> Vec<String> {
        let hmac = self.scheme == InboundScheme::Hmac;
        let signs_time = self.signature.as_ref().is_some_and(Signature::signs_time);
        let mut problems = Vec::new();
        match &self.signature {
            Some(signature) if hmac => problems.extend(
                signature
                    .problems()
                    .into_iter()
                    .map(|problem| format!("inbound.signature.{problem}")),
            ),
            Some(_) => problems.push(format!(
                "inbound.signature belongs to scheme hmac, and this is {}: leave it out",
                self.scheme
            )),
            None if hmac => problems.push(
                "inbound.scheme hmac needs to know what is signed: write a table [inbound.signature] with at least \
                 `header = \"X-Signature\"`"
                    .to_owned(),
            ),
            None => {}
        }
        match self.tolerance_s {
            Some(_) if !(hmac && signs_time) => problems.push(
                "inbound.tolerance_s belongs to scheme hmac with {timestamp} in its template; other schemes have their \
                 provider's tolerance or no timestamp: leave it out"
                    .to_owned(),
            ),
            Some(seconds) if !(1..=TOLERANCE_S_MAX).contains(&seconds) => problems.push(format!(
                "inbound.tolerance_s is {seconds}; it must be 1 to {TOLERANCE_S_MAX}"
            )),
            Some(_) | None => {}
        }
        problems
    }
}

/// Signature schemes of incoming requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboundScheme {
    /// `X-Hub-Signature-256`.
    Github,
    /// Standard Webhooks 1.0, `v1` and `v1a`.
    StandardWebhooks,
    /// `X-Slack-Signature`, and the handshake `url_verification`.
    Slack,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Shopify-Hmac-Sha256`.
    Shopify,
    /// `X-Twilio-Signature`.
    Twilio,
    /// An HMAC that the grant describes.
    Hmac,
    /// `Authorization: Basic`, user and password.
    Basic,
    /// A token.
    Bearer,
    /// Nothing: anybody who knows the address may send.
    None,
}

impl InboundScheme {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Github,
        Self::StandardWebhooks,
        Self::Slack,
        Self::Stripe,
        Self::Shopify,
        Self::Twilio,
        Self::Hmac,
        Self::Basic,
        Self::Bearer,
        Self::None,
    ];

    /// The name in files, the API and the panel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::StandardWebhooks => "standard-webhooks",
            Self::Slack => "slack",
            Self::Stripe => "stripe",
            Self::Shopify => "shopify",
            Self::Twilio => "twilio",
            Self::Hmac => "hmac",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::None => "none",
        }
    }

    /// The scheme of this name in the contract, whose `hmac-sha256` is the one that the admin describes.
    pub fn of_contract(name: &str) -> Option<Self> {
        match name {
            "hmac-sha256" => Some(Self::Hmac),
            _ => Self::ALL.into_iter().find(|scheme| scheme.as_str() == name),
        }
    }

    /// Whether it checks anything.
    pub const fn needs_credential(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether a request must be signed or at least show a secret, in words for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Github => "signed by GitHub",
            Self::StandardWebhooks => "signed by Standard Webhooks",
            Self::Slack => "signed by Slack",
            Self::Stripe => "signed by Stripe",
            Self::Shopify => "signed by Shopify",
            Self::Twilio => "signed by Twilio",
            Self::Hmac => "signed by an HMAC",
            Self::Basic => "with user and password",
            Self::Bearer => "with a token",
            Self::None => "not checked: anybody who knows the address may send",
        }
    }

    /// What its credential holds.
    pub const fn secret(self) -> &'static str {
        match self {
            Self::Github => "the webhook's secret",
            Self::StandardWebhooks => "the secret `whsec_…` or the public key `whpk_…`",
            Self::Slack => "the app's signing secret",
            Self::Stripe => "the endpoint's signing secret `whsec_…`",
            Self::Shopify => "the app's client secret",
            Self::Twilio => "the account's auth token",
            Self::Hmac => "the key that the provider signs with",
            Self::Basic => "`user:password`",
            Self::Bearer => "the token",
            Self::None => "nothing",
        }
    }
}

impl fmt::Display for InboundScheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
