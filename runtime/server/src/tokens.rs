//! API tokens: who may call what. Only the SHA-256 of a token is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use cofferdam_domain::{Digest, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, CommitError, Key, Keyspace, Scan, Store, StoreError};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::clock::now;

/// Most tokens of one server.
pub const TOKENS_MAX: usize = 1_024;

/// In front of every token, so that scanners for leaked secrets can find one.
const PREFIX: &str = "cofferdam_";

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

/// Tokens cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store fails.
    #[error("tokens cannot be read")]
    Store(#[from] StoreError),
    /// The store fails.
    #[error("the token could not be made durable")]
    Commit(#[from] CommitError),
    /// A stored token cannot be read.
    #[error("a stored token cannot be read")]
    Record(#[from] serde_json::Error),
    /// The first token's file cannot be written.
    #[error("{} cannot be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server is full.
    #[error("there are {TOKENS_MAX} tokens already")]
    Full,
}

/// Every token, by its hash. A look-up by hash tells nothing by its timing about the token itself.
pub struct Tokens {
    store: Store,
    by_hash: RwLock<BTreeMap<Digest, Arc<Principal>>>,
}

impl Tokens {
    /// Reads all of them.
    pub fn open(store: Store) -> Result<Self, TokenError> {
        let mut by_hash = BTreeMap::new();
        for (key, value) in store.scan(&Scan::prefix(Key::of(Keyspace::Token), TOKENS_MAX))? {
            let hash = key
                .get(1..33)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .map(Digest::from_bytes);
            if let Some(hash) = hash {
                by_hash.insert(hash, Arc::new(serde_json::from_slice(&value)?));
            }
        }
        Ok(Self {
            store,
            by_hash: RwLock::new(by_hash),
        })
    }

    /// Whose token this is.
    pub fn principal(&self, token: &str) -> Option<Arc<Principal>> {
        let by_hash = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        by_hash.get(&Digest::of(token.as_bytes())).cloned()
    }

    /// Makes a token. The answer is the only time that it is seen.
    pub async fn create(&self, name: String, workspace: WorkspaceName, role: Role) -> Result<String, TokenError> {
        if self.by_hash.read().unwrap_or_else(PoisonError::into_inner).len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let mut random = [0; 32];
        rand::rng().fill_bytes(&mut random);
        let token = format!("{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&random));
        let hash = Digest::of(token.as_bytes());
        let principal = Principal {
            name,
            workspace,
            role,
            created_at: now(),
        };
        let mut batch = Batch::new();
        batch.put(
            Key::of(Keyspace::Token).bytes(hash.as_bytes()),
            serde_json::to_vec(&principal)?,
        );
        self.store.commit(batch).await?;
        self.by_hash
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash, Arc::new(principal));
        Ok(token)
    }

    /// At the very first start: makes an admin token and writes it into a file that only this user can read.
    pub async fn create_first(&self, dir: &Path) -> Result<Option<PathBuf>, TokenError> {
        if !self.by_hash.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(None);
        }
        let path = dir.join("admin.token");
        let failed = |source| TokenError::File {
            path: path.clone(),
            source,
        };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let token = self
            .create("first-admin".to_owned(), WorkspaceName::default(), Role::Admin)
            .await?;
        writeln!(file, "{token}")
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        Ok(Some(path))
    }
}
