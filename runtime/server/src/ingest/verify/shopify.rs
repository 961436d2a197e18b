//! Shopify: `X-Shopify-Hmac-Sha256` is the base 64 HMAC-SHA256 of the body under the app's client secret. Neither a time nor
//! the delivery's id is signed. After a rotation it may take Shopify an hour to sign with the new secret.
//! <https://shopify.dev/docs/apps/build/webhooks/verify-deliveries>

use cofferdam_domain::connection::signature::HmacAlgorithm;

use super::claim::Claim;
use super::{Incoming, Unverified, header};

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Unverified> {
    let text = header::one(incoming.headers, "x-shopify-hmac-sha256")?;
    let given = data_encoding::BASE64
        .decode(text.as_bytes())
        .map_err(|_| Unverified::Malformed("x-shopify-hmac-sha256 is not base 64"))?;
    Ok(Claim {
        algorithm: HmacAlgorithm::Sha256,
        signed: vec![incoming.body.into()],
        given: vec![given],
        sent: None,
    })
}
