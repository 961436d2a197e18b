//! Signs by HMAC as an admin's [`Signature`] says.

use cofferdam_domain::connection::header::HeaderName as SignatureHeader;
use cofferdam_domain::connection::signature::{HmacAlgorithm, Message, Signature};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Needles, Outbound, header_name, put, unusable};
use crate::refusal::Refusal;

/// The headers that a signature writes.
pub(crate) fn headers(signature: &Signature) -> Vec<&str> {
    let others = [&signature.timestamp_header, &signature.id_header];
    let names = [Some(&signature.header)].into_iter().chain(others.map(Option::as_ref));
    names.flatten().map(SignatureHeader::as_str).collect()
}

/// Signs what leaves: the URL as it was rebuilt, and the exact body.
pub(super) fn attach(
    signature: &Signature,
    secret: &[u8],
    outbound: &mut Outbound<'_>,
    needles: &mut Needles,
) -> Result<(), Refusal> {
    let key = signature
        .secret_encoding
        .key(secret)
        .map(Zeroizing::new)
        .ok_or_else(|| {
            unusable(
                "the credential is not written as the upstream's `signature.secret_encoding` says, or encodes nothing",
            )
        })?;
    let timestamp = signature.timestamp_unit.render(outbound.now);
    let message = Message {
        timestamp: &timestamp,
        id: outbound.message_id,
        method: outbound.method.as_str(),
        url: outbound.url.as_str(),
        path: outbound.url.path(),
        query: outbound.url.query().unwrap_or_default(),
        body: outbound.body,
    };
    let parts = signature.template.render(message);
    let mac = match signature.algorithm {
        HmacAlgorithm::Sha1 => mac::<Hmac<Sha1>>(&key, parts),
        HmacAlgorithm::Sha256 => mac::<Hmac<Sha256>>(&key, parts),
        HmacAlgorithm::Sha512 => mac::<Hmac<Sha512>>(&key, parts),
    };
    let written = signature.encoding.encode(&mac);
    needles.push(Zeroizing::new(secret.trim_ascii().to_vec()));
    needles.push(key);
    if let Some(header) = &signature.timestamp_header {
        put(
            outbound.headers,
            header_name(header.as_str())?,
            b"",
            timestamp.as_bytes(),
        )?;
    }
    if let Some(header) = &signature.id_header {
        put(
            outbound.headers,
            header_name(header.as_str())?,
            b"",
            outbound.message_id.as_bytes(),
        )?;
    }
    put(
        outbound.headers,
        header_name(signature.header.as_str())?,
        signature.prefix.as_bytes(),
        written.as_bytes(),
    )
}

fn mac<'a, M: Mac + KeyInit>(key: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
