//! `Authorization: Basic <base 64 of user:password>` (RFC 7617). Nothing of the request is covered by it: whoever sees one
//! can send any other, so it needs TLS all the way.

use cofferdam_vault::Secret;
use zeroize::Zeroizing;

use super::bearer::{credentials, shows};
use super::{Incoming, Unverified, header};

pub(super) fn verify(secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    let encoded = credentials(header::one(incoming.headers, "authorization")?, "Basic")?;
    let given = data_encoding::BASE64
        .decode(encoded.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| Unverified::Malformed("authorization is not `Basic` and base 64"))?;
    if !secrets.iter().any(|secret| secret.expose().contains(&b':')) {
        return Err(Unverified::UnusableSecret("it is not `user:password`"));
    }
    // One without a colon would let in a user name alone.
    if !given.contains(&b':') {
        return Err(Unverified::Malformed("what is behind `Basic` has no colon"));
    }
    shows(secrets, &given)
}
