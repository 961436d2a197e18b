//! The gate's "no": a stable code and a sentence that the connector's author, or the admin, can act on.

use std::fmt;

/// Every reason for which a request is not sent. The codes are part of the contract with authors: one is added, none is
/// ever renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// No upstream of that name is granted to the connection.
    UpstreamNotGranted,
    /// The method is not among those granted, or is one that is never granted.
    MethodNotGranted,
    /// The path is under none of the granted prefixes.
    PathNotGranted,
    /// The path is not a plain path below the base URL.
    BadPath,
    /// The query is not a percent-encoded query.
    BadQuery,
    /// The header belongs to the host.
    HeaderNotAllowed,
    /// A header's name or value is not HTTP.
    BadHeader,
    /// Too many headers, or too many bytes of them.
    HeadersTooLarge,
    /// The body is over the gate's cap.
    RequestTooLarge,
    /// The guest wrote where the host puts the credential.
    CredentialSlotTaken,
    /// The upstream's name leads to an address that is blocked.
    AddressBlocked,
    /// The upstream needs a credential and none is set.
    CredentialMissing,
    /// The credential cannot be put into its slot as it is.
    CredentialUnusable,
    /// Nothing here obtains a credential of the slot's kind.
    CredentialKindNotSupported,
    /// The credential would cross a network in the clear.
    CredentialOverPlainHttp,
    /// A person has to connect the upstream's account, for the first time or again.
    CredentialConsentNeeded,
    /// The authorization server refuses the client, until what it is asked or the client's secret changes.
    CredentialRefused,
    /// The token endpoint leads to an address that is blocked.
    TokenEndpointBlocked,
    /// The call has sent as many requests as one call may.
    TooManyRequestsInCall,
}

impl RefusalCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 19] = [
        Self::UpstreamNotGranted,
        Self::MethodNotGranted,
        Self::PathNotGranted,
        Self::BadPath,
        Self::BadQuery,
        Self::HeaderNotAllowed,
        Self::BadHeader,
        Self::HeadersTooLarge,
        Self::RequestTooLarge,
        Self::CredentialSlotTaken,
        Self::AddressBlocked,
        Self::CredentialMissing,
        Self::CredentialUnusable,
        Self::CredentialKindNotSupported,
        Self::CredentialOverPlainHttp,
        Self::CredentialConsentNeeded,
        Self::CredentialRefused,
        Self::TokenEndpointBlocked,
        Self::TooManyRequestsInCall,
    ];

    /// The stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UpstreamNotGranted => "upstream-not-granted",
            Self::MethodNotGranted => "method-not-granted",
            Self::PathNotGranted => "path-not-granted",
            Self::BadPath => "bad-path",
            Self::BadQuery => "bad-query",
            Self::HeaderNotAllowed => "header-not-allowed",
            Self::BadHeader => "bad-header",
            Self::HeadersTooLarge => "headers-too-large",
            Self::RequestTooLarge => "request-too-large",
            Self::CredentialSlotTaken => "credential-slot-taken",
            Self::AddressBlocked => "address-blocked",
            Self::CredentialMissing => "credential-missing",
            Self::CredentialUnusable => "credential-unusable",
            Self::CredentialKindNotSupported => "credential-kind-not-supported",
            Self::CredentialOverPlainHttp => "credential-over-plain-http",
            Self::CredentialConsentNeeded => "credential-consent-needed",
            Self::CredentialRefused => "credential-refused",
            Self::TokenEndpointBlocked => "token-endpoint-blocked",
            Self::TooManyRequestsInCall => "too-many-requests-in-call",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

/// One refusal. It displays as its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which rule.
    pub code: RefusalCode,
    /// What to do about it.
    pub message: String,
}

impl Refusal {
    /// The stable name of the rule.
    pub const fn code(&self) -> &'static str {
        self.code.code()
    }

    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
