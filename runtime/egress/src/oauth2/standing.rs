//! How a token set stands: whether its access token is used, renewed ahead of time, or must be obtained first. No I/O.
//!
//! An access token is used until [`SKEW_MAX`] before its end, since our clock and the server's differ and a request takes
//! time. It is renewed when about a fifth of its life is left, at most [`AHEAD_MAX`] and spread by up to half as much
//! again, so that many connections that began together do not all ask together.

use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::connection::{OAuth2Grant, OAuth2GrantKind};

use super::refused::TokenRefusal;
use super::token_set::TokenSet;

/// The longest before its end that a token is no longer used; a token of a short life is used for three quarters of it.
pub(crate) const SKEW_MAX: Duration = Duration::from_secs(30);

/// The longest before its end that a token is renewed, before the spread.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(300);

/// A token whose server does not say how long it lives (`expires_in` is only recommended, RFC 6749 section 5.1) is renewed
/// as if it lived so long, where that takes no person. Until then it is used, and a 401 is what ends it.
pub(crate) const LIFETIME_DEFAULT: Duration = Duration::from_secs(3600);

/// What follows from a token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The access token is used.
    Good,
    /// It is used, and another one is obtained meanwhile.
    Due,
    /// There is none that can be used: one must be obtained first.
    Lapsed,
    /// A person has to consent.
    ConsentNeeded(NoConsent),
    /// The server has refused for good what would be asked now.
    Refused(TokenRefusal),
}

/// Why a person has to consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoConsent {
    /// Nobody has yet.
    Never,
    /// What was consented to is another client's, or another server's.
    Rebound,
    /// The server has ended it.
    Ended,
    /// The access token has expired and there is no refresh token.
    Expired,
}

/// What a token set is weighed against.
pub(crate) struct Circumstances<'a> {
    pub grant: &'a OAuth2Grant,
    /// The version of the client's secret; 0 without one.
    pub secret_version: u64,
    pub now: Timestamp,
    /// Spreads renewals: 0 to 1, the same at every look at one token.
    pub spread: f64,
}

/// How `set` stands.
pub(crate) fn standing(set: Option<&TokenSet>, seen: &Circumstances<'_>) -> Standing {
    let of_client = match seen.grant.grant {
        OAuth2GrantKind::ClientCredentials => true,
        OAuth2GrantKind::AuthorizationCode => false,
    };
    let none = |why| {
        if of_client {
            Standing::Lapsed
        } else {
            Standing::ConsentNeeded(why)
        }
    };
    let Some(set) = set else {
        return none(NoConsent::Never);
    };
    if set.bound_to != seen.grant.bound_to() {
        return none(NoConsent::Rebound);
    }
    if let Some(refused) = &set.refused
        && refused.why == TokenRefusal::InvalidGrant
        && !of_client
    {
        return Standing::ConsentNeeded(NoConsent::Ended);
    }
    let asked = seen.grant.asked();
    // A token of the client itself is for what was asked; one that a person consented to stays what it is.
    let usable = set.access_token.is_some()
        && set.expires_at.is_none_or(|end| seen.now < earlier(end, skew(set)))
        && (!of_client || set.asked == asked);
    let renewable = of_client || set.is_renewable();
    let refused = set
        .refused
        .filter(|refused| refused.asked == asked && refused.secret_version == seen.secret_version);
    match (usable, renewable, refused) {
        (true, true, None) if seen.now >= renewed_at(set, seen.spread) => Standing::Due,
        (true, _, _) => Standing::Good,
        (false, false, _) => Standing::ConsentNeeded(NoConsent::Expired),
        (false, true, Some(refused)) => Standing::Refused(refused.why),
        (false, true, None) => Standing::Lapsed,
    }
}

/// Until when the access token is used; none if its server did not say.
pub(crate) fn used_until(set: &TokenSet) -> Option<Timestamp> {
    set.expires_at.map(|end| earlier(end, skew(set)))
}

fn lifetime(set: &TokenSet) -> Duration {
    set.expires_at
        .map_or(LIFETIME_DEFAULT, |end| end.since(set.obtained_at))
}

fn skew(set: &TokenSet) -> Duration {
    SKEW_MAX.min(lifetime(set) / 4)
}

fn renewed_at(set: &TokenSet, spread: f64) -> Timestamp {
    let lifetime = lifetime(set);
    let ahead = (lifetime / 5)
        .min(AHEAD_MAX)
        .mul_f64(1.0 + spread.clamp(0.0, 1.0) / 2.0);
    // Never later than it is used, so that a renewal has time before it is waited for.
    let ahead = ahead.max(skew(set) + skew(set) / 2);
    earlier(set.obtained_at.after(lifetime), ahead)
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(by))
}

#[cfg(test)]
mod tests;
