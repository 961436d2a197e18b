use cofferdam_sdk::testing::Host;
use cofferdam_sdk::{Attempt, Event, FailureKind, Response, Sink};
use serde_json::{Value, json};

use super::{CloudEvent, Webhook, external_id};

fn event(content_type: &str, data: &[u8]) -> Event {
    Event {
        id: "e1".to_owned(),
        correlation_id: "c1".to_owned(),
        type_: "com.example.order".to_owned(),
        source: "/shop".to_owned(),
        subject: Some("7".to_owned()),
        time: Some(1_557_933_618_250),
        received_at: 0,
        data_content_type: content_type.to_owned(),
        data_schema: None,
        extensions: vec![
            ("tier".to_owned(), "gold".to_owned()),
            ("id".to_owned(), "forged".to_owned()),
        ],
        data: data.to_vec(),
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    Response {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn json_data_is_sent_as_it_is_and_anything_else_as_base64() {
    let check = |content_type: &str, data: &[u8], expected: &str| {
        let body = String::from_utf8(CloudEvent::new(&event(content_type, data)).to_json().unwrap()).unwrap();
        assert!(body.ends_with(expected), "{content_type}: {body}");
        let parsed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed["datacontenttype"], content_type);
    };
    check(
        "application/json",
        br#"{ "n": 1.000000000000000000001 }"#,
        r#""data":{ "n": 1.000000000000000000001 }}"#,
    );
    check("application/vnd.x+json; v=1", b"[1]", r#""data":[1]}"#);
    check("text/plain", b"hi", r#""data_base64":"aGk="}"#);
    check("application/json", b"no json", r#""data_base64":"bm8ganNvbg=="}"#);
    check("text/plain", b"", r#""tier":"gold"}"#);
}

#[test]
fn every_attribute_is_there_once() {
    let body = CloudEvent::new(&event("application/json", b"1")).to_json().unwrap();
    let parsed: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": "e1", "source": "/shop", "type": "com.example.order", "subject": "7",
        "time": "2019-05-15T15:20:18.250Z", "datacontenttype": "application/json", "correlationid": "c1",
        "tier": "gold", "data": 1
    });
    assert_eq!(parsed, expected);
    assert_eq!(String::from_utf8(body).unwrap().matches("\"id\"").count(), 1);
}

#[test]
fn the_receivers_own_id_is_what_proves_the_delivery() {
    let check = |response: Response, expected: Option<&str>| {
        assert_eq!(external_id(&response).as_deref(), expected, "{}", response.text());
    };
    let header = [("X-Request-Id", "r1")];
    check(answer(200, &header, r#"{"id":"m1","x":[]}"#), Some("m1"));
    check(answer(200, &header, r#"{"id":12}"#), Some("12"));
    check(answer(200, &header, r#"{"id":null}"#), Some("r1"));
    check(answer(200, &header, "[]"), Some("r1"));
    check(answer(202, &[], ""), None);
    check(
        answer(200, &[], &format!(r#"{{"id":"{}"}}"#, "a".repeat(256))),
        Some("a".repeat(256).as_str()),
    );
    check(answer(200, &[], &format!(r#"{{"id":"{}"}}"#, "a".repeat(257))), None);
}

#[test]
fn a_delivery_posts_to_the_path_of_the_settings() {
    let deliver = |settings: Value, status: u16| {
        let attempt = Attempt {
            number: 1,
            idempotency_key: "k".to_owned(),
            deadline: 0,
        };
        Host::new()
            .settings(settings)
            .answer(move |_| Ok(answer(status, &[], "")))
            .run(|| Webhook::deliver(event("application/json", b"{}"), attempt))
    };
    let (receipt, seen) = deliver(json!({}), 202);
    assert_eq!(receipt.unwrap().summary.as_deref(), Some("the endpoint answered 202"));
    assert_eq!(seen.requests[0].path, "/");
    let (receipt, seen) = deliver(json!({"path": "/hooks/in"}), 410);
    assert_eq!(receipt.unwrap_err().kind, FailureKind::Gone);
    assert_eq!(seen.requests[0].path, "/hooks/in");
    let content_type = &seen.requests[0].headers[0];
    assert_eq!(content_type.1, b"application/cloudevents+json; charset=utf-8");
}
