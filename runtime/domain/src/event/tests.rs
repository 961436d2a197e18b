use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn draft() -> EventDraft {
    EventDraft {
        kind: "com.example.made".into(),
        source: "/example".into(),
        subject: None,
        time: None,
        data_content_type: "application/json".into(),
        data_schema: None,
        extensions: BTreeMap::new(),
        data: b"{}".to_vec(),
        dedupe_key: Some("1".into()),
    }
}

fn stamp() -> Stamp {
    Stamp {
        workspace: WorkspaceName::default(),
        origin: Origin::Api("test".into()),
        correlation_id: None,
        trace: None,
        received_at: Timestamp::from_millis(1_000),
        body_bytes_max: 16,
    }
}

fn stamped(draft: EventDraft) -> Result<NewEvent, DraftFault> {
    draft.stamp(stamp(), &mut StdRng::seed_from_u64(1))
}

#[test]
fn a_stamped_event_is_named_by_the_hash_of_its_body() {
    let made = stamped(draft()).unwrap();
    assert_eq!(made.event.body_hash, Digest::of(b"{}"));
    assert_eq!(made.event.body_bytes, 2);
}

#[test]
fn a_trusted_callers_trace_is_continued_and_not_replaced() {
    let mut rng = StdRng::seed_from_u64(2);
    let callers = TraceContext::mint(&mut rng);
    let made = draft()
        .stamp(
            Stamp {
                trace: Some(callers),
                ..stamp()
            },
            &mut rng,
        )
        .unwrap();
    assert_eq!(made.event.trace.trace_id(), callers.trace_id());
    assert_ne!(made.event.trace.span_id(), callers.span_id());
}

#[test]
fn each_bad_attribute_is_named() {
    let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
    let cases: Vec<(&str, EventDraft)> = vec![
        (
            "type",
            EventDraft {
                kind: String::new(),
                ..draft()
            },
        ),
        (
            "type",
            EventDraft {
                kind: RAW_REQUEST_TYPE.into(),
                ..draft()
            },
        ),
        (
            "type",
            EventDraft {
                kind: "a\nb".into(),
                ..draft()
            },
        ),
        (
            "source",
            EventDraft {
                source: String::new(),
                ..draft()
            },
        ),
        (
            "source",
            EventDraft {
                source: long.clone(),
                ..draft()
            },
        ),
        (
            "subject",
            EventDraft {
                subject: Some(String::new()),
                ..draft()
            },
        ),
        (
            "dataschema",
            EventDraft {
                data_schema: Some(long),
                ..draft()
            },
        ),
        (
            "datacontenttype",
            EventDraft {
                data_content_type: String::new(),
                ..draft()
            },
        ),
        (
            "id",
            EventDraft {
                dedupe_key: Some(String::new()),
                ..draft()
            },
        ),
        (
            "id",
            EventDraft {
                dedupe_key: Some("x".repeat(DEDUPE_KEY_BYTES_MAX + 1)),
                ..draft()
            },
        ),
        (
            "data",
            EventDraft {
                data: vec![0; 17],
                ..draft()
            },
        ),
        (
            "Bad",
            EventDraft {
                extensions: [("Bad".to_owned(), String::new())].into(),
                ..draft()
            },
        ),
    ];
    for (field, draft) in cases {
        assert_eq!(stamped(draft).unwrap_err().field, field);
    }
    assert!(
        stamped(EventDraft {
            data: vec![0; 16],
            ..draft()
        })
        .is_ok()
    );
}
