//! API tokens: who may call what, until it is revoked.
//!
//! Only the SHA-256 of a token is kept. Changes are made one after the other, each durable before it shows, and a caller who
//! hangs up half-way leaves none that is durable and does not show. The last admin token of a workspace stays.

mod first;
mod hash;
mod principal;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use cofferdam_domain::WorkspaceName;
use cofferdam_store::{Batch, CommitError, Key, KeyReader, Keyspace, NotThisKey, Scan, Store, StoreError};
use rand::CryptoRng;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::now;

pub use hash::{NotATokenId, TokenHash, TokenId};
pub use principal::{Principal, Role, TokenInfo};

/// Most tokens of one workspace.
pub const TOKENS_MAX: usize = 1_024;

/// Records read per step of opening.
const OPEN_PAGE: usize = 1_024;

/// Tokens cannot be read, made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store fails.
    #[error("tokens cannot be read")]
    Store(#[from] StoreError),
    /// The store fails.
    #[error("the change could not be made durable")]
    Commit(#[from] CommitError),
    /// A stored token cannot be read.
    #[error("a stored token cannot be read")]
    Record(#[from] serde_json::Error),
    /// A stored token cannot be read.
    #[error("a stored token cannot be found by its key")]
    Key(#[from] NotThisKey),
    /// The first token's file cannot be written.
    #[error("{} cannot be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The workspace is full.
    #[error("there are {TOKENS_MAX} tokens already; revoke one that is no longer used")]
    Full,
    /// No such token in the workspace.
    #[error("no token {0}")]
    Unknown(TokenId),
    /// Without it nobody could change anything any more.
    #[error("token {0} is the last one with the role admin; make another one first")]
    LastAdmin(TokenId),
}

type Known = BTreeMap<TokenHash, Arc<Principal>>;

/// Every token, by its hash. A look-up by hash tells nothing by its timing about the token itself.
pub struct Tokens {
    store: Store,
    known: Arc<RwLock<Known>>,
    /// Held while a change is made durable: changes count what is there, so none may overtake another. The change itself
    /// holds it, not who asked for it, for it goes on when the caller has gone.
    changing: Arc<Mutex<()>>,
}

impl Tokens {
    /// Reads all of them.
    pub fn open(store: Store) -> Result<Self, TokenError> {
        let mut known = Known::new();
        let mut scan = Scan::prefix(Key::of(Keyspace::Token), OPEN_PAGE);
        loop {
            let page = store.scan(&scan)?;
            for (key, value) in &page {
                known.insert(read_key(key)?, Arc::new(serde_json::from_slice(value)?));
            }
            match page.into_iter().next_back() {
                Some((last, _)) => scan = scan.after(last),
                None => break,
            }
        }
        Ok(Self {
            store,
            known: Arc::new(RwLock::new(known)),
            changing: Arc::default(),
        })
    }

    /// Whose token this is; none once it is revoked.
    pub fn principal(&self, token: &str) -> Option<Arc<Principal>> {
        self.find(TokenHash::of(token))
    }

    /// As [`Tokens::principal`], for who keeps the hash instead of the token.
    pub fn find(&self, hash: TokenHash) -> Option<Arc<Principal>> {
        self.known().get(&hash).cloned()
    }

    /// Those of a workspace, oldest first.
    pub fn of(&self, workspace: &WorkspaceName) -> Vec<TokenInfo> {
        let known = self.known();
        let mut listed: Vec<_> = of(&known, workspace)
            .map(|(hash, principal)| TokenInfo::of(*hash, principal))
            .collect();
        listed.sort_by_key(|info| (info.created_at, info.id));
        listed
    }

    /// Makes a token. The answer is the only time that it is seen.
    ///
    /// # Errors
    /// When the workspace has [`TOKENS_MAX`] already, or the store fails.
    pub async fn create(&self, name: String, workspace: WorkspaceName, role: Role) -> Result<String, TokenError> {
        let changing = self.changing().await;
        if of(&self.known(), &workspace).count() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let (token, hash) = minted(&self.known(), &mut rand::rng());
        let principal = Principal {
            name,
            workspace,
            role,
            created_at: now(),
        };
        self.keep(hash, principal, changing).await?;
        Ok(token)
    }

    /// At the very first start: makes an admin token and writes it into a file that only this user can read.
    ///
    /// The file is durable before the token counts. A crash in between leaves a file whose token nobody knows, and a server
    /// that still has none, so that its next start writes the file anew.
    ///
    /// # Errors
    /// When the file cannot be written, or the store fails; the next start tries again.
    pub async fn create_first(&self, dir: &Path) -> Result<Option<PathBuf>, TokenError> {
        let changing = self.changing().await;
        if !self.known().is_empty() {
            return Ok(None);
        }
        let (token, hash) = minted(&self.known(), &mut rand::rng());
        let path = dir.join(first::NAME);
        first::write(dir, &token).map_err(|source| TokenError::File {
            path: path.clone(),
            source,
        })?;
        let principal = Principal {
            name: "first-admin".to_owned(),
            workspace: WorkspaceName::default(),
            role: Role::Admin,
            created_at: now(),
        };
        self.keep(hash, principal, changing).await?;
        Ok(Some(path))
    }

    /// Ends a token of this workspace for good; when this returns, nothing takes it any more.
    ///
    /// # Errors
    /// When the workspace has no such token, when it is the last one that may change things there, or the store fails.
    pub async fn revoke(&self, workspace: &WorkspaceName, id: TokenId) -> Result<TokenInfo, TokenError> {
        let changing = self.changing().await;
        let (hash, revoked) = self.revocable(workspace, id)?;
        let mut batch = Batch::new();
        batch.delete(key(hash));
        self.commit(batch, changing, move |known| {
            known.remove(&hash);
        })
        .await?;
        Ok(revoked)
    }

    fn revocable(&self, workspace: &WorkspaceName, id: TokenId) -> Result<(TokenHash, TokenInfo), TokenError> {
        let known = self.known();
        let (hash, principal) = of(&known, workspace)
            .find(|(hash, _)| hash.id() == id)
            .ok_or(TokenError::Unknown(id))?;
        let is_admin = |principal: &Principal| principal.role == Role::Admin;
        let others = of(&known, workspace).filter(|(other, principal)| *other != hash && is_admin(principal));
        if is_admin(principal) && others.count() == 0 {
            return Err(TokenError::LastAdmin(id));
        }
        Ok((*hash, TokenInfo::of(*hash, principal)))
    }

    async fn keep(
        &self,
        hash: TokenHash,
        principal: Principal,
        changing: OwnedMutexGuard<()>,
    ) -> Result<(), TokenError> {
        let mut batch = Batch::new();
        batch.put(key(hash), serde_json::to_vec(&principal)?);
        self.commit(batch, changing, move |known| {
            known.insert(hash, Arc::new(principal));
        })
        .await
    }

    /// Makes a change durable, and then shows it, whether or not the caller still waits: a revoked token that went on working
    /// until the next start would be the worse for it.
    async fn commit(
        &self,
        mut batch: Batch,
        changing: OwnedMutexGuard<()>,
        show: impl FnOnce(&mut Known) + Send + 'static,
    ) -> Result<(), TokenError> {
        let known = Arc::clone(&self.known);
        batch.then(move || {
            show(&mut known.write().unwrap_or_else(PoisonError::into_inner));
            drop(changing);
        });
        Ok(self.store.commit(batch).await?)
    }

    async fn changing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(known: &'a Known, workspace: &WorkspaceName) -> impl Iterator<Item = (&'a TokenHash, &'a Arc<Principal>)> {
    known
        .iter()
        .filter(move |(_, principal)| principal.workspace == *workspace)
}

/// A token that is not there yet, and whose id is none's: what is revoked by an id must be one token.
fn minted(known: &Known, rng: &mut impl CryptoRng) -> (String, TokenHash) {
    loop {
        let token = hash::mint(rng);
        let hash = TokenHash::of(&token);
        // An id has 48 random bits: a second turn is next to never taken, and a third is not to be waited for.
        if known.keys().all(|taken| taken.id() != hash.id()) {
            return (token, hash);
        }
    }
}

fn key(hash: TokenHash) -> Key {
    Key::of(Keyspace::Token).bytes(hash.as_bytes())
}

fn read_key(key: &[u8]) -> Result<TokenHash, NotThisKey> {
    let mut reader = KeyReader::of(Keyspace::Token, key)?;
    let hash = TokenHash::from_bytes(reader.bytes()?);
    reader.end()?;
    Ok(hash)
}

#[cfg(test)]
mod tests;
