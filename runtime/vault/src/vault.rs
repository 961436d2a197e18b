//! The vault: sealed credentials in the store, by workspace, connection and name.
//!
//! A value is durable when [`Vault::set`] returns. Of two concurrent changes of one credential both succeed, one after
//! the other, each with a version of its own. Values are unsealed at each use; none is cached.

use std::sync::Arc;

use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, CommitError, Key, KeyReader, Keyspace, NotThisKey, Scan, Store};
use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, Header, KeyCheck, OpenError, Place};
use crate::error::VaultError;
use crate::key::VaultKey;
use crate::secret::Secret;

/// How often a change is tried again when another change of the same credential came first.
const CHANGE_TRIES_MAX: u32 = 16;

/// Records read per step of a listing.
const LIST_PAGE: usize = 256;

/// Most credentials that one listing answers with.
const LISTED_MAX: usize = 16 * 1024;

/// Sealed credentials. Clones share the store and the key.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    key: Arc<VaultKey>,
}

/// What may be known about a credential: everything but its value and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialInfo {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The connection that it is bound to.
    pub connection: ConnectionName,
    /// Unique in the connection.
    pub name: CredentialName,
    /// 1 for the first value; raised by each change.
    pub version: u64,
    /// When the first value was set.
    pub created_at: Timestamp,
    /// When the present value was set.
    pub updated_at: Timestamp,
}

impl Vault {
    /// Opens the vault in this store, and makes it, durably, if there is none.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when the vault was made with another key; nothing is written then.
    pub async fn open(store: Store, key: VaultKey) -> Result<Self, VaultError> {
        let at = key_check_key();
        match store.get(&at).map_err(VaultError::Read)? {
            Some(check) => KeyCheck::open(&key, &check).map_err(|error| match error {
                OpenError::Refused => VaultError::WrongKey,
                OpenError::Malformed => VaultError::KeyCheckDamaged,
            })?,
            None => {
                let any = store
                    .scan(&Scan::prefix(credentials_key(), 1))
                    .map_err(VaultError::Read)?;
                if !any.is_empty() {
                    return Err(VaultError::KeyCheckDamaged);
                }
                let mut batch = Batch::new();
                let check = KeyCheck::seal(&key).map_err(VaultError::Seal)?;
                batch.expect_absent(at.clone()).put(at, check);
                store.commit(batch).await.map_err(VaultError::Write)?;
            }
        }
        Ok(Self {
            store,
            key: Arc::new(key),
        })
    }

