//! Where the gate reads a credential, at the last moment before a request leaves.

use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use cofferdam_vault::{Secret, Vault};

/// A source of credentials. The gate asks once per request, after every check has passed.
pub trait Credentials: Send + Sync {
    /// The present value; none if there is no such credential.
    ///
    /// # Errors
    /// When it cannot be told whether there is one, or it cannot be unsealed.
    fn reveal(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable>;
}

/// A credential could not be read.
#[derive(Debug, thiserror::Error)]
#[error("a credential could not be read")]
pub struct CredentialsUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Credentials for Vault {
    fn reveal(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        Vault::reveal(self, workspace, connection, credential).map_err(|error| CredentialsUnavailable(Box::new(error)))
    }
}
