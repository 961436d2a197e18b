//! The provider's own id of a delivery: it is the dedupe key if the connector names none. Only of a request that was
//! verified, and even then Shopify, Twilio and GitHub do not sign it.

use std::borrow::Cow;

use cofferdam_domain::{InboundGrant, InboundScheme};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Incoming, header};

/// Longest id that is taken for a dedupe key, in bytes.
const ID_BYTES_MAX: usize = 200;

/// The id, for schemes that have one.
pub(in super::super) fn delivery_id(grant: &InboundGrant, incoming: &Incoming<'_>) -> Option<String> {
    let in_header = |name: &str| header::only(incoming.headers, name).map(str::to_owned);
    let id = match grant.scheme {
        InboundScheme::Github => in_header("x-github-delivery"),
        InboundScheme::StandardWebhooks => in_header("webhook-id"),
        // Stays the same when Slack retries. Commands and interactions have none.
        InboundScheme::Slack => in_body(incoming.body, |ids| ids.event_id),
        // Stays the same when Stripe retries.
        InboundScheme::Stripe => in_body(incoming.body, |ids| ids.id),
        // The first names one delivery to this hook; the second, what happened, for which there may be several.
        InboundScheme::Shopify => in_header("x-shopify-webhook-id").or_else(|| in_header("x-shopify-event-id")),
        InboundScheme::Twilio => in_header("i-twilio-idempotency-token"),
        InboundScheme::Hmac => {
            let header = grant
                .signature
                .as_ref()
                .and_then(|signature| signature.id_header.as_ref());
            header.and_then(|name| in_header(name.as_str()))
        }
        InboundScheme::Basic | InboundScheme::Bearer | InboundScheme::None => None,
    };
    id.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()))
}

/// A body that is no JSON object has none, and what is no text is none.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(default, borrow)]
    id: Option<Loose<'a>>,
    #[serde(default, borrow)]
    event_id: Option<Loose<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

fn in_body<'a>(body: &'a [u8], pick: impl FnOnce(Ids<'a>) -> Option<Loose<'a>>) -> Option<String> {
    match pick(object(body)?)? {
        Loose::Text(text) => Some(text.into_owned()),
        Loose::Other(_) => None,
    }
}

/// Reads a JSON object: a list would do for one as well, value by value.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    body.trim_ascii_start()
        .starts_with(b"{")
        .then(|| serde_json::from_slice(body).ok())
        .flatten()
}
