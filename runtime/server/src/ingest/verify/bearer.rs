//! A token: `Authorization: Bearer <token>` (RFC 6750 section 2.1), or the whole value of a header that the admin names, as
//! GitLab's `X-Gitlab-Token`. Nothing of the request is covered by it: whoever sees one can send any other, so it needs TLS
//! all the way.

use cofferdam_domain::InboundGrant;
use cofferdam_vault::Secret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Incoming, Unverified, header};

pub(super) fn verify(grant: &InboundGrant, secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    let given = match &grant.header {
        Some(name) => header::one(incoming.headers, name.as_str())?,
        None => credentials(header::one(incoming.headers, "authorization")?, "Bearer")?,
    };
    shows(secrets, given.as_bytes())
}

/// What stands behind the scheme's name, in which case does not matter (RFC 9110 section 11.1).
pub(super) fn credentials<'a>(authorization: &'a str, scheme: &str) -> Result<&'a str, Unverified> {
    authorization
        .split_once(' ')
        .filter(|(given, _)| given.eq_ignore_ascii_case(scheme))
        .map(|(_, credentials)| credentials.trim_start_matches(' '))
        .ok_or(Unverified::Malformed(
            "authorization is of another kind than the connection's scheme",
        ))
}

/// Whether this is one of the secrets. Hashes are compared, so that the time taken does not even tell a length.
pub(super) fn shows(secrets: &[Secret], given: &[u8]) -> Result<(), Unverified> {
    let given = Sha256::digest(given);
    let mut shown = Choice::from(0);
    for secret in secrets {
        shown |= Sha256::digest(secret.expose()).ct_eq(&given);
    }
    if shown.into() {
        Ok(())
    } else {
        Err(Unverified::Mismatch)
    }
}
