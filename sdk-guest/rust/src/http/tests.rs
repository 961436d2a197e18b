use crate::{FailureKind, Response};

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
fn a_status_becomes_the_kind_of_failure_that_the_host_sees_too() {
    let check = |status, expected| {
        let found = answer(status, &[], "")
            .success()
            .map(|_| ())
            .map_err(|failure| failure.kind);
        assert_eq!(found, expected, "{status}");
    };
    for success in [200, 204, 299] {
        check(success, Ok(()));
    }
    check(199, Err(FailureKind::Dependency));
    check(302, Err(FailureKind::Configuration));
    check(400, Err(FailureKind::Invalid));
    check(401, Err(FailureKind::Auth));
    check(403, Err(FailureKind::Auth));
    check(404, Err(FailureKind::Invalid));
    check(408, Err(FailureKind::Dependency));
    check(410, Err(FailureKind::Gone));
    check(425, Err(FailureKind::Dependency));
    check(429, Err(FailureKind::RateLimited));
    check(499, Err(FailureKind::Invalid));
    check(500, Err(FailureKind::Dependency));
    check(503, Err(FailureKind::Dependency));
}

#[test]
fn a_failure_carries_the_status_the_wait_and_the_first_line_of_the_answer() {
    let failure = answer(429, &[("Retry-After", "7")], "\n slow down \nmore")
        .success()
        .unwrap_err();
    assert_eq!(failure.code.as_deref(), Some("429"));
    assert_eq!(failure.retry_after_ms, Some(7000));
    assert_eq!(failure.message, "the upstream answered 429");
    let long = answer(500, &[], &"é".repeat(5000)).success().unwrap_err();
    assert!(long.message.chars().count() < 300);
}
