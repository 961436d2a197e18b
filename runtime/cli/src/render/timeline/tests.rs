use cofferdam_domain::attempt::AttemptEnd;
use cofferdam_domain::classify::{Failure, FailureClass, Receipt};
use cofferdam_domain::event::Origin;
use cofferdam_domain::{
    Attempt, Delivery, DeliveryId, DeliveryKind, DeliveryState, Digest, Event, EventId, Outcome, TraceContext, Usage,
    WorkspaceName,
};
use cofferdam_server::admin::views::EventTrace;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-23T15:09:00.000Z")
        .unwrap()
        .after(Duration::from_millis(millis))
}

fn trace_context() -> TraceContext {
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        .parse()
        .unwrap()
}

fn event() -> Event {
    Event {
        id: EventId::from_bytes([1; 16]),
        workspace: WorkspaceName::default(),
        correlation_id: "order-42".parse().unwrap(),
        trace: trace_context(),
        kind: "com.example.order".to_owned(),
        source: "/shop".to_owned(),
        subject: Some("orders/42".to_owned()),
        time: None,
        received_at: at(0),
        origin: Origin::Api("test".to_owned()),
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: std::collections::BTreeMap::new(),
        body_bytes: 2,
        body_hash: Digest::of(b"{}"),
        dedupe_key: None,
    }
}

fn delivery(state: DeliveryState) -> Delivery {
    Delivery {
        id: DeliveryId::from_bytes([2; 16]),
        workspace: WorkspaceName::default(),
        event: EventId::from_bytes([1; 16]),
        correlation_id: "order-42".parse().unwrap(),
        connection: "erp".parse().unwrap(),
        kind: DeliveryKind::Deliver,
        idempotency_key: "key-1".to_owned(),
        accepted_at: at(1),
        series_at: at(1),
        state,
        charged: 2,
        runs: 2,
        faults: 0,
        generation: 2,
        replays: 0,
        interventions: Vec::new(),
        event_type: String::new(),
        order: None,
        interruptions: 0,
        body_bytes: 2,
        last_failure: None,
    }
}

fn attempt(run: u32, started: u64, ended: u64, failed_with: Option<&str>) -> Attempt {
    let failure = failed_with.map(|message| Failure {
        class: FailureClass::Dependency,
        code: Some("503".to_owned()),
        message: message.to_owned(),
        ambiguous: false,
        retry_after_ms: None,
    });
    Attempt {
        delivery: DeliveryId::from_bytes([2; 16]),
        workspace: WorkspaceName::default(),
        connection: "erp".parse().unwrap(),
        run,
        number: run,
        trace: trace_context(),
        started_at: at(started),
        ended: Some(AttemptEnd {
            at: at(ended),
            connector: None,
            outcome: match &failure {
                Some(_) => Outcome::Retry {
                    due_at: at(ended + 300),
                    charged: true,
                },
                None => Outcome::Delivered,
            },
            receipt: failure.is_none().then(|| Receipt {
                external_id: Some("A-7".to_owned()),
                summary: Some("created".to_owned()),
                confirmation: None,
            }),
            failure,
            trail: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage {
                wall_us: 1_500,
                memory_bytes: 65_536,
            },
        }),
    }
}

fn trace(state: DeliveryState, attempts: Vec<Attempt>) -> TraceView {
    TraceView {
        correlation_id: "order-42".parse().unwrap(),
        refusals: std::collections::BTreeMap::new(),
        events: vec![EventTrace {
            event: event(),
            deliveries: vec![DeliveryTrace {
                delivery: delivery(state),
                attempts,
            }],
        }],
    }
}

#[test]
fn a_timeline_reads_from_acceptance_to_receipt() {
    let delivered = DeliveryState::Delivered {
        at: at(350),
        receipt: Receipt::default(),
    };
    let attempts = vec![
        attempt(1, 2, 12, Some("erp answered 503\u{1b}[2J")),
        attempt(2, 312, 350, None),
    ];
    let text = timeline(&trace(delivered, attempts), Paint::Plain);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "correlation id order-42");
    assert_eq!(lines[1], "1 event, 1 delivery; 2026-11-23 15:09:00 (UTC)");
    assert_eq!(lines[3], "✓ erp: delivered 0.349 s after it was accepted (2 attempts)");
    assert_eq!(
        lines[5],
        "   +0.000 s  15:09:00.000       accepted    com.example.order from /shop"
    );
    assert!(
        lines[6].starts_with(&" ".repeat(44)) && lines[6].contains("subject orders/42"),
        "{text}"
    );
    let retry = lines.iter().find(|line| line.contains("retry ")).unwrap();
    assert!(
        retry.contains("+0.012 s") && retry.contains("503\u{fffd}[2J; again in 0.3 s"),
        "{retry}"
    );
    assert!(text.contains("receipt A-7"), "{text}");
    assert!(
        !text.contains('\u{1b}'),
        "what came from outside must not drive the terminal"
    );
}

#[test]
fn where_a_delivery_stands_says_what_to_do_next() {
    let check = |state, expected: &str| {
        let text = timeline(&trace(state, Vec::new()), Paint::Plain);
        assert_eq!(text.lines().nth(3), Some(expected));
    };
    check(
        DeliveryState::Dead {
            at: at(9),
            class: FailureClass::Schema,
        },
        "✗ erp: dead letter (schema); once the cause is gone: cofferdam dead-letters replay \
         02020202-0202-0202-0202-020202020202 (0 attempts)",
    );
    check(
        DeliveryState::Pending { due_at: at(60_000) },
        "… erp: waits; next try not before 2026-11-23 15:10:00 (UTC) (0 attempts)",
    );
    check(
        DeliveryState::Discarded {
            at: at(1),
            by: "ann".to_owned(),
        },
        "– erp: given up by ann (0 attempts)",
    );
}

#[test]
fn a_new_day_is_said_once() {
    let day = 86_400_000;
    let attempts = vec![
        attempt(1, day, day + 10, Some("no")),
        attempt(2, day + 310, day + 350, None),
    ];
    let delivered = DeliveryState::Delivered {
        at: at(day + 350),
        receipt: Receipt::default(),
    };
    let text = timeline(&trace(delivered, attempts), Paint::Plain);
    assert_eq!(text.lines().filter(|line| *line == "2026-11-24").count(), 1, "{text}");
}

#[test]
fn facts_share_a_line_as_long_as_they_fit() {
    let fact = |name: &str, chars: usize| (name.to_owned(), "x".repeat(chars));
    let lines = fact_lines(&[fact("a", 10), fact("b", 10), fact("c", 90), fact("d", 200)]);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], format!("a {0} · b {0}", "x".repeat(10)));
}

#[test]
fn times_are_written_in_the_unit_a_person_would_use() {
    let check = |millis, expected: &str| assert_eq!(elapsed(Duration::from_millis(millis)), expected);
    check(0, "0.000 s");
    check(59_999, "59.999 s");
    check(60_000, "1 m 0 s");
    check(3_600_000, "1 h 0 m");
    check(86_399_000, "23 h 59 m");
    check(100_000_000, "1 d 3 h");
}
