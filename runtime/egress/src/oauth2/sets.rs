//! Where token sets are kept: the vault, and in tests a map.

use std::future::Future;
use std::pin::Pin;

use cofferdam_domain::Timestamp;
use cofferdam_vault::{Secret, Vault};

use super::source::TokenKey;
use crate::credentials::CredentialsUnavailable;

/// A credential's value and which one it is.
pub struct Kept {
    /// The value.
    pub value: Secret,
    /// Raised by every change.
    pub version: u64,
}

/// A value to be kept.
pub struct Write {
    /// The value.
    pub value: Secret,
    /// What may be there before.
    pub over: Over,
    /// Now.
    pub at: Timestamp,
    /// When a person has to act; none if that is not known, or the host renews it by itself.
    pub ends_at: Option<Timestamp>,
}

/// What may be there when a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// No value.
    Nothing,
    /// The value of this version.
    Version(u64),
    /// Whatever is there.
    Anything,
}

/// A value was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Something else is there.
    #[error("the credential has changed meanwhile")]
    Changed,
    /// It could not be made durable.
    #[error("the credential could not be written")]
    Unavailable(#[source] CredentialsUnavailable),
}

/// A write under way; its answer is the new version.
pub type Writing<'a> = Pin<Box<dyn Future<Output = Result<u64, NotWritten>> + Send + 'a>>;

/// Sealed credentials that are read with their version, and written only over what was read.
pub trait TokenSets: Send + Sync {
    /// The present value.
    ///
    /// # Errors
    /// When it cannot be told whether there is one, or it cannot be unsealed.
    fn read(&self, key: &TokenKey) -> Result<Option<Kept>, CredentialsUnavailable>;

    /// Writes a value, durably.
    fn write<'a>(&'a self, key: &'a TokenKey, write: Write) -> Writing<'a>;
}

impl TokenSets for Vault {
    fn read(&self, key: &TokenKey) -> Result<Option<Kept>, CredentialsUnavailable> {
        let unavailable = |error| CredentialsUnavailable(Box::new(error));
        let listed = self.list(&key.workspace, Some(&key.connection)).map_err(unavailable)?;
        let Some(info) = listed.into_iter().find(|info| info.name == key.credential) else {
            return Ok(None);
        };
        let value = self.reveal(&key.workspace, &key.connection, &key.credential);
        Ok(value.map_err(unavailable)?.map(|value| Kept {
            value,
            version: info.version,
        }))
    }

    fn write<'a>(&'a self, key: &'a TokenKey, write: Write) -> Writing<'a> {
        Box::pin(async move {
            let there = self.read(key).map_err(NotWritten::Unavailable)?.map(|kept| kept.version);
            let expected = match write.over {
                Over::Nothing => there.is_none(),
                Over::Version(version) => there == Some(version),
                Over::Anything => true,
            };
            if !expected {
                return Err(NotWritten::Changed);
            }
            self.set(&key.workspace, &key.connection, &key.credential, write.value, write.at)
                .await
                .map_err(|error| NotWritten::Unavailable(CredentialsUnavailable(Box::new(error))))
        })
    }
}
