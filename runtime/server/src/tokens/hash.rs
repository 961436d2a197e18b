//! What tokens are known by: a hash that stands for the token, and an id that people can name it by.

use std::fmt;
use std::str::FromStr;

use cofferdam_domain::Digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};

/// In front of every token, so that scanners for leaked secrets can find one.
const PREFIX: &str = "cofferdam_";

/// 256 random bits as a token.
pub(super) fn mint(rng: &mut impl CryptoRng) -> String {
    let mut random = [0; 32];
    rng.fill_bytes(&mut random);
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&random))
}

/// The SHA-256 of a token. Who knows it cannot call anything with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(Digest);

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &str) -> Self {
        Self(Digest::of(token.as_bytes()))
    }

    /// What people name the token by.
    pub fn id(&self) -> TokenId {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        TokenId([a, b, c, d, e, f])
    }

    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// The name of a token that is no secret: the first 12 hex digits of its hash, which no other token of the server shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 6]);

/// The text is not 12 lower-case hex digits. It is not repeated: it may be a token that was pasted in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a token is 12 lower-case hex digits, as the list of tokens shows it")]
pub struct NotATokenId;

impl FromStr for TokenId {
    type Err = NotATokenId;

    fn from_str(text: &str) -> Result<Self, NotATokenId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotATokenId)?;
        bytes.try_into().map(Self).map_err(|_| NotATokenId)
    }
}

impl TryFrom<String> for TokenId {
    type Error = NotATokenId;

    fn try_from(text: String) -> Result<Self, NotATokenId> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_beginning_of_the_hash_and_nothing_else_is_one() {
        let (hash, digest) = (TokenHash::of("cofferdam_x"), Digest::of(b"cofferdam_x"));
        assert_eq!(hash.id().to_string(), digest.short());
        for (text, expected) in [
            (digest.short(), Ok(hash.id())),
            (digest.short().to_uppercase(), Err(NotATokenId)),
            (digest.short()[1..].to_owned(), Err(NotATokenId)),
            (digest.to_string(), Err(NotATokenId)),
            ("cofferdam_x".to_owned(), Err(NotATokenId)),
            (String::new(), Err(NotATokenId)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
