//! A token set as it lies sealed in the vault: one JSON value, versioned, that the host alone writes.
//!
//! It is also where the end of a consent is recorded, so that a restart asks an authorization server nothing that was
//! answered for good. A token set whose consent has ended holds no token any more.
//!
//! Rules of the format: the first member is `cofferdam-oauth2`, so that a token set is told from every other secret by its
//! first bytes; its value is 1; members are only ever added, with a default.

use std::fmt;
use std::time::Duration;

use cofferdam_domain::{Digest, Timestamp};
use cofferdam_vault::{SECRET_BYTES_MAX, Secret};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::refused::TokenRefusal;

/// Longest access token, in bytes. Providers' own reach about 4 KiB.
pub(crate) const ACCESS_TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest refresh token, in bytes.
pub(crate) const REFRESH_TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Longest list of granted scopes that is kept, in bytes.
pub(crate) const SCOPES_BYTES_MAX: usize = 2 * 1024;

/// The longest that a token is taken to live, whatever its server says: ten years.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The first bytes of every token set, and of nothing else.
const MARK: &[u8] = br#"{"cofferdam-oauth2":"#;

const FORMAT: u8 = 1;

/// A token in memory: wiped when dropped, and never printed. Serialised only into what the vault seals.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Zeroizing<String>);

/// The text is empty, too long, or holds what a header cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to {bytes_max} bytes of visible ASCII")]
pub(crate) struct BadToken {
    bytes_max: usize,
}

impl Token {
    /// RFC 6749 appendices A.12 and A.17, without the space, which would end a header's value early.
    pub(crate) fn new(text: &str, bytes_max: usize) -> Result<Self, BadToken> {
        let visible = text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        if text.is_empty() || text.len() > bytes_max || !visible {
            return Err(BadToken { bytes_max });
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text. Every use of it is found by this name.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::new(&text, ACCESS_TOKEN_BYTES_MAX).map_err(D::Error::custom)
    }
}

/// Everything that is known of one upstream's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenSet {
    /// See the module's rules.
    #[serde(rename = "cofferdam-oauth2")]
    pub(crate) format: u8,
    /// Whose tokens they are: [`OAuth2Grant::bound_to`](cofferdam_domain::connection::OAuth2Grant::bound_to).
    pub(crate) bound_to: Digest,
    /// What the present access token was asked for.
    pub(crate) asked: Digest,
    /// When it was obtained, or the set was written without one.
    pub(crate) obtained_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_token: Option<Token>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<Token>,
    /// When the access token ends; none if the server did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    /// When the refresh token ends, where a server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_expires_at: Option<Timestamp>,
    /// What the server says that it granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes: Vec<String>,
    /// Who consented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) consent: Option<Consent>,
    /// The server's last word, if it was a no for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<Refused>,
}

/// Who consented, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The name of the token whose holder began it.
    pub by: String,
    /// When the code was exchanged.
    pub at: Timestamp,
}

/// A no for good: what was asked is not asked again until it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) why: TokenRefusal,
    pub(crate) at: Timestamp,
    /// What was asked.
    pub(crate) asked: Digest,
    /// The version of the client's secret that it was asked with; 0 without one.
    pub(crate) secret_version: u64,
}

/// The value is no token set, or one of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential holds no token set that this version can read")]
pub(crate) struct NotATokenSet;

/// A token set that is too large to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token set is larger than {SECRET_BYTES_MAX} bytes")]
pub(crate) struct TooLarge;

impl TokenSet {
    /// A set without tokens.
    pub(crate) fn empty(bound_to: Digest, asked: Digest, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            bound_to,
            asked,
            obtained_at: now,
            access_token: None,
            refresh_token: None,
            expires_at: None,
            refresh_expires_at: None,
            scopes: Vec::new(),
            consent: None,
            refused: None,
        }
    }

    /// Reads a credential's value.
    pub(crate) fn parse(value: &Secret) -> Result<Self, NotATokenSet> {
        if !is_token_set(value.expose()) {
            return Err(NotATokenSet);
        }
        // The text of serde's error may quote the value.
        let set: Self = serde_json::from_slice(value.expose()).map_err(|_| NotATokenSet)?;
        if set.format == FORMAT {
            Ok(set)
        } else {
            Err(NotATokenSet)
        }
    }

    /// As the vault keeps it.
    pub(crate) fn to_secret(&self) -> Result<Secret, TooLarge> {
        // Enough room from the start: a vector that grew would leave parts of itself behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 * SECRET_BYTES_MAX));
        serde_json::to_writer(&mut *bytes, self).map_err(|_| TooLarge)?;
        Secret::new(std::mem::take(&mut *bytes)).map_err(|_| TooLarge)
    }

    /// Whether the host can obtain another access token without a person.
    pub(crate) fn is_renewable(&self) -> bool {
        self.refresh_token.is_some()
    }
}

