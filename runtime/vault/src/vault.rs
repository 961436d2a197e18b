//! The vault: sealed credentials in the store, by workspace, connection and name.
//!
//! Values are unsealed at each use; none is cached. Of two concurrent changes of one credential both succeed, one after the
//! other, each with a version of its own, unless one of them expects what the other has replaced.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, Key, KeyReader, Keyspace, NotThisKey, Scan, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::envelope::{KeyCheck, OpenError, Place};
use crate::error::VaultError;
use crate::facts::{FactKind, Facts};
use crate::head::{Head, Previous, Renewal};
use crate::key::VaultKey;
use crate::record::Record;
use crate::rekey;
use crate::secret::Secret;

/// Records read per step of a listing.
const LIST_PAGE: usize = 256;

/// Most credentials that one listing answers with.
const LISTED_MAX: usize = 16 * 1024;

/// Hears of each fact.
type Observer = Box<dyn Fn(FactKind) + Send + Sync>;

/// Who hears of changes. Hooks of batches hold this and not the vault, which would hold the store that runs them.
#[derive(Default)]
pub(crate) struct Ears {
    changes: watch::Sender<u64>,
    observer: OnceLock<Observer>,
}

impl Ears {
    pub(crate) fn observe(&self, kind: FactKind) {
        if let Some(observer) = self.observer.get() {
            observer(kind);
        }
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Sealed credentials. Clones share the store and the key.
#[derive(Clone)]
pub struct Vault {
    pub(crate) store: Store,
    pub(crate) key: Arc<VaultKey>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) ears: Arc<Ears>,
}

/// Which value of which credential: a version, and when the credential was first set. A credential that was removed and set
/// again counts its versions anew, and is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The version.
    pub version: u64,
    /// When the first value was set.
    pub created_at: Timestamp,
}

impl Edition {
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            version: head.version,
            created_at: head.created_at,
        }
    }
}

/// A value, and what is known of it.
#[derive(Debug)]
pub struct Revealed {
    /// The value.
    pub secret: Secret,
    /// Which it is, for a change that must replace this one.
    pub edition: Edition,
    /// When it was set.
    pub updated_at: Timestamp,
    /// When it expires, if that is known.
    pub expires_at: Option<Timestamp>,
}

/// What may be known about a credential: everything but its values and their sizes.
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
    /// When the present value expires, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Who sees to it that it is replaced in time.
    #[serde(default)]
    pub renewal: Renewal,
    /// Whether the present value was written by the host, and did not come from a person.
    #[serde(default)]
    pub refreshed: bool,
    /// Values before it that are accepted for a while, the latest first. Some may be over when this is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Previous>,
}

impl CredentialInfo {
    /// Which value of which credential this was read of.
    pub fn edition(&self) -> Edition {
        Edition {
            version: self.version,
            created_at: self.created_at,
        }
    }

    /// Until when a value before the present one is accepted, if one is.
    pub fn previous_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.previous.iter().map(|previous| previous.until);
        until.filter(|until| now < *until).max()
    }
}

impl Vault {
    /// Opens the vault in this store, and makes it, durably, if there is none. What an interrupted rekey has left is brought to
    /// its end.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when the vault was made with another key; nothing is written then.
    pub async fn open(store: Store, key: VaultKey) -> Result<Self, VaultError> {
        let at = key_check_key();
        match store.get(&at).map_err(VaultError::Read)? {
            Some(check) => match KeyCheck::open(&key, &check) {
                Ok(()) => rekey::settle(&store, &mut |_| ControlFlow::Continue(())).await?,
                Err(OpenError::Refused) => return Err(VaultError::WrongKey(rekey::hint(&store)?)),
                Err(OpenError::Malformed) => return Err(VaultError::KeyCheckDamaged),
            },
            None => {
                let any = store
                    .scan(&Scan::prefix(Key::of(Keyspace::Vault), 1))
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
            facts: Arc::new(Facts::new(store.clone())),
            store,
            key: Arc::new(key),
            ears: Arc::default(),
        })
    }

