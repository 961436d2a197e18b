//! Posts events to any JSON endpoint, as structured CloudEvents signed by Standard Webhooks: the host signs, and sends
//! `webhook-id` with the attempt's idempotency key, by which a receiver tells a repetition.

mod cloudevent;

use cofferdam_sdk::{
    Attempt, Connector, Descriptor, Event, Failure, Receipt, Request, Response, Sink, Upstream, connector, settings,
};
use serde::Deserialize;
use serde_json::json;

use cloudevent::CloudEvent;

struct Webhook;

/// A connection's settings.
#[derive(Deserialize)]
struct Settings {
    #[serde(default = "root")]
    path: String,
}

fn root() -> String {
    "/".to_owned()
}

/// Longest id of the receiver's that is taken over, in bytes: what the host takes as an external id.
const EXTERNAL_ID_BYTES_MAX: usize = 256;

impl Connector for Webhook {
    fn describe() -> Descriptor {
        Descriptor::new(
            "webhook",
            env!("CARGO_PKG_VERSION"),
            "Posts events to any JSON endpoint, as signed CloudEvents.",
        )
        .settings(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "path": {
                    "type": "string",
                    "title": "Path",
                    "description": "Where below the endpoint's base URL events are posted to.",
                    "pattern": "^/",
                    "maxLength": 1024,
                    "default": "/"
                }
            }
        }))
        .upstream(
            Upstream::new(
                "endpoint",
                "Receives every event of the connection; the base URL is yours to give.",
            )
            .standard_webhooks()
            .method("POST"),
        )
    }
}

impl Sink for Webhook {
    fn deliver(event: Event, _attempt: Attempt) -> Result<Receipt, Failure> {
        let settings: Settings = settings::get()?;
        let body = CloudEvent::new(&event).to_json()?;
        let response = Request::post("endpoint", &settings.path)
            .body("application/cloudevents+json; charset=utf-8", body)
            .send()?
            .success()?;
        Ok(receipt(&response))
    }
}

connector!(Webhook: Sink);

fn receipt(response: &Response) -> Receipt {
    let receipt = Receipt::new(format!("the endpoint answered {}", response.status));
    match external_id(response) {
        Some(id) => receipt.external_id(id),
        None => receipt,
    }
}

/// What the receiver calls it: `id` of a JSON object, or the header `x-request-id`.
fn external_id(response: &Response) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    #[derive(Deserialize)]
    struct Answer {
        id: Id,
    }
    let from_body = match serde_json::from_slice(&response.body) {
        Ok(Answer { id: Id::Text(text) }) => Some(text),
        Ok(Answer { id: Id::Number(number) }) => Some(number.to_string()),
        Err(_) => None,
    };
    from_body
        .or_else(|| response.header("x-request-id").map(str::to_owned))
        .filter(|id| (1..=EXTERNAL_ID_BYTES_MAX).contains(&id.len()))
}

#[cfg(test)]
mod tests;
