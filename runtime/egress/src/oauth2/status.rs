//! What may be known of a token set: everything but the tokens.

use cofferdam_domain::{Timestamp, connection::OAuth2GrantKind};
use serde::{Deserialize, Serialize};

use super::OAuth2;
use super::error::TokenError;
use super::source::TokenSource;
use super::standing::{NoConsent, Standing, used_until};
use super::token_set::{Consent, TokenSet};

/// How one upstream's tokens stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// One word.
    pub state: TokenState,
    /// Who the tokens speak for.
    pub grant: OAuth2GrantKind,
    /// When the present access token was obtained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<Timestamp>,
    /// Until when it is used; none if its server did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Whether the host renews it by itself.
    pub renewable: bool,
    /// When the consent ends by itself, where the server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_ends_at: Option<Timestamp>,
    /// What was granted of what was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Who consented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// Since when the server could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// What is wrong and what to do, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How one upstream's tokens stand, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// There is a token, or the host obtains one when it is needed.
    Ready,
    /// The server could not be asked the last time.
    Failing,
    /// Nobody has consented yet.
    NotConnected,
    /// The consent has ended.
    ConsentNeeded,
    /// The server has refused for good.
    Refused,
    /// The credential does not hold what it should, or cannot be read.
    Unusable,
}

impl TokenState {
    /// Whether a request that takes a token may well get one.
    pub const fn is_usable(self) -> bool {
        match self {
            Self::Ready | Self::Failing => true,
            Self::NotConnected | Self::ConsentNeeded | Self::Refused | Self::Unusable => false,
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failing => "failing",
            Self::NotConnected => "not-connected",
            Self::ConsentNeeded => "consent-needed",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
        }
    }
}

impl OAuth2 {
    /// How the tokens of `source` stand. Asks nobody.
    pub fn status(&self, source: &TokenSource) -> TokenStatus {
        let seen = self.inner.look(source);
        let holder = self.inner.holder(&source.key);
        let memory = holder.lock();
        let closed = memory.closed.as_ref().map(|closed| closed.error.sentence());
        let failing_since = memory.failing_since;
        drop(memory);
        let (set, standing) = match seen {
            Ok(seen) => (seen.set, Ok(seen.standing)),
            Err(error) => (None, Err(error)),
        };
        let (state, problem) = match standing {
            Ok(Standing::Good | Standing::Due | Standing::Lapsed) if failing_since.is_some() => {
                (TokenState::Failing, closed)
            }
            Ok(Standing::Good | Standing::Due | Standing::Lapsed) => (TokenState::Ready, None),
            Ok(Standing::ConsentNeeded(why)) => {
                let state = match why {
                    NoConsent::Never => TokenState::NotConnected,
                    NoConsent::Rebound | NoConsent::Ended | NoConsent::Expired => TokenState::ConsentNeeded,
                };
                (state, Some(TokenError::ConsentNeeded(why).sentence()))
            }
            Ok(Standing::Refused(why)) => (TokenState::Refused, Some(TokenError::Refused(why).sentence())),
            Err(error) => (TokenState::Unusable, Some(error.sentence())),
        };
        let with_token = set.as_ref().filter(|set| set.access_token.is_some());
        TokenStatus {
            state,
            grant: source.grant.grant,
            obtained_at: with_token.map(|set| set.obtained_at),
            valid_until: with_token.and_then(used_until),
            renewable: source.grant.grant == OAuth2GrantKind::ClientCredentials
                || set.as_ref().is_some_and(TokenSet::is_renewable),
            consent_ends_at: set.as_ref().and_then(|set| set.refresh_expires_at),
            scopes: set.as_ref().map(|set| set.scopes.clone()).unwrap_or_default(),
            consent: set.and_then(|set| set.consent),
            failing_since,
            problem,
        }
    }
}
