//! Stripe: `Stripe-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of "t.body">,v1=…`, one `v1` per active secret while one is
//! rolled; other schemes in the header (`v0`) are ignored. The key is the whole secret, `whsec_` included. Stripe's
//! libraries allow a time 300 seconds in the past; here one from the future counts as well.
//! <https://docs.stripe.com/webhooks/signature>

use std::time::Duration;

use cofferdam_domain::connection::signature::{HmacAlgorithm, TimestampUnit};

use super::claim::{Claim, Sent};
use super::header::{self, SIGNATURES_MAX};
use super::{Incoming, Unverified};

/// How far a timestamp may lie in the past or the future.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Unverified> {
    let text = header::one(incoming.headers, "stripe-signature")?;
    let mut timestamp = None;
    let mut given = Vec::new();
    for item in text.split(',') {
        match item.split_once('=') {
            Some(("t", _)) if timestamp.is_some() => {
                return Err(Unverified::Malformed("stripe-signature has more than one `t=`"));
            }
            Some(("t", time)) => timestamp = Some(time),
            Some(("v1", hex)) if given.len() < SIGNATURES_MAX => {
                given.extend(data_encoding::HEXLOWER.decode(hex.as_bytes()));
            }
            Some(_) | None => {}
        }
    }
    let timestamp = timestamp.ok_or(Unverified::Malformed("stripe-signature has no `t=`"))?;
    let at = TimestampUnit::Seconds.parse(timestamp).ok_or(Unverified::Malformed(
        "the `t=` of stripe-signature is not seconds since 1970",
    ))?;
    if given.is_empty() {
        return Err(Unverified::Malformed("stripe-signature has no `v1=` with hex"));
    }
    Ok(Claim {
        algorithm: HmacAlgorithm::Sha256,
        signed: vec![timestamp.as_bytes().into(), b".".into(), incoming.body.into()],
        given,
        sent: Some(Sent {
            at,
            tolerance: TOLERANCE,
        }),
    })
}