/// Whether a credential's value is a token set. Whoever would send it anywhere as it is must not.
pub(crate) fn is_token_set(value: &[u8]) -> bool {
    value.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> TokenSet {
        let at = Timestamp::from_millis;
        TokenSet {
            access_token: Some(Token::new("at-1", 10).unwrap()),
            refresh_token: Some(Token::new("rt-1", 10).unwrap()),
            expires_at: Some(at(2)),
            refresh_expires_at: Some(at(3)),
            scopes: vec!["read".to_owned()],
            consent: Some(Consent {
                by: "anna".to_owned(),
                at: at(1),
            }),
            refused: Some(Refused {
                why: TokenRefusal::InvalidClient,
                at: at(4),
                asked: Digest::of(b"asked"),
                secret_version: 7,
            }),
            ..TokenSet::empty(Digest::of(b"us"), Digest::of(b"asked"), at(1))
        }
    }

    #[test]
    fn a_token_set_comes_back_as_it_was_and_is_told_from_other_secrets() {
        for set in [
            full(),
            TokenSet::empty(Digest::of(b""), Digest::of(b""), Timestamp::ZERO),
        ] {
            let sealed = set.to_secret().unwrap();
            assert!(is_token_set(sealed.expose()));
            assert_eq!(TokenSet::parse(&sealed), Ok(set));
        }
        let later = String::from_utf8(full().to_secret().unwrap().expose().to_vec()).unwrap();
        let later = later.replace("\"cofferdam-oauth2\":1", "\"cofferdam-oauth2\":2");
        for other in [
            later.as_str(),
            "xoxb-1",
            "{}",
            r#"{"access_token":"at-1"}"#,
            r#"{"cofferdam-oauth2":1}"#,
            r#"{"cofferdam-oauth2":1,"#,
        ] {
            let secret = Secret::new(other.as_bytes().to_vec()).unwrap();
            assert_eq!(TokenSet::parse(&secret), Err(NotATokenSet), "{other}");
        }
    }

    #[test]
    fn nothing_that_prints_a_token_set_prints_a_token() {
        let printed = format!("{:?}", full());
        assert!(!printed.contains("at-1") && !printed.contains("rt-1"), "{printed}");
    }

    #[test]
    fn a_token_is_visible_ascii_within_its_bound() {
        for (text, good) in [
            ("a", true),
            ("ya29.a0-_~+/=", true),
            (&*"x".repeat(16), true),
            (&*"x".repeat(17), false),
            ("", false),
            ("a b", false),
            ("a\r\nx: y", false),
            ("é", false),
            ("a\u{7f}", false),
        ] {
            assert_eq!(Token::new(text, 16).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn the_longest_tokens_fit_into_a_credential() {
        let set = TokenSet {
            access_token: Some(Token::new(&"x".repeat(ACCESS_TOKEN_BYTES_MAX), ACCESS_TOKEN_BYTES_MAX).unwrap()),
            refresh_token: Some(Token::new(&"x".repeat(REFRESH_TOKEN_BYTES_MAX), REFRESH_TOKEN_BYTES_MAX).unwrap()),
            scopes: vec!["x".repeat(SCOPES_BYTES_MAX)],
            ..full()
        };
        assert!(set.to_secret().is_ok());
        // Quotes take two bytes each.
        let quotes = "\"".repeat(ACCESS_TOKEN_BYTES_MAX);
        let access_token = Some(Token::new(&quotes, ACCESS_TOKEN_BYTES_MAX).unwrap());
        assert_eq!(TokenSet { access_token, ..set }.to_secret().err(), Some(TooLarge));
    }
}
