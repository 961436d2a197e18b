//! GitHub: `X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>`.
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>

use axum::http::HeaderMap;
use subtle::ConstantTimeEq;

pub(super) fn verify(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let given = headers
        .get("x-hub-signature-256")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("sha256="))
        .and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok());
    let expected = super::hmac_sha256(secret, &[body]);
    given
        .zip(expected)
        .is_some_and(|(given, expected)| expected.ct_eq(&given).into())
}
