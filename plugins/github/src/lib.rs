//! Turns GitHub webhooks into events: one request, one event, whose data is the payload as GitHub sent it.
//!
//! | attribute | where it is from |
//! |---|---|
//! | `type` | `com.github.` + `X-GitHub-Event`, + `.` + the payload's `action` where it has one |
//! | `source` | the repository's address; without one, the organization's or account's; else the server's |
//! | `subject` | see `mapping`: `issues/42`, `pulls/42`, `refs/heads/main`, `releases/v1.0` … |
//! | `time` | when the thing last changed, if the payload says so |
//! | dedupe key | `X-GitHub-Delivery`, which stays the same when a person redelivers |
//!
//! Events that GitHub adds later come through too, with type, source and data. The signature is the host's concern:
//! <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>.

mod mapping;
mod payload;

use std::borrow::Cow;

use cofferdam_sdk::{
    Accepted, Connector, Descriptor, EventDraft, InboundRequest, InboundScheme, Rejection, Source, connector,
};

use payload::Payload;

/// Longest `X-GitHub-Delivery`, in bytes: what the host takes as a dedupe key. GitHub sends a UUID.
const DELIVERY_BYTES_MAX: usize = 256;

struct GitHub;

impl Connector for GitHub {
    fn describe() -> Descriptor {
        Descriptor::new(
            "github",
            env!("CARGO_PKG_VERSION"),
            "Turns GitHub webhooks into events.",
        )
        .inbound(InboundScheme::Github)
        .produces("com.github.*")
    }
}

impl Source for GitHub {
    fn receive(request: InboundRequest) -> Result<Accepted, Rejection> {
        let event = event_name(&request)?;
        let delivery = delivery(&request)?;
        let json = json(&request)?;
        let payload = Payload::parse(&json)?;
        let host = request.header("x-github-enterprise-host").unwrap_or("github.com");
        let mut draft = EventDraft::new(
            &mapping::kind(event, payload.action()),
            &mapping::source(&payload, host),
            "application/json",
            json.to_vec(),
        )
        .dedupe_key(delivery);
        draft.subject = mapping::subject(event, &payload);
        draft.time = mapping::time_ms(event, &payload);
        Ok(Accepted::events(vec![draft]))
    }
}

connector!(GitHub: Source);

/// The event's name, such as `pull_request_review`.
fn event_name(request: &InboundRequest) -> Result<&str, Rejection> {
    let name = required(request, "x-github-event")?;
    let good = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if good {
        Ok(name)
    } else {
        Err(Rejection::new(
            "bad-header",
            "X-GitHub-Event is 1 to 64 lower-case letters, digits and `_`",
        ))
    }
}

fn delivery(request: &InboundRequest) -> Result<&str, Rejection> {
    let id = required(request, "x-github-delivery")?;
    if (1..=DELIVERY_BYTES_MAX).contains(&id.len()) {
        Ok(id)
    } else {
        Err(Rejection::new(
            "bad-header",
            format!("X-GitHub-Delivery is 1 to {DELIVERY_BYTES_MAX} bytes"),
        ))
    }
}

fn required<'a>(request: &'a InboundRequest, name: &str) -> Result<&'a str, Rejection> {
    request.header(name).ok_or_else(|| {
        Rejection::new(
            "missing-header",
            format!("the request has no {name} header: is it from GitHub?"),
        )
    })
}

/// The payload's bytes: the body, or the form field `payload` of it. Which one is a choice in the webhook's settings.
fn json(request: &InboundRequest) -> Result<Cow<'_, [u8]>, Rejection> {
    let content_type = request.header("content-type").unwrap_or("application/json");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(Cow::Borrowed(&request.body));
    }
    form_urlencoded::parse(&request.body)
        .find(|(name, _)| name == "payload")
        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()))
        .ok_or_else(|| Rejection::new("no-payload", "the form has no field `payload`"))
}

#[cfg(test)]
mod tests;
