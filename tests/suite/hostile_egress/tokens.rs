//! The engine that obtains access tokens, over a vault of the case's own.

use std::sync::Arc;

use cofferdam_domain::{ConnectionName, CredentialName, WorkspaceName};
use cofferdam_egress::{Credentials, OAuth2, OAuth2Config, Resolver};
use cofferdam_store::Store;
use cofferdam_vault::{KeySource, Secret, Vault, VaultKey};
use data_encoding::BASE64;

use super::bed::now;
use super::credential::Credential;

/// The name under which the client's secret lies.
const CLIENT_SECRET: &str = "app";

/// Reads from a vault in memory that holds the client's secret of this credential.
pub(crate) async fn source(
    credential: &Credential,
    workspace: &WorkspaceName,
    connection: &ConnectionName,
    resolver: Arc<dyn Resolver>,
) -> anyhow::Result<Arc<dyn Credentials>> {
    let key = VaultKey::load(KeySource::Env(BASE64.encode(&rand::random::<[u8; 32]>())))?;
    // Opening cannot move between threads.
    let here = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || here.block_on(Vault::open(Store::in_memory(), key)));
    let vault = opened.await??;
    let name: CredentialName = CLIENT_SECRET.parse()?;
    let secret = Secret::new(credential.client_secret.clone())?;
    vault.set(workspace, connection, &name, secret, now()).await?;
    let engine = OAuth2::new(OAuth2Config {
        vault: Arc::new(vault),
        resolver,
        clock: now,
        own_listeners: Vec::new(),
    })?;
    Ok(Arc::new(engine))
}
