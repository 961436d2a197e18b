//! HMAC (RFC 2104) over the hashes that providers use.

use cofferdam_domain::connection::signature::HmacAlgorithm;
use hmac::{EagerHash, Hmac, KeyInit, Mac};

/// The HMAC of the parts, one after the other. Compare it in constant time.
pub(super) fn of(algorithm: HmacAlgorithm, key: &[u8], parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    match algorithm {
        HmacAlgorithm::Sha1 => with::<sha1::Sha1>(key, parts),
        HmacAlgorithm::Sha256 => with::<sha2::Sha256>(key, parts),
        HmacAlgorithm::Sha512 => with::<sha2::Sha512>(key, parts),
    }
}

fn with<H>(key: &[u8], parts: &[impl AsRef<[u8]>]) -> Vec<u8>
where
    H: EagerHash,
    Hmac<H>: Mac + KeyInit,
{
    let mut mac = <Hmac<H> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part.as_ref());
    }
    mac.finalize().into_bytes().to_vec()
}
