//! Which version of its connector runs for a connection: decided from records alone, anew with every attempt.
//!
//! The current version runs if the connection was granted it, or if it asks for no more than was granted and updates need not be
//! asked for. Otherwise the latest before it runs that may: so a version that waits for a person stops nothing. One that is in
//! quarantine gives way to the last good one, also while another one waits on top of it. Nothing newer than the current version
//! runs in its stead: whoever rolled back meant it. What none may run waits, uncharged.
//!
//! Whoever can write to the plugins folder can replace a connector by other code, which then can do for its connections what was
//! granted to them, and no more; with `updates = "ask"` it can do nothing before a person has looked. Where the granted version
//! was signed by a trusted key, only the same key's updates run by themselves.
//!
//! It is asked for every attempt, so no sentence is made here: what a version asks for more is said where people look.

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::grant::Asks;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What runs.
    pub(crate) runs: Option<Digest>,
    /// The current version, if it is not what runs, and why it is not.
    pub(crate) waiting: Option<(Digest, Why)>,
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

    /// What a person can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::AsksForMore | Self::NotGranted | Self::OtherSigner | Self::Refused | Self::Quarantined => {
                "see what it asks for with `cofferdam connection show`, and let it with `cofferdam connection grant`; applying the \
                 connection's file does not"
            }
            Self::Lacks => "change the connection's file, or put a version that has it into the plugins folder",
            Self::Unusable => "put its file into the plugins folder again, or another version",
        }
    }
}

/// Decides.
pub(crate) fn choose(shelf: &ShelfRecord, connection: &Connection, standing: &Standing, updates: Updates) -> Choice {
    let versions = shelf.current_and_before();
    let mut waiting = None;
    for version in versions {
        let runs = match may(shelf, version, connection, standing, updates) {
            Ok(()) => Some(version.digest),
            Err(why) => {
                waiting.get_or_insert((version.digest, why));
                match why {
                    // The last good one, and not one between that nobody has seen work.
                    Why::Quarantined => fallback(shelf, connection, standing, updates, version.digest),
                    Why::AsksForMore
                    | Why::NotGranted
                    | Why::OtherSigner
                    | Why::Refused
                    | Why::Lacks
                    | Why::Unusable => None,
                }
            }
        };
        if runs.is_some() {
            return Choice { runs, waiting };
        }
    }
    Choice { runs: None, waiting }
}

/// The version that a connection falls back on if this one is put in quarantine: one that has delivered for it, is kept, is not
/// newer than the current one, and may run.
pub(super) fn fallback(
    shelf: &ShelfRecord,
    connection: &Connection,
    standing: &Standing,
    updates: Updates,
    from: Digest,
) -> Option<Digest> {
    let versions = shelf.current_and_before();
    let others = standing.good.iter().copied().filter(|good| *good != from);
    others
        .filter_map(|good| versions.iter().find(|version| version.digest == good))
        .find(|version| may(shelf, version, connection, standing, updates).is_ok())
        .map(|version| version.digest)
}

/// What a connection has to have at hand: what runs for it, what that falls back on, and what was granted last.
pub(super) fn at_hand(
    shelf: &ShelfRecord,
    connection: &Connection,
    standing: &Standing,
    updates: Updates,
) -> impl Iterator<Item = Digest> {
    let runs = choose(shelf, connection, standing, updates).runs;
    let back = runs.and_then(|runs| fallback(shelf, connection, standing, updates, runs));
    [runs, back, connection.granted].into_iter().flatten()
}

/// What this version asks for beyond what the connection was granted.
pub(crate) fn difference(shelf: &ShelfRecord, version: &VersionRecord, connection: &Connection) -> Vec<String> {
    match granted_asks(shelf, connection) {
        Some(granted) => version.asks.beyond(granted),
        None => version.asks.beyond(&Asks::default()),
    }
}

/// What was granted: of a connection that was applied before that was kept, what the granted version asks for.
fn granted_asks<'a>(shelf: &'a ShelfRecord, connection: &'a Connection) -> Option<&'a Asks> {
    let of_version = || Some(&shelf.version(connection.granted?)?.asks);
    connection.grant.asks.as_ref().or_else(of_version)
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
    let Some(asks) = granted_asks(shelf, connection) else {
        return Err(Why::NotGranted);
    };
    if grant.signer.is_some() && grant.signer != version.signer {
        return Err(Why::OtherSigner);
    }
    if version.asks.asks_beyond(asks) {
        return Err(Why::AsksForMore);
    }
    match updates {
        // It may be one of those that were refused or put in quarantine, and are not remembered.
        Updates::NoMore if grant.only_granted || standing.only_granted => Err(Why::NotGranted),
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
