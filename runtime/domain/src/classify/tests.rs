use super::*;
use crate::hash::Digest;
use crate::time::Timestamp;

fn exchange(result: ExchangeResult) -> Exchange {
    Exchange {
        upstream: "api".parse().unwrap(),
        method: "POST".into(),
        path_prefix: "/".into(),
        path_hash: Digest::of(b"/"),
        address: None,
        request_hash: Digest::of(b""),
        request_bytes: 0,
        credential: None,
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            .parse()
            .unwrap(),
        started_at: Timestamp::ZERO,
        timings: Default::default(),
        result,
        credential_reflected: false,
    }
}

fn answered(status: u16) -> ExchangeResult {
    ExchangeResult::Answered {
        status,
        body_hash: Digest::of(b""),
        body_bytes: 0,
        headers: vec![],
        retry_after_ms: None,
    }
}

fn said(kind: GuestFailureKind) -> CallResult {
    CallResult::Failed(GuestFailure {
        kind,
        code: None,
        message: "said".into(),
        retry_after: None,
    })
}

fn done() -> CallResult {
    CallResult::Done(Receipt::default())
}

fn fault(kind: FaultKind) -> CallResult {
    CallResult::Faulted(Fault {
        kind,
        message: "broke".into(),
    })
}

/// `None` is delivered.
fn check(result: &CallResult, trail: Vec<ExchangeResult>, expected: Option<FailureClass>) {
    let trail: Vec<_> = trail.into_iter().map(exchange).collect();
    let class = match classify(result.clone(), &trail) {
        Verdict::Delivered(_) => None,
        Verdict::Failed(failure) => Some(failure.class),
    };
    assert_eq!(class, expected, "{result:?} after {trail:?}");
}

#[test]
fn a_403_that_asks_to_wait_is_a_limit_and_one_that_does_not_is_the_credential() {
    let forbidden = |retry_after_ms| ExchangeResult::Answered {
        status: 403,
        body_hash: Digest::of(b""),
        body_bytes: 0,
        headers: vec![],
        retry_after_ms,
    };
    check(&done(), vec![forbidden(None)], Some(FailureClass::Auth));
    check(&done(), vec![forbidden(Some(0))], Some(FailureClass::RateLimited));
    check(&done(), vec![forbidden(Some(60_000))], Some(FailureClass::RateLimited));
}

#[test]
fn every_status_has_the_class_of_the_table() {
    use FailureClass::*;
    for (status, class) in [
        (200, None),
        (204, None),
        (301, Some(Configuration)),
        (400, Some(Schema)),
        (401, Some(Auth)),
        (403, Some(Auth)),
        (404, Some(Schema)),
        (405, Some(Schema)),
        (408, Some(Dependency)),
        (409, Some(Schema)),
        (410, Some(Gone)),
        (413, Some(Schema)),
        (415, Some(Schema)),
        (422, Some(Schema)),
        (425, Some(Dependency)),
        (429, Some(RateLimited)),
        (500, Some(Dependency)),
        (502, Some(Dependency)),
        (503, Some(Dependency)),
        (504, Some(Dependency)),
        (599, Some(Dependency)),
    ] {
        check(&done(), vec![answered(status)], class);
    }
}

#[test]
fn a_200_that_the_connector_calls_a_failure_is_no_delivery() {
    check(
        &said(GuestFailureKind::Auth),
        vec![answered(200)],
        Some(FailureClass::Auth),
    );
    check(
        &said(GuestFailureKind::Invalid),
        vec![answered(200)],
        Some(FailureClass::Schema),
    );
}

#[test]
fn what_the_host_saw_wins_over_what_the_guest_says() {
    check(&done(), vec![answered(503)], Some(FailureClass::Dependency));
    check(
        &said(GuestFailureKind::Invalid),
        vec![answered(503)],
        Some(FailureClass::Dependency),
    );
    check(
        &said(GuestFailureKind::RateLimited),
        vec![answered(401)],
        Some(FailureClass::Auth),
    );
}

