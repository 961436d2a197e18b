//! Which version of its connector runs for a connection: decided from records alone, anew with every attempt.
//!
//! The current version runs if the connection was granted it, or if it asks for no more than was granted and updates need not be
//! asked for. Otherwise the latest before it runs that may: so a version that waits for a person stops nothing. One that is in
//! quarantine gives way to the last good one. What none may run waits, uncharged.
//!
//! Whoever can write to the plugins folder can replace a connector by other code, which then can do for its connections what was
//! granted to them, and no more; with `updates = "ask"` it can do nothing before a person has looked. Where the granted version
//! was signed by a trusted key, only the same key's updates run by themselves.

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::{Connection, Digest};
use cofferdam_host::Exports;
use serde::{Deserialize, Serialize};

use super::record::{ShelfRecord, VersionRecord};
use super::standing::Standing;
use crate::config::Updates;

/// Why a version does not run for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It asks for more than was granted.
    AsksForMore,
    /// Nobody has granted it.
    NotGranted,
    /// It is not signed by the key that had signed what was granted.
    OtherSigner,
    /// Somebody has refused it.
    Refused,
    /// It kept faulting for this connection.
    Quarantined,
    /// It lacks what the connection uses of it.
    Lacks,
    /// It cannot be run at all.
    Unusable,
}

/// A version that does not run for a connection, and what a person would grant with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which.
    pub digest: Digest,
    /// As its descriptor says.
    pub version: String,
    /// Why.
    pub why: Why,
    /// What it asks for beyond what was granted.
    pub difference: Vec<String>,
}

/// What is decided for a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What runs.
    pub(crate) runs: Option<Digest>,
    /// The current version, if it is not what runs.
    pub(crate) waiting: Option<Waiting>,
}

impl Why {
    /// In words, for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::AsksForMore => "asks for more than was granted",
            Self::NotGranted => "was not granted yet",
            Self::OtherSigner => "is not signed by the key that signed what was granted",
            Self::Refused => "was refused",
            Self::Quarantined => "is in quarantine because it kept faulting",
            Self::Lacks => "lacks what the connection uses",
            Self::Unusable => "cannot be run",
        }
    }
}

/// Decides.
pub(crate) fn choose(shelf: &ShelfRecord, connection: &Connection, standing: &Standing, updates: Updates) -> Choice {
    let Some((current, before)) = shelf.current_and_before().split_first() else {
        return Choice::default();
    };
    let judged = |version: &VersionRecord| may(shelf, version, connection, standing, updates);
    let why = match judged(current) {
        Ok(()) => {
            return Choice {
                runs: Some(current.digest),
                waiting: None,
            };
        }
        Err(why) => why,
    };
    let last_good = (why == Why::Quarantined).then(|| {
        let mut good = standing.good.iter().filter_map(|digest| shelf.version(*digest));
        good.find(|version| judged(version).is_ok())
    });
    let earlier = || before.iter().find(|version| judged(version).is_ok());
    Choice {
        runs: last_good.flatten().or_else(earlier).map(|version| version.digest),
        waiting: Some(Waiting {
            digest: current.digest,
            version: current.version.clone(),
            why,
            difference: difference(shelf, current, connection),
        }),
    }
}

/// The version that a connection falls back on if this one is put in quarantine: one that has delivered for it, is kept, and
/// may run.
pub(super) fn fallback(
    shelf: &ShelfRecord,
    connection: &Connection,
    standing: &Standing,
    updates: Updates,
    from: Digest,
) -> Option<Digest> {
    let others = standing.good.iter().copied().filter(|good| *good != from);
    others
        .filter_map(|good| shelf.version(good))
        .find(|version| may(shelf, version, connection, standing, updates).is_ok())
        .map(|version| version.digest)
}

/// What this version asks for beyond what the connection was granted.
pub(crate) fn difference(shelf: &ShelfRecord, version: &VersionRecord, connection: &Connection) -> Vec<String> {
    let granted = connection.granted.and_then(|granted| shelf.version(granted));
    let asks = connection.grant.asks.as_ref().or(granted.map(|granted| &granted.asks));
    version
        .asks
        .beyond(asks.unwrap_or(&cofferdam_domain::grant::Asks::default()))
}

/// Whether a version may run for the connection.
pub(super) fn may(
    shelf: &ShelfRecord,
    version: &VersionRecord,
    connection: &Connection,
    standing: &Standing,
    updates: Updates,
) -> Result<(), Why> {
    let (digest, grant) = (version.digest, &connection.grant);
    if version.unusable.is_some() {
        return Err(Why::Unusable);
    }
    if grant.refused.contains(&digest) {
        return Err(Why::Refused);
    }
    if standing.is_quarantined(digest) {
        return Err(Why::Quarantined);
    }
    if lacks(&connection.spec, version.exports) {
        return Err(Why::Lacks);
    }
    if connection.granted == Some(digest) || grant.earlier.contains(&digest) {
        return Ok(());
    }
    let baseline = connection.granted.and_then(|granted| shelf.version(granted));
    let Some(asks) = grant.asks.as_ref().or(baseline.map(|granted| &granted.asks)) else {
        return Err(Why::NotGranted);
    };
    if grant.signer.is_some() && grant.signer != version.signer {
        return Err(Why::OtherSigner);
    }
    if !version.asks.beyond(asks).is_empty() {
        return Err(Why::AsksForMore);
    }
    match updates {
        Updates::NoMore => Ok(()),
        Updates::Ask => Err(Why::NotGranted),
    }
}

fn lacks(spec: &ConnectionSpec, exports: Exports) -> bool {
    (!spec.subscribe.is_empty() && !exports.sink)
        || (spec.inbound.is_some() && !exports.source)
        || (spec.poll.is_some() && !exports.poller)
}

#[cfg(test)]
mod tests;
