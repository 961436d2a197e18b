//! What a request claims: that somebody who holds the key has signed these bytes, at this time.

use std::borrow::Cow;
use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::connection::signature::{HmacAlgorithm, within};
use cofferdam_vault::Secret;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{Unverified, mac};

/// A key, wiped when it is dropped.
pub(super) type Key = Zeroizing<Vec<u8>>;

/// Read from a request; nothing of it is true yet.
pub(super) struct Claim<'a> {
    pub(super) algorithm: HmacAlgorithm,
    /// What was signed, in order, with nothing in between.
    pub(super) signed: Vec<Cow<'a, [u8]>>,
    /// The signatures that were given. Any of them may be the right one.
    pub(super) given: Vec<Vec<u8>>,
    /// When it was signed, for schemes that sign that.
    pub(super) sent: Option<Sent>,
}

/// A signed time, and how far it may lie from the present.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) tolerance: Duration,
}

impl Sent {
    /// Neither too old nor from the future.
    pub(super) fn check(self, now: Timestamp) -> Result<(), Unverified> {
        if within(self.tolerance, self.at, now) {
            Ok(())
        } else {
            Err(Unverified::Stale)
        }
    }
}

impl Claim<'_> {
    /// Whether one of the keys made one of the signatures, and in time.
    pub(super) fn check(&self, keys: &[Key], now: Timestamp) -> Result<(), Unverified> {
        if !self.holds(keys) {
            return Err(Unverified::Mismatch);
        }
        self.sent.map_or(Ok(()), |sent| sent.check(now))
    }

    /// Whether one of the keys made one of the signatures.
    pub(super) fn holds(&self, keys: &[Key]) -> bool {
        let mut holds = Choice::from(0);
        for key in keys {
            // Once, however many signatures are given: a sender without the key must not choose how much is hashed. Every
            // key is tried, also after a match: the time taken says nothing about which one it was.
            let expected = mac::of(self.algorithm, key, &self.signed);
            for given in &self.given {
                holds |= expected.ct_eq(given);
            }
        }
        holds.into()
    }
}

/// The secrets' bytes as they are.
pub(super) fn raw(secrets: &[Secret]) -> Vec<Key> {
    secrets
        .iter()
        .map(|secret| Zeroizing::new(secret.expose().to_vec()))
        .collect()
}
