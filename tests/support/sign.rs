//! The senders' side of signature schemes, written apart from the code under test.

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any size");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The value of `X-Hub-Signature-256`.
pub fn github(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", HEXLOWER.encode(&hmac(secret.as_bytes(), body)))
}

/// The value of `webhook-signature`; the secret is `whsec_…`.
pub fn standard_webhooks(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let encoded = secret
        .strip_prefix("whsec_")
        .expect("a Standard Webhooks secret starts with whsec_");
    let key = BASE64
        .decode(encoded.as_bytes())
        .expect("a Standard Webhooks secret is base64");
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", BASE64.encode(&hmac(&key, &message)))
}
