//! Sealed credentials and their lifecycle.
//!
//! A [`Vault`] keeps each credential sealed under a key of its own, and that key sealed under the [`VaultKey`], which is
//! never stored. Values go in by [`Vault::set`] and come out as a [`Secret`], which cannot be printed, compared or
//! serialised; whatever lists credentials sees names and versions only.
//!
//! It does not decide who may use a credential, and does not hide from someone who can read this process's memory.

mod envelope;
mod error;
mod key;
mod secret;
mod vault;

pub use error::VaultError;
pub use key::{KeyError, KeySource, VaultKey};
pub use secret::{BadSecretSize, SECRET_BYTES_MAX, Secret};
pub use vault::{CredentialInfo, Vault};