    /// Whether the store holds a vault already, so that a missing key is a fault and not a first start.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_initialised(store: &Store) -> Result<bool, VaultError> {
        Ok(store.get(key_check_key()).map_err(VaultError::Read)?.is_some())
    }

    /// Sets a credential's value, durably; answers with its new version. Takes the secret over, so that no copy of it stays
    /// with the caller.
    ///
    /// # Errors
    /// When the store fails, or others kept changing the credential.
    pub async fn set(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        secret: Secret,
        now: Timestamp,
    ) -> Result<u64, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let at = credential_key(place);
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.store.get(&at).map_err(VaultError::Read)?;
            let mut batch = Batch::new();
            let mut header = Header {
                version: 1,
                created_at: now,
                updated_at: now,
            };
            match before {
                Some(before) => {
                    // A record that cannot be read is what an admin sets anew; its version is lost with it.
                    if let Ok(earlier) = Envelope::header(&before) {
                        header.version = earlier.version.saturating_add(1);
                        header.created_at = earlier.created_at;
                    }
                    batch.expect(at.clone(), before);
                }
                None => {
                    batch.expect_absent(at.clone());
                }
            }
            let sealed = Envelope::seal(&self.key, place, header, &secret).map_err(VaultError::Seal)?;
            batch.put(at.clone(), sealed);
            match self.store.commit(batch).await {
                Ok(()) => return Ok(header.version),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(VaultError::Write(error)),
            }
        }
        Err(VaultError::Busy {
            connection: connection.clone(),
            credential: credential.clone(),
        })
    }

    /// Removes a credential, durably; answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<bool, VaultError> {
        let at = credential_key(Place {
            workspace,
            connection,
            credential,
        });
        let there = self.store.get(&at).map_err(VaultError::Read)?.is_some();
        let mut batch = Batch::new();
        batch.delete(at);
        self.store.commit(batch).await.map_err(VaultError::Write)?;
        Ok(there)
    }

    /// Adds the removal of every credential of a connection to a batch, which is the caller's to commit; answers how many
    /// there are. Nothing of them is read, so one that is damaged goes too.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_all(
        &self,
        batch: &mut Batch,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<usize, VaultError> {
        let prefix = credentials_key().text(workspace.as_str()).text(connection.as_str());
        let mut removed = 0;
        let mut page = Scan::prefix(prefix, LIST_PAGE);
        loop {
            let records = self.store.scan(&page).map_err(VaultError::Read)?;
            let Some((last, _)) = records.last() else {
                return Ok(removed);
            };
            page = page.after(last.clone());
            removed += records.len();
            for (key, _) in records {
                batch.delete(key);
            }
        }
    }

    /// Every credential of the workspace, or of one of its connections, in the order of their names.
    ///
    /// # Errors
    /// When the store fails or a record is not the vault's.
    pub fn list(
        &self,
        workspace: &WorkspaceName,
        connection: Option<&ConnectionName>,
    ) -> Result<Vec<CredentialInfo>, VaultError> {
        let mut prefix = credentials_key().text(workspace.as_str());
        if let Some(connection) = connection {
            prefix = prefix.text(connection.as_str());
        }
        let mut listed = Vec::new();
        let mut page = Scan::prefix(prefix.clone(), LIST_PAGE);
        while listed.len() < LISTED_MAX {
            let records = self.store.scan(&page).map_err(VaultError::Read)?;
            for (key, sealed) in &records {
                listed.push(info(key, sealed)?);
            }
            match records.into_iter().last() {
                Some((last, _)) => page = Scan::prefix(prefix.clone(), LIST_PAGE).after(last),
                None => break,
            }
        }
        Ok(listed)
    }

    /// Whether there is such a credential; its value is not read.
    ///
    /// # Errors
    /// When the store fails.
    pub fn exists(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<bool, VaultError> {
        let at = credential_key(Place {
            workspace,
            connection,
            credential,
        });
        Ok(self.store.get(at).map_err(VaultError::Read)?.is_some())
    }

    /// The present value; none if there is no such credential.
    ///
    /// # Errors
    /// When the store fails, or the record was changed or moved.
    pub fn reveal(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Secret>, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let Some(sealed) = self.store.get(credential_key(place)).map_err(VaultError::Read)? else {
            return Ok(None);
        };
        Envelope::open(&self.key, place, &sealed)
            .map(Some)
            .map_err(|_| VaultError::Damaged {
                connection: connection.clone(),
                credential: credential.clone(),
            })
    }

    /// Every value that an incoming signature may have been made with. Today that is the present one; a rotation that
    /// overlaps will add the one before.
    ///
    /// # Errors
    /// As [`Vault::reveal`].
    pub fn active(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Vec<Secret>, VaultError> {
        let present = self.reveal(workspace, connection, credential)?;
        Ok(present.into_iter().collect())
    }
}

/// `v`, "key-check".
fn key_check_key() -> Key {
    Key::of(Keyspace::Vault).text("key-check")
}

/// `v`, "credential"; then workspace, connection, name.
fn credentials_key() -> Key {
    Key::of(Keyspace::Vault).text("credential")
}

fn credential_key(place: Place<'_>) -> Key {
    credentials_key()
        .text(place.workspace.as_str())
        .text(place.connection.as_str())
        .text(place.credential.as_str())
}

fn info(key: &[u8], sealed: &[u8]) -> Result<CredentialInfo, VaultError> {
    let names = || -> Result<[String; 4], NotThisKey> {
        let mut reader = KeyReader::of(Keyspace::Vault, key)?;
        let mut next = || String::from_utf8(reader.text()?).map_err(|_| NotThisKey);
        let names = [next()?, next()?, next()?, next()?];
        reader.end()?;
        Ok(names)
    };
    let [_, workspace, connection, name] = names().map_err(|_| VaultError::UnknownRecord)?;
    let connection: ConnectionName = connection.parse().map_err(|_| VaultError::UnknownRecord)?;
    let name: CredentialName = name.parse().map_err(|_| VaultError::UnknownRecord)?;
    let header = Envelope::header(sealed).map_err(|_| VaultError::Damaged {
        connection: connection.clone(),
        credential: name.clone(),
    })?;
    Ok(CredentialInfo {
        workspace: workspace.parse().map_err(|_| VaultError::UnknownRecord)?,
        connection,
        name,
        version: header.version,
        created_at: header.created_at,
        updated_at: header.updated_at,
    })
}

#[cfg(test)]
mod tests;
