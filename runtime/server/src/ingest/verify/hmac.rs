//! An HMAC that the admin describes: algorithm, encoding, header, prefix, what is signed, and where time and id are.
//! See [`cofferdam_domain::connection::signature`].

use std::borrow::Cow;

use cofferdam_domain::InboundGrant;
use cofferdam_domain::connection::header::HeaderName;
use cofferdam_domain::connection::signature::{Message, Placeholder};
use cofferdam_vault::Secret;
use zeroize::Zeroizing;

use super::claim::{Claim, Key, Sent};
use super::{Incoming, Unverified, address, header};

pub(super) fn verify(grant: &InboundGrant, secrets: &[Secret], incoming: &Incoming<'_>) -> Result<(), Unverified> {
    let signature = grant
        .signature
        .as_ref()
        .ok_or(Unverified::Malformed("the connection has no [inbound.signature]"))?;
    let given = header::one(incoming.headers, signature.header.as_str())?
        .strip_prefix(&*signature.prefix)
        .ok_or(Unverified::Malformed(
            "the signature does not start with the prefix of the connection",
        ))?;
    let given = signature
        .encoding
        .decode(given.as_bytes())
        .ok_or(Unverified::Malformed(
            "the signature is not in the encoding of the connection",
        ))?;
    let template = &signature.template;
    let named = |placeholder, name: Option<&HeaderName>| match name {
        Some(name) if template.has(placeholder) => header::one(incoming.headers, name.as_str()),
        Some(_) | None => Ok(""),
    };
    let timestamp = named(Placeholder::Timestamp, signature.timestamp_header.as_ref())?;
    let id = named(Placeholder::Id, signature.id_header.as_ref())?;
    // What separates the parts must not be in one of them: the same bytes would then be signed with another time in them.
    if template.has(Placeholder::Id) && template.has(Placeholder::Timestamp) && template.has_literal_in(id) {
        return Err(Unverified::Malformed(
            "the signed id holds what separates the signed parts",
        ));
    }
    let sent = if template.has(Placeholder::Timestamp) {
        let at = signature.timestamp_unit.parse(timestamp).ok_or(Unverified::Malformed(
            "the timestamp is not in the unit of the connection",
        ))?;
        Some(Sent {
            at,
            tolerance: grant.tolerance(),
        })
    } else {
        None
    };
    let url = match &grant.external_url {
        Some(external) if template.has(Placeholder::Url) => address::url(external, incoming),
        Some(_) | None => String::new(),
    };
    let path = address::path(grant.external_url.as_ref(), incoming);
    let message = Message {
        timestamp,
        id,
        method: "POST",
        url: &url,
        path: &path,
        query: incoming.query,
        body: incoming.body,
    };
    let claim = Claim {
        algorithm: signature.algorithm,
        signed: template.render(message).map(Cow::Borrowed).collect(),
        given: vec![given],
        sent,
    };
    let keys: Vec<Key> = secrets
        .iter()
        .filter_map(|secret| signature.secret_encoding.key(secret.expose()).map(Zeroizing::new))
        .collect();
    if keys.is_empty() {
        return Err(Unverified::UnusableSecret(
            "it is not in the secret_encoding of the connection",
        ));
    }
    claim.check(&keys, incoming.now)
}
