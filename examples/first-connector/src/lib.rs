//! The smallest useful connector: for every event, one line of text to a chat room.

use cofferdam_sdk::{
    Attempt, Connector, Descriptor, Event, Failure, Receipt, Request, Sink, Upstream, connector, settings,
};
use serde::Deserialize;
use serde_json::json;

/// A connector is a type. It holds nothing: a call runs in a fresh instance, unless the admin lets one serve several calls of the
/// same connection. Rely on neither.
struct FirstConnector;

/// What an admin can set for a connection. Never a secret: those are given to the host, for an upstream.
#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    greeting: String,
}

/// First, say what you are. An admin reads this before granting anything.
impl Connector for FirstConnector {
    fn describe() -> Descriptor {
        Descriptor::new(
            "first-connector",
            env!("CARGO_PKG_VERSION"),
            "Posts one line of text for every event.",
        )
        // The shape of `Settings`, as JSON Schema: the panel makes a form of it.
        .settings(json!({
            "type": "object",
            "properties": { "greeting": { "type": "string", "title": "Put before every line" } }
        }))
        // The outside service, under a name of your choice. There is no base URL here, so that each connection brings its
        // own; `bearer()` says where the host puts the credential.
        .upstream(
            Upstream::new("chat", "Posts the lines.")
                .bearer()
                .method("POST")
                .path_prefix("/messages"),
        )
    }
}

/// Then, do one thing.
impl Sink for FirstConnector {
    fn deliver(event: Event, attempt: Attempt) -> Result<Receipt, Failure> {
        let settings: Settings = settings::get()?;
        let line = line(&settings.greeting, &event);
        let response = Request::post("chat", "/messages")
            // The same in every attempt, so that the other side can tell a repetition.
            .json(&json!({ "text": line, "key": attempt.idempotency_key }))?
            // No answer at all is one kind of failure …
            .send()?
            // … and an answer that says no is another. Either way the host decides what happens next.
            .success()?;
        Ok(Receipt::new(format!("posted, {} bytes came back", response.body.len())))
    }
}

// Last, hand it over. That is all.
connector!(FirstConnector: Sink);

/// What a connector makes of an event is best kept apart from sending it: so it can be tested like any function.
fn line(greeting: &str, event: &Event) -> String {
    let subject = event.subject.as_deref().unwrap_or("something");
    format!("{greeting}{subject}: {}", event.type_)
}

#[cfg(test)]
mod tests {
    use cofferdam_sdk::Response;
    use cofferdam_sdk::testing::Host;

    use super::*;

    #[test]
    fn every_event_becomes_one_line() {
        let event = Event {
            id: "1".to_owned(),
            correlation_id: "1".to_owned(),
            type_: "com.example.order.paid".to_owned(),
            source: "/shop".to_owned(),
            subject: Some("order 7".to_owned()),
            time: None,
            received_at: 0,
            data_content_type: "application/json".to_owned(),
            data_schema: None,
            extensions: Vec::new(),
            data: b"{}".to_vec(),
        };
        let attempt = Attempt {
            number: 1,
            idempotency_key: "k".to_owned(),
            deadline: 0,
        };
        let (receipt, seen) = Host::new()
            .settings(json!({ "greeting": "News! " }))
            .answer(|_| {
                Ok(Response {
                    status: 201,
                    headers: Vec::new(),
                    body: Vec::new(),
                })
            })
            .run(|| FirstConnector::deliver(event, attempt));
        assert!(receipt.is_ok());
        let sent: serde_json::Value = serde_json::from_slice(&seen.requests[0].body).unwrap();
        assert_eq!(sent["text"], "News! order 7: com.example.order.paid");
    }
}
