use axum::http::{HeaderName, HeaderValue};

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json; charset=utf-8")];

fn read_structured(json: &str) -> Result<EventDraft, DraftFault> {
    read(&headers(STRUCTURED), json.as_bytes()).map(|mut drafts| drafts.remove(0))
}

#[test]
fn structured_mode_keeps_json_data_byte_for_byte() {
    let draft = read_structured(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-01-02T03:04:05Z","n":7,"ok":true,"gone":null,"data":{"b" : 1.0, "a":[ ]}}"#,
    )
    .unwrap();
    assert_eq!(draft.data, br#"{"b" : 1.0, "a":[ ]}"#);
    assert_eq!(draft.data_content_type, "application/json");
    assert_eq!(
        draft.extensions,
        [("n".into(), "7".into()), ("ok".into(), "true".into())].into()
    );
    assert_eq!(draft.time.unwrap().to_string(), "2026-01-02T03:04:05.000Z");
}

#[test]
fn data_is_a_text_or_bytes_where_the_event_says_so() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/xml","data":"<a/>"}"#;
    assert_eq!(read_structured(text).unwrap().data, b"<a/>");
    let json_string = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"x"}"#;
    assert_eq!(read_structured(json_string).unwrap().data, br#""x""#);
    let bytes = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AP8="}"#;
    let draft = read_structured(bytes).unwrap();
    assert_eq!(
        (draft.data.as_slice(), draft.data_content_type.as_str()),
        (&[0u8, 255][..], "application/octet-stream")
    );
}

#[test]
fn binary_mode_takes_attributes_from_headers_and_the_body_as_it_is() {
    let headers = headers(&[
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-subject", "Euro%20%E2%82%AC"),
        ("ce-tenant", "a"),
    ]);
    let draft = read(&headers, b"\xff\x00").unwrap().remove(0);
    assert_eq!(draft.subject.as_deref(), Some("Euro €"));
    assert_eq!(draft.extensions, [("tenant".into(), "a".into())].into());
    assert_eq!(draft.data, b"\xff\x00");
}

#[test]
fn each_malformed_event_names_its_field() {
    for (field, json) in [
        ("body", "{"),
        ("body", "[]"),
        ("specversion", r#"{"id":"1","source":"/s","type":"t"}"#),
        (
            "specversion",
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
        ),
        ("id", r#"{"specversion":"1.0","source":"/s","type":"t"}"#),
        ("id", r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#),
        ("id", r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#),
        ("source", r#"{"specversion":"1.0","id":"1","type":"t"}"#),
        ("type", r#"{"specversion":"1.0","id":"1","source":"/s"}"#),
        (
            "time",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"now"}"#,
        ),
        (
            "data_base64",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#,
        ),
        (
            "data",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#,
        ),
        (
            "ext",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":{}}"#,
        ),
        (
            "ext",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":1.5}"#,
        ),
    ] {
        assert_eq!(read_structured(json).unwrap_err().field, field, "{json}");
    }
}

#[test]
fn a_batch_names_the_event_at_fault_and_has_a_bound() {
    let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(read(&batch, format!("[{good},{good}]").as_bytes()).unwrap().len(), 2);
    let fault = read(&batch, format!("[{good},{{}}]").as_bytes()).unwrap_err();
    assert_eq!(fault.field, "[1].specversion");
    let many = |count| format!("[{}]", vec![good; count].join(","));
    assert!(read(&batch, many(EVENTS_PER_REQUEST_MAX).as_bytes()).is_ok());
    assert_eq!(
        read(&batch, many(EVENTS_PER_REQUEST_MAX + 1).as_bytes())
            .unwrap_err()
            .field,
        "body"
    );
    assert_eq!(read(&batch, b"[]").unwrap_err().field, "body");
}

#[test]
fn the_same_source_and_id_have_the_same_dedupe_key_and_others_do_not() {
    let key = |source: &str, id: &str| dedupe_key(source, id).unwrap();
    assert_eq!(key("/a", "1"), key("/a", "1"));
    assert_ne!(key("/a", "11"), key("/a1", "1"));
}

#[test]
fn an_idempotency_key_takes_the_place_of_the_events_id() {
    let mut headers = headers(STRUCTURED);
    headers.insert("idempotency-key", HeaderValue::from_static("k"));
    let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(read(&headers, json).unwrap()[0].dedupe_key.as_deref(), Some("idem:k"));
}
