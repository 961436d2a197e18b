//! Where token sets are kept: the vault, and in tests a map.

use std::future::Future;
use std::pin::Pin;

use cofferdam_domain::Timestamp;
use cofferdam_vault::{Cause, Change, Edition, Expect, FactKind, News, Renewal, Secret, Vault, VaultError};

use super::source::TokenKey;
use crate::credentials::CredentialsUnavailable;

/// A credential's value and which one it is.
pub(crate) struct Kept {
    pub(crate) value: Secret,
    pub(crate) edition: Edition,
}

/// A value to be kept.
pub(crate) struct Write {
    pub(crate) value: Secret,
    /// What must be there before.
    pub(crate) over: Expect,
    /// Why, and whose doing.
    pub(crate) cause: Cause,
    pub(crate) by: Option<String>,
    pub(crate) at: Timestamp,
    /// When a person has to act; none if that is not known, or the host renews it by itself.
    pub(crate) ends_at: Option<Timestamp>,
}

/// A value was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    /// Something else is there.
    #[error("the credential has changed meanwhile")]
    Changed,
    /// It could not be made durable.
    #[error("the credential could not be written")]
    Unavailable(#[source] CredentialsUnavailable),
}

/// A write under way; its answer is the new version.
pub(crate) type Writing<'a> = Pin<Box<dyn Future<Output = Result<u64, NotWritten>> + Send + 'a>>;

/// A note under way.
pub(crate) type Noting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Sealed credentials that are read with their edition, and written only over what was read.
pub(crate) trait TokenSets: Send + Sync {
    /// The present value.
    fn read(&self, key: &TokenKey) -> Result<Option<Kept>, CredentialsUnavailable>;

    /// Writes a value, durably.
    fn write<'a>(&'a self, key: &'a TokenKey, write: Write) -> Writing<'a>;

    /// Notes, for people, that no token could be obtained for now.
    fn note_failure<'a>(&'a self, key: &'a TokenKey, reason: &'a str, at: Timestamp) -> Noting<'a>;
}

fn unavailable(error: VaultError) -> CredentialsUnavailable {
    CredentialsUnavailable(Box::new(error))
}

impl TokenSets for Vault {
    fn read(&self, key: &TokenKey) -> Result<Option<Kept>, CredentialsUnavailable> {
        let revealed = self.reveal_edition(&key.workspace, &key.connection, &key.credential);
        Ok(revealed.map_err(unavailable)?.map(|revealed| Kept {
            value: revealed.secret,
            edition: revealed.edition,
        }))
    }

    fn write<'a>(&'a self, key: &'a TokenKey, write: Write) -> Writing<'a> {
        Box::pin(async move {
            let change = Change {
                expires_at: write.ends_at,
                renewal: if write.ends_at.is_some() {
                    Renewal::ByPerson
                } else {
                    Renewal::ByHost
                },
                expect: write.over,
                cause: write.cause,
                by: write.by.as_deref(),
                ..Change::new(write.value, write.at)
            };
            let put = self.put(&key.workspace, &key.connection, &key.credential, change);
            put.await.map_err(|error| match error {
                VaultError::Conflict { .. } => NotWritten::Changed,
                error => NotWritten::Unavailable(unavailable(error)),
            })
        })
    }

    fn note_failure<'a>(&'a self, key: &'a TokenKey, reason: &'a str, at: Timestamp) -> Noting<'a> {
        Box::pin(async move {
            let news = News {
                detail: Some(reason),
                ..News::of(FactKind::RefreshFailed)
            };
            let noted = self.record(&key.workspace, &key.connection, &key.credential, news, at);
            if let Err(error) = noted.await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    connection = %key.connection,
                    "a fact about a credential could not be written"
                );
            }
        })
    }
}