    /// Whether the store holds a vault already, so that a missing key is a fault and not a first start.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_initialised(store: &Store) -> Result<bool, VaultError> {
        Ok(store.get(key_check_key()).map_err(VaultError::Read)?.is_some())
    }

    /// Says when any credential has changed, or a fact was written.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.ears.changes.subscribe()
    }

    /// Tells `observer` of each fact once it is durable, and of those that only repeat another. It is called on the store's
    /// own thread, so it must be quick; only the first one counts.
    pub fn observed_by(&self, observer: impl Fn(FactKind) + Send + Sync + 'static) {
        let _first = self.ears.observer.set(Box::new(observer));
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
        let prefix = match connection {
            Some(connection) => connection_key(workspace, connection),
            None => credentials_key().text(workspace.as_str()),
        };
        let mut listed = Vec::new();
        let mut page = Scan::prefix(prefix, LIST_PAGE);
        while listed.len() < LISTED_MAX {
            let records = self.store.scan(&page).map_err(VaultError::Read)?;
            for (key, sealed) in &records {
                listed.push(info(key, sealed)?);
            }
            match records.into_iter().last() {
                Some((last, _)) => page = page.after(last),
                None => break,
            }
        }
        Ok(listed)
    }

    /// What may be known about one credential.
    ///
    /// # Errors
    /// When the store fails, or the record is damaged.
    pub fn info(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<CredentialInfo>, VaultError> {
        let at = credential_key(Place {
            workspace,
            connection,
            credential,
        });
        let sealed = self.store.get(&at).map_err(VaultError::Read)?;
        sealed.map(|sealed| info(at.as_ref(), &sealed)).transpose()
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
        let revealed = self.reveal_edition(workspace, connection, credential)?;
        Ok(revealed.map(|revealed| revealed.secret))
    }

    /// The present value, and what a change that must replace this one has to expect.
    ///
    /// # Errors
    /// As [`Vault::reveal`].
    pub fn reveal_edition(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Revealed>, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let Some(record) = self.record_of(place)? else {
            return Ok(None);
        };
        let secret = record.open(&self.key, place).map_err(|_| damaged(place))?;
        Ok(Some(Revealed {
            secret,
            edition: Edition::of(&record.head),
            updated_at: record.head.updated_at,
            expires_at: record.head.expires_at,
        }))
    }

    /// Every value that an incoming request may have been signed with: the present one first, and those before it for as long
    /// as they are accepted.
    ///
    /// # Errors
    /// As [`Vault::reveal`].
    pub fn active(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        now: Timestamp,
    ) -> Result<Vec<Secret>, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let Some(record) = self.record_of(place)? else {
            return Ok(Vec::new());
        };
        // The present one first: its seal vouches for what the head says of the others.
        let present = record.open(&self.key, place).map_err(|_| damaged(place))?;
        let mut active = vec![present];
        active.extend(
            record
                .open_previous(&self.key, place, now)
                .map_err(|_| damaged(place))?,
        );
        Ok(active)
    }

    fn record_of(&self, place: Place<'_>) -> Result<Option<Record>, VaultError> {
        let sealed = self.store.get(credential_key(place)).map_err(VaultError::Read)?;
        let record = sealed.map(|sealed| Record::decode(&sealed)).transpose();
        record.map_err(|_| damaged(place))
    }
}

/// `v`, "key-check".
pub(crate) fn key_check_key() -> Key {
    Key::of(Keyspace::Vault).text("key-check")
}

/// `v`, "credential".
pub(crate) fn credentials_key() -> Key {
    Key::of(Keyspace::Vault).text("credential")
}

/// `v`, "credential"; then workspace, connection.
pub(crate) fn connection_key(workspace: &WorkspaceName, connection: &ConnectionName) -> Key {
    credentials_key().text(workspace.as_str()).text(connection.as_str())
}

/// `v`, "credential"; then workspace, connection, name.
pub(crate) fn credential_key(place: Place<'_>) -> Key {
    connection_key(place.workspace, place.connection).text(place.credential.as_str())
}

/// Whose credential lies under this key.
pub(crate) fn read_credential_key(key: &[u8]) -> Result<(WorkspaceName, ConnectionName, CredentialName), VaultError> {
    let names = || -> Result<[String; 4], NotThisKey> {
        let mut reader = KeyReader::of(Keyspace::Vault, key)?;
        let mut next = || String::from_utf8(reader.text()?).map_err(|_| NotThisKey);
        let names = [next()?, next()?, next()?, next()?];
        reader.end()?;
        Ok(names)
    };
    let [_, workspace, connection, credential] = names().map_err(|_| VaultError::UnknownRecord)?;
    Ok((
        workspace.parse().map_err(|_| VaultError::UnknownRecord)?,
        connection.parse().map_err(|_| VaultError::UnknownRecord)?,
        credential.parse().map_err(|_| VaultError::UnknownRecord)?,
    ))
}

pub(crate) fn damaged(place: Place<'_>) -> VaultError {
    VaultError::Damaged {
        connection: place.connection.clone(),
        credential: place.credential.clone(),
    }
}

pub(crate) fn info(key: &[u8], sealed: &[u8]) -> Result<CredentialInfo, VaultError> {
    let (workspace, connection, name) = read_credential_key(key)?;
    let (head, _) = Head::decode(sealed).map_err(|_| VaultError::Damaged {
        connection: connection.clone(),
        credential: name.clone(),
    })?;
    Ok(CredentialInfo {
        workspace,
        connection,
        name,
        version: head.version,
        created_at: head.created_at,
        updated_at: head.updated_at,
        expires_at: head.expires_at,
        renewal: head.renewal,
        refreshed: head.refreshed,
        previous: head.previous,
    })
}

#[cfg(test)]
mod tests;
