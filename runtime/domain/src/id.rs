//! Names that people choose and identifiers that the host mints.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hash::Digest;
use crate::time::Timestamp;

/// Longest name of a workspace, connection, connector, upstream or credential, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest correlation id taken from a caller, in bytes.
pub const CORRELATION_BYTES_MAX: usize = 128;

/// A name that does not follow the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {given:?} must be 1 to {NAME_BYTES_MAX} lower-case letters, digits or `-`, and start with a letter or digit"
)]
pub struct BadName {
    what: &'static str,
    given: String,
}

fn is_name(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    first && rest && text.len() <= NAME_BYTES_MAX
}

/// A stored or sent text type whose only way in is `FromStr`.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $error:ty, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let check: fn(&str) -> Result<(), $error> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        checked_text!($(#[$doc])* $name, BadName, |text| {
            if is_name(text) { Ok(()) } else { Err(BadName { what: $what, given: text.chars().take(80).collect() }) }
        });
    };
}

name!(
    /// The tenant boundary.
    WorkspaceName, "workspace"
);
name!(
    /// A connection, unique in its workspace.
    ConnectionName, "connection"
);
name!(
    /// A connector, as its descriptor calls it.
    ConnectorName, "connector"
);
name!(
    /// An outside service, as the connector's descriptor calls it.
    UpstreamName, "upstream"
);
name!(
    /// A credential, unique in its connection.
    CredentialName, "credential"
);
name!(
    /// A budget that several connections of one workspace share.
    ShareName, "share"
);

impl Default for WorkspaceName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// A correlation id that a caller sent and that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a correlation id is 1 to {CORRELATION_BYTES_MAX} letters, digits or any of `-_.:`")]
pub struct BadCorrelationId;

checked_text!(
    /// Joins everything that follows from one thing that happened; set at the first trust boundary and never changed.
    CorrelationId, BadCorrelationId, |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let sized = (1..=CORRELATION_BYTES_MAX).contains(&text.len());
        if sized && text.bytes().all(allowed) { Ok(()) } else { Err(BadCorrelationId) }
    }
);

impl CorrelationId {
    /// A new one, for an event whose sender brought none.
    pub fn mint(now: Timestamp, rng: &mut impl Rng) -> Self {
        Self(mint_uuid(now, rng).simple().to_string())
    }
}

/// UUID version 7 (RFC 9562 section 5.7), so that identifiers sort by time.
fn mint_uuid(now: Timestamp, rng: &mut impl Rng) -> Uuid {
    let mut random = [0; 10];
    rng.fill_bytes(&mut random);
    uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid()
}

macro_rules! minted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one; sorts after those minted in earlier milliseconds.
            pub fn mint(now: Timestamp, rng: &mut impl Rng) -> Self {
                Self(mint_uuid(now, rng))
            }

            /// When it was minted, to the millisecond (RFC 9562 section 5.7: the first 48 bits).
            pub fn minted_at(&self) -> Timestamp {
                let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
                Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
            }

            /// The 16 bytes, which sort as the identifier does.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }
    };
}

minted!(
    /// An event, unique everywhere.
    EventId
);
minted!(
    /// A delivery, unique everywhere.
    DeliveryId
);

/// The key under which an upstream can tell that two attempts are one delivery: the same for one event and connection
/// forever, replays included, and meaningless to anybody else.
pub fn idempotency_key(workspace: &WorkspaceName, event: EventId, connection: &ConnectionName) -> String {
    let digest = Digest::of(format!("cofferdam/idempotency/1\n{workspace}\n{event}\n{connection}").as_bytes());
    data_encoding::HEXLOWER.encode(&digest.as_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_slugs() {
        for good in ["a", "slack-alerts", "0", &"x".repeat(NAME_BYTES_MAX)] {
            assert!(good.parse::<ConnectionName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Slack", "a b", "a/b", "é", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(bad.parse::<ConnectionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_correlation_id_cannot_carry_a_line_break_or_markup() {
        for bad in ["", "a b", "a\nb", "<b>", &"x".repeat(CORRELATION_BYTES_MAX + 1)] {
            assert!(bad.parse::<CorrelationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identifier_knows_when_it_was_minted() {
        let now = Timestamp::from_millis(1_795_000_000_123);
        assert_eq!(EventId::mint(now, &mut rand::rng()).minted_at(), now);
    }

    #[test]
    fn idempotency_keys_differ_by_connection_and_workspace_only() {
        let event = EventId::from_bytes([7; 16]);
        let key = |workspace: &str, connection: &str| {
            idempotency_key(&workspace.parse().unwrap(), event, &connection.parse().unwrap())
        };
        assert_eq!(key("a", "b"), key("a", "b"));
        assert_ne!(key("a", "b"), key("a", "c"));
        assert_ne!(key("a", "b"), key("b", "b"));
        assert_ne!(key("a-b", "c"), key("a", "b-c"));
    }
}
