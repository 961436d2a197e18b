//! What can go wrong in the vault, in words for the person who has to do something about it.

use cofferdam_domain::{ConnectionName, CredentialName};
use cofferdam_store::{CommitError, StoreError};

use crate::change::OVERLAP_MAX;
use crate::key::KeyError;
use crate::rekey::KeyHint;

/// Why the vault could not do its work. No text holds any of a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store was sealed under another key.
    #[error("the vault was sealed under another key: {0}; nothing was changed")]
    WrongKey(KeyHint),
    /// There is nothing to give a new key to.
    #[error("there is no vault in this data directory: a server that starts on it makes one")]
    NoVault,
    /// A rekey was told to stop.
    #[error("the rekey was stopped: run it again")]
    Interrupted,
    /// There are credentials and no record to check the key against, or it is damaged.
    #[error(
        "the vault's key check is missing or damaged: restore the data directory from a backup; nothing was changed"
    )]
    KeyCheckDamaged,
    /// A sealed credential was changed, moved, or belongs to another key.
    #[error("credential {credential} of connection {connection} does not unseal: set it again")]
    Damaged {
        /// The connection.
        connection: ConnectionName,
        /// The credential.
        credential: CredentialName,
    },
    /// A record under the vault's keys is not the vault's.
    #[error("a record of the vault has an unknown key")]
    UnknownRecord,
    /// Others changed the credential every time.
    #[error("credential {credential} of connection {connection} is being changed by others; try again")]
    Busy {
        /// The connection.
        connection: ConnectionName,
        /// The credential.
        credential: CredentialName,
    },
    /// The credential is not the one that the change expects.
    #[error("credential {credential} of connection {connection} was changed by somebody else; nothing was changed")]
    Conflict {
        /// The connection.
        connection: ConnectionName,
        /// The credential.
        credential: CredentialName,
    },
    /// A value that was replaced would be accepted for too long.
    #[error("a value that was replaced is accepted for at most {} days", OVERLAP_MAX.as_secs() / 86_400)]
    OverlapTooLong,
    /// No random bytes.
    #[error("the vault could not seal a value")]
    Seal(#[source] KeyError),
    /// The store failed on reading.
    #[error("the vault could not be read")]
    Read(#[source] StoreError),
    /// The store failed on writing.
    #[error("the vault could not be written")]
    Write(#[source] CommitError),
}
