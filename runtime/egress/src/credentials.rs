//! Where the gate reads a credential, at the last moment before a request leaves.

use std::future::Future;
use std::pin::Pin;

use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use cofferdam_vault::{Secret, Vault};

use crate::exchange::HttpError;
use crate::gate::attach;
use crate::oauth2::{AccessToken, TokenSource};

/// An access token on its way, which may take a request of the host's own.
pub type AccessTokenFuture<'a> = Pin<Box<dyn Future<Output = Result<AccessToken, HttpError>> + Send + 'a>>;

/// As [`AccessTokenFuture`], if there is a use in trying again.
pub type RenewalFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<AccessToken>, HttpError>> + Send + 'a>>;

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

    /// An access token that the host obtains itself. A source that only reads has none.
    ///
    /// # Errors
    /// A refusal that a person has to do something about, or what may pass by itself.
    fn access_token(&self, source: TokenSource) -> AccessTokenFuture<'_> {
        let _ = source;
        Box::pin(async { Err(attach::not_supported().into()) })
    }

    /// Another token than this one, which the upstream has answered with 401; none if trying again is of no use.
    ///
    /// # Errors
    /// When another one could not be obtained now.
    fn renewed<'a>(&'a self, token: &'a AccessToken) -> RenewalFuture<'a> {
        let _ = token;
        Box::pin(async { Ok(None) })
    }
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