#[test]
fn the_last_exchange_decides() {
    check(&done(), vec![answered(404), answered(201)], None);
    check(
        &done(),
        vec![answered(201), answered(500)],
        Some(FailureClass::Dependency),
    );
}

#[test]
fn a_fault_is_the_connectors_unless_a_request_was_under_way_at_the_deadline() {
    check(
        &fault(FaultKind::Trap),
        vec![answered(200)],
        Some(FailureClass::ConnectorFault),
    );
    check(&fault(FaultKind::Deadline), vec![], Some(FailureClass::ConnectorFault));
    check(
        &fault(FaultKind::Deadline),
        vec![answered(200)],
        Some(FailureClass::ConnectorFault),
    );
    for (request_sent, class) in [(true, FailureClass::Timeout), (false, FailureClass::Transport)] {
        let in_flight = || vec![ExchangeResult::InFlight { request_sent }];
        check(&fault(FaultKind::Deadline), in_flight(), Some(class));
        check(&fault(FaultKind::Trap), in_flight(), Some(FailureClass::ConnectorFault));
    }
}

#[test]
fn a_time_out_after_bytes_left_is_ambiguous_and_before_is_not() {
    for (request_sent, class) in [(true, FailureClass::Timeout), (false, FailureClass::Transport)] {
        let trail = [exchange(ExchangeResult::TimedOut { request_sent })];
        let Verdict::Failed(failure) = classify(done(), &trail) else {
            panic!("delivered")
        };
        assert_eq!((failure.class, failure.ambiguous), (class, request_sent));
    }
}

#[test]
fn the_longer_of_both_retry_afters_is_kept() {
    let mut seen = answered(429);
    if let ExchangeResult::Answered { retry_after_ms, .. } = &mut seen {
        *retry_after_ms = Some(2_000);
    }
    let said = CallResult::Failed(GuestFailure {
        kind: GuestFailureKind::RateLimited,
        code: None,
        message: String::new(),
        retry_after: Some(Duration::from_secs(1)),
    });
    let Verdict::Failed(failure) = classify(said, &[exchange(seen)]) else {
        panic!("delivered")
    };
    assert_eq!(failure.retry_after_ms, Some(2_000));
}

#[test]
fn a_refusal_is_policy_unless_a_credential_would_cure_it() {
    let refused = |code: &str| ExchangeResult::Refused {
        code: code.into(),
        message: "no".into(),
    };
    check(&done(), vec![refused("path-not-granted")], Some(FailureClass::Policy));
    for code in crate::attempt::CREDENTIAL_REFUSALS {
        check(&done(), vec![refused(code)], Some(FailureClass::Auth));
    }
}

#[test]
fn to_a_poll_an_upstream_may_answer_that_nothing_is_new_and_to_a_delivery_not() {
    let class = |result: CallResult, statuses: &[u16]| {
        let trail: Vec<_> = statuses.iter().map(|status| exchange(answered(*status))).collect();
        let of = |verdict| match verdict {
            Verdict::Delivered(_) => None,
            Verdict::Failed(failure) => Some(failure.class),
        };
        (of(classify_poll(result.clone(), &trail)), of(classify(result, &trail)))
    };
    use FailureClass::{ConnectorFault, Dependency};
    let configuration = Some(FailureClass::Configuration);
    assert_eq!(class(done(), &[200]), (None, None));
    assert_eq!(class(done(), &[304]), (None, configuration));
    assert_eq!(class(done(), &[500, 304]), (None, configuration));
    assert_eq!(class(done(), &[304, 500]), (Some(Dependency), Some(Dependency)));
    assert_eq!(class(done(), &[301]), (configuration, configuration));
    assert_eq!(
        class(said(GuestFailureKind::Dependency), &[304]),
        (Some(Dependency), configuration)
    );
    assert_eq!(
        class(fault(FaultKind::Trap), &[304]),
        (Some(ConnectorFault), Some(ConnectorFault))
    );
}
