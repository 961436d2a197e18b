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
    /// The upstream redirects to where no admin lets the host go.
    RedirectNotAllowed,
    /// The upstream redirects more often than it may, or in a circle.
    TooManyRedirects,
    /// `receive` may send nothing.
    NoRequestsInReceive,
}

impl RefusalCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 22] = [
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
        Self::RedirectNotAllowed,
        Self::TooManyRedirects,
        Self::NoRequestsInReceive,
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
            Self::RedirectNotAllowed => "redirect-not-allowed",
            Self::TooManyRedirects => "too-many-redirects",
            Self::NoRequestsInReceive => "no-requests-in-receive",
        }
    }
}

impl RefusalCode {
    /// The code of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code() == name)
    }

    /// Where in the documentation it is explained: what it means, why there is such a rule, and what to do.
    pub fn docs_path(self) -> String {
        format!("docs/refusals.md#{}", self.code())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/refusals.md");

    #[test]
    fn every_code_has_a_section_and_every_section_a_code() {
        let sections: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let codes: Vec<&str> = RefusalCode::ALL.iter().map(|code| code.code()).collect();
        for code in &codes {
            assert!(sections.contains(code), "docs/refusals.md says nothing of {code}");
        }
        for section in &sections {
            assert!(
                codes.contains(section),
                "docs/refusals.md explains {section}, which is no code"
            );
        }
        assert_eq!(sections.len(), codes.len(), "each once");
    }

    #[test]
    fn every_section_says_what_why_and_what_to_do() {
        for section in PAGE.split("\n## ").skip(1) {
            for part in ["**Why.**", "**Author.**", "**Admin.**"] {
                assert!(section.contains(part), "{part} is missing: {section}");
            }
        }
    }

    #[test]
    fn a_code_is_found_by_its_name_and_leads_to_its_section() {
        for code in RefusalCode::ALL {
            assert_eq!(RefusalCode::named(code.code()), Some(code));
        }
        assert_eq!(RefusalCode::named("unknown"), None);
        assert_eq!(RefusalCode::BadPath.docs_path(), "docs/refusals.md#bad-path");
    }
}
