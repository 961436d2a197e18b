//! The credentials of a connection as its page shows them: which there are, what expires, which old values are still accepted,
//! and what happened to them. Never a value.

use std::collections::BTreeSet;

use cofferdam_domain::connection::ConnectionSpec;
use cofferdam_domain::{CredentialName, Timestamp};
use cofferdam_vault::{CredentialInfo, Fact, FactKind, Renewal};
use std::time::Duration;

use super::badge::{Badge, Tone};
use super::units::Moment;

/// Facts that the page shows.
pub(super) const FACTS_SHOWN: usize = 12;

/// From so long before it on, an expiry asks for somebody.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// A credential that the connection names or that is set for it.
pub(super) struct CredentialLine {
    pub(super) name: String,
    pub(super) set: Option<SetLine>,
}

pub(super) struct SetLine {
    pub(super) version: u64,
    pub(super) changed: Moment,
    pub(super) expiry: Option<(Badge, Moment)>,
    pub(super) previous_until: Option<Moment>,
}

/// Something that happened.
pub(super) struct FactRow {
    pub(super) at: Moment,
    pub(super) credential: String,
    pub(super) version: Option<u64>,
    pub(super) badge: Badge,
    pub(super) by: Option<String>,
    pub(super) detail: Option<String>,
}

/// Every credential, named or set, in the order of their names.
pub(super) fn lines(spec: &ConnectionSpec, set: &[CredentialInfo], now: Timestamp) -> Vec<CredentialLine> {
    let outbound = spec.upstreams.values().filter_map(|grant| grant.credential.as_ref());
    let inbound = spec.inbound.iter().map(|inbound| &inbound.credential);
    let known = set.iter().map(|info| &info.name);
    let names: BTreeSet<&CredentialName> = outbound.chain(inbound).chain(known).collect();
    let line = |name: &CredentialName| CredentialLine {
        name: name.to_string(),
        set: set
            .iter()
            .find(|info| info.name == *name)
            .map(|info| SetLine::new(info, now)),
    };
    names.into_iter().map(line).collect()
}

impl SetLine {
    fn new(info: &CredentialInfo, now: Timestamp) -> Self {
        Self {
            version: info.version,
            changed: Moment::new(info.updated_at, now),
            expiry: info
                .expires_at
                .map(|at| (expiry(info.renewal, at, now), Moment::new(at, now))),
            previous_until: info.previous_until(now).map(|until| Moment::new(until, now)),
        }
    }
}

fn expiry(renewal: Renewal, at: Timestamp, now: Timestamp) -> Badge {
    let (tone, word) = match renewal {
        _ if at <= now => (Tone::Bad, "expired"),
        Renewal::ByHost => (Tone::Good, "renewed by the server"),
        Renewal::ByPerson if at.since(now) <= EXPIRES_SOON => (Tone::Warning, "expires soon"),
        Renewal::ByPerson => (Tone::Good, "expires"),
    };
    Badge { tone, word }
}

impl FactRow {
    pub(super) fn new(fact: &Fact, now: Timestamp) -> Self {
        let tone = match fact.kind {
            FactKind::Set | FactKind::Rotated | FactKind::Refreshed => Tone::Good,
            FactKind::OverlapEnded | FactKind::Removed => Tone::Quiet,
            FactKind::Expiring | FactKind::RefreshFailed | FactKind::Reflected => Tone::Warning,
            FactKind::Expired | FactKind::ConsentNeeded => Tone::Bad,
        };
        Self {
            at: Moment::new(fact.at, now),
            credential: fact.credential.to_string(),
            version: fact.version,
            badge: Badge {
                tone,
                word: fact.kind.as_str(),
            },
            by: fact.by.clone(),
            detail: fact.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_asks_for_somebody_a_week_ahead_and_not_before() {
        let day = 24 * 3_600_000;
        let now = Timestamp::from_millis(100 * day);
        for (renewal, at, word) in [
            (Renewal::ByPerson, 100 * day, "expired"),
            (Renewal::ByPerson, 100 * day + 1, "expires soon"),
            (Renewal::ByPerson, 107 * day, "expires soon"),
            (Renewal::ByPerson, 107 * day + 1, "expires"),
            (Renewal::ByHost, 100 * day + 1, "renewed by the server"),
            (Renewal::ByHost, 100 * day, "expired"),
        ] {
            assert_eq!(expiry(renewal, Timestamp::from_millis(at), now).word, word, "{at}");
        }
    }
}
