//! Sealed credentials and their lifecycle.
//!
//! A [`Vault`] keeps each value sealed under a key of its own, and that key sealed under the [`VaultKey`], which is never
//! stored. Values go in by [`Vault::put`] and come out as a [`Secret`], which cannot be printed, compared or serialised;
//! whatever lists credentials sees names, versions and times only. A value that is replaced may be accepted for a while
//! ([`Change::overlap`]), one that expires is told of ahead of time ([`Vault::tick`]), and what happened to a credential is
//! a [`Fact`].
//!
//! Event bodies are sealed under the same vault key, by keys of their own: [`BodyKeys`].
//!
//! It does not decide who may use a credential, and does not hide from someone who can read this process's memory. Somebody
//! who can write to the disk and has kept an older copy of a record can put that back in its place.

mod body_keys;
mod change;
mod envelope;
mod error;
mod expiry;
mod facts;
mod head;
mod key;
mod record;
mod rekey;
mod secret;
mod tick;
mod vault;

pub use body_keys::BodyKeys;
pub use change::{Cause, Change, Expect, OVERLAP_MAX};
pub use error::VaultError;
pub use expiry::Overlaps;
pub use facts::{
    BadFactId, FACT_AGE_MAX, FACT_REPEAT_MIN, FACT_TEXT_BYTES_MAX, FACTS_LISTED_MAX, FACTS_PER_CONNECTION_MAX, Fact,
    FactId, FactKind, FactQuery, News,
};
pub use head::{PREVIOUS_MAX, Previous, Renewal};
pub use key::{KeyError, KeySource, VaultKey};
pub use rekey::{KeyHint, RekeyStep, Rekeyed, rekey};
pub use secret::{BadSecretSize, SECRET_BYTES_MAX, Secret};
pub use tick::{TICK_CHANGES_MAX, TICK_EXPIRIES_MAX, Ticked};
pub use vault::{CredentialInfo, Edition, Revealed, Vault};
