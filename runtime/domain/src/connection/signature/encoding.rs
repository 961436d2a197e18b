//! How signatures are written and how a credential's text becomes a key.

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

/// How a signature is written. Hex may be of either case when it is read, and base64url padded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// Base 16, written in lower case (RFC 4648 section 8).
    #[default]
    Hex,
    /// Base 64 with padding (RFC 4648 section 4).
    Base64,
    /// Base 64 with the URL-safe alphabet, written without padding (RFC 4648 section 5).
    Base64url,
}

/// How a credential's text becomes the key. White space around the text is not part of it where it is an encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// Its bytes are the key.
    #[default]
    Raw,
    /// It is base 64 with padding.
    Base64,
    /// It is base 16 of either case.
    Hex,
}

impl SignatureEncoding {
    /// Writes a signature.
    pub fn encode(self, signature: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(signature),
            Self::Base64 => BASE64.encode(signature),
            Self::Base64url => BASE64URL_NOPAD.encode(signature),
        }
    }

    /// Reads one, or none if the text is not of this encoding.
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Base64url if text.ends_with(b"=") => BASE64URL.decode(text).ok(),
            Self::Base64url => BASE64URL_NOPAD.decode(text).ok(),
        }
    }
}

impl SecretEncoding {
    /// The key, or none if the credential's text is not of this encoding or encodes nothing: anybody could sign with an
    /// empty key. It is secret: the caller wipes it.
    pub fn key(self, secret: &[u8]) -> Option<Vec<u8>> {
        let key = match self {
            Self::Raw => Some(secret.to_vec()),
            Self::Base64 => BASE64.decode(secret.trim_ascii()).ok(),
            Self::Hex => HEXLOWER_PERMISSIVE.decode(secret.trim_ascii()).ok(),
        };
        key.filter(|key| !key.is_empty())
    }
}
