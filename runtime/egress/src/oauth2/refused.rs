//! An authorization server's no, in a closed set of words.
//!
//! What a server writes is its own text: it may hold anything, what we have just sent it included. So its code is matched
//! against those that are known and otherwise forgotten, and its description is not kept at all.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an authorization server gives no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRefusal {
    /// The refresh token, the code or the consent behind it is no longer good.
    InvalidGrant,
    /// It does not know this client, or its secret is wrong.
    InvalidClient,
    /// This client may not use this grant.
    UnauthorizedClient,
    /// It does not know this grant.
    UnsupportedGrantType,
    /// A scope is unknown or too much.
    InvalidScope,
    /// It does not understand the request.
    InvalidRequest,
    /// The API that the token is for is unknown (RFC 8707).
    InvalidTarget,
    /// The person said no (RFC 6749 section 4.1.2.1).
    AccessDenied,
}

impl TokenRefusal {
    const ALL: [Self; 8] = [
        Self::InvalidGrant,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidRequest,
        Self::InvalidTarget,
        Self::AccessDenied,
    ];

    /// The word of the RFC.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
        }
    }

    /// What a server's code means; none for a code that may pass, or that nobody knows.
    ///
    /// GitHub says `bad_refresh_token`, `bad_verification_code` and `incorrect_client_credentials`
    /// (<https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens>);
    /// OpenID Connect adds `interaction_required`, `login_required` and `consent_required` (Core 1.0 section 3.1.2.6).
    pub(crate) fn of(code: &str) -> Option<Self> {
        match code {
            "bad_refresh_token" | "bad_verification_code" => Some(Self::InvalidGrant),
            "interaction_required" | "login_required" | "consent_required" => Some(Self::InvalidGrant),
            "incorrect_client_credentials" => Some(Self::InvalidClient),
            _ => Self::ALL.into_iter().find(|known| known.as_str() == code),
        }
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_are_repeated() {
        for known in TokenRefusal::ALL {
            assert_eq!(TokenRefusal::of(known.as_str()), Some(known));
            assert_eq!(serde_json::to_value(known).unwrap(), known.as_str());
        }
        assert_eq!(TokenRefusal::of("bad_refresh_token"), Some(TokenRefusal::InvalidGrant));
        for other in [
            "",
            "server_error",
            "temporarily_unavailable",
            "rt-1-secret",
            "Invalid_Grant",
        ] {
            assert_eq!(TokenRefusal::of(other), None, "{other}");
        }
    }
}
