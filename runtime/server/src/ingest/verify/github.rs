//! GitHub: `X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>`. Neither a time nor the delivery's id is signed.
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>

use cofferdam_domain::connection::signature::HmacAlgorithm;

use super::claim::Claim;
use super::{Incoming, Unverified, header};

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Unverified> {
    let given = header::one(incoming.headers, "x-hub-signature-256")?
        .strip_prefix("sha256=")
        .and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok())
        .ok_or(Unverified::Malformed("x-hub-signature-256 is not `sha256=` and hex"))?;
    Ok(Claim {
        algorithm: HmacAlgorithm::Sha256,
        signed: vec![incoming.body.into()],
        given: vec![given],
        sent: None,
    })
}
