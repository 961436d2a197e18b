//! Why there is no access token, in words for the trail of the call that needed one. No text of a server is in them.

use std::time::Duration;

use super::refused::TokenRefusal;
use super::standing::NoConsent;
use crate::exchange::HttpError;
use crate::refusal::{Refusal, RefusalCode};

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// A person has to consent.
    ConsentNeeded(NoConsent),
    /// The server has refused for good.
    Refused(TokenRefusal),
    /// The token endpoint may not be dialled.
    Blocked(String),
    /// The credential that holds the client's secret is not set.
    SecretMissing,
    /// What should hold the tokens holds something else.
    NotATokenSet,
    /// The server cannot be asked now, or was not understood.
    Unavailable {
        /// It asks to slow down.
        limited: bool,
        reason: String,
        /// Until it is asked again.
        wait: Duration,
    },
    /// The vault cannot be read.
    Unreadable,
}

impl TokenError {
    /// What went wrong at the server, in our own words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unavailable { reason, .. } => reason.clone(),
            other => other.sentence(),
        }
    }

    /// One sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::ConsentNeeded(NoConsent::Never) => {
                "nobody has connected the upstream's account yet: connect it in the \
                 panel, or with `cofferdam secret authorize`"
                    .to_owned()
            }
            Self::ConsentNeeded(NoConsent::Rebound) => {
                "the OAuth 2.0 client or its token endpoint has changed since the \
                 account was connected: connect it again"
                    .to_owned()
            }
            Self::ConsentNeeded(NoConsent::Ended) => {
                "the authorization server has ended the consent (invalid_grant): connect the account again".to_owned()
            }
            Self::ConsentNeeded(NoConsent::Expired) => {
                "the access token has expired and there is no refresh token: connect the account again".to_owned()
            }
            Self::Refused(why) => format!(
                "the authorization server refuses this client ({why}): correct the upstream's `oauth2` or the client's secret"
            ),
            Self::Blocked(problem) => format!("the token endpoint cannot be asked: {problem}"),
            Self::SecretMissing => "the OAuth 2.0 client's secret is not set".to_owned(),
            Self::NotATokenSet => {
                "the credential that should hold the tokens holds something that the host did not write: \
                 name another one, or connect the account again"
                    .to_owned()
            }
            Self::Unavailable { reason, wait, .. } => format!(
                "no access token could be obtained from the authorization server: {reason}; it is asked again in {} s",
                wait.as_millis().div_ceil(1000)
            ),
            Self::Unreadable => "the host could not read the credential".to_owned(),
        }
    }
}

impl From<TokenError> for HttpError {
    fn from(error: TokenError) -> Self {
        let message = error.sentence();
        let refused = |code| Self::Refused(Refusal::new(code, message.clone()));
        match error {
            TokenError::ConsentNeeded(_) => refused(RefusalCode::CredentialConsentNeeded),
            TokenError::Refused(_) => refused(RefusalCode::CredentialRefused),
            TokenError::Blocked(_) => refused(RefusalCode::TokenEndpointBlocked),
            TokenError::SecretMissing => refused(RefusalCode::CredentialMissing),
            TokenError::NotATokenSet => refused(RefusalCode::CredentialUnusable),
            TokenError::Unavailable {
                limited: true, wait, ..
            } => Self::RateLimited { wait },
            // Nothing has left for the upstream, and nothing is wrong with the event: it is tried again.
            TokenError::Unavailable { .. } | TokenError::Unreadable => Self::Unreachable(message),
        }
    }
}
