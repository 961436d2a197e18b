//! Whom a token speaks for.

use cofferdam_domain::{Timestamp, WorkspaceName};
use serde::{Deserialize, Serialize};

use super::hash::{TokenHash, TokenId};

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in its workspace.
    Admin,
    /// Read everything but secrets, which nobody reads.
    Viewer,
    /// Send events, and nothing else.
    Ingest,
}

impl Role {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Ingest => "ingest",
        }
    }
}

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The token's name, for records.
    pub name: String,
    /// The only workspace that it reaches.
    pub workspace: WorkspaceName,
    /// What it may do there.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What may be known about a token: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// What it is revoked by.
    pub id: TokenId,
    /// For records.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
}

impl TokenInfo {
    pub(super) fn of(hash: TokenHash, principal: &Principal) -> Self {
        Self {
            id: hash.id(),
            name: principal.name.clone(),
            role: principal.role,
            created_at: principal.created_at,
        }
    }
}
