use cofferdam_sdk::{InboundRequest, Source};
use serde_json::{Value, json};

use super::GitHub;

fn request(event: &str, content_type: &str, body: &[u8]) -> InboundRequest {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    InboundRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: String::new(),
        headers: vec![
            header("Content-Type", content_type),
            header("X-GitHub-Event", event),
            header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ],
        body: body.to_vec(),
    }
}

fn rejected(request: InboundRequest) -> String {
    GitHub::receive(request)
        .unwrap_err()
        .code
        .expect("every rejection has a code")
}

#[test]
fn a_payload_becomes_one_event_with_the_attributes_its_kind_has() {
    let repository =
        json!({"full_name": "acme/app", "html_url": "https://github.com/acme/app", "pushed_at": 1_557_933_657});
    let check = |event: &str, mut payload: Value, kind: &str, subject: Option<&str>, time: Option<u64>| {
        payload["repository"] = repository.clone();
        let body = payload.to_string();
        let accepted = GitHub::receive(request(event, "application/json", body.as_bytes())).unwrap();
        assert_eq!(accepted.events.len(), 1);
        let draft = &accepted.events[0];
        assert_eq!(draft.type_, kind);
        assert_eq!(draft.source, "https://github.com/acme/app", "{kind}");
        assert_eq!(draft.subject.as_deref(), subject, "{kind}");
        assert_eq!(draft.time, time, "{kind}");
        assert_eq!(
            draft.dedupe_key.as_deref(),
            Some("72d3162e-cc78-11e3-81ab-4c9367dc0958")
        );
        assert_eq!(draft.data, body.as_bytes(), "the payload is kept byte for byte");
    };
    let at = "2019-05-15T15:20:18Z";
    let ms = Some(1_557_933_618_000);
    check(
        "push",
        json!({"ref": "refs/heads/main"}),
        "com.github.push",
        Some("refs/heads/main"),
        Some(1_557_933_657_000),
    );
    check(
        "issues",
        json!({"action": "opened", "issue": {"number": 42, "updated_at": at}}),
        "com.github.issues.opened",
        Some("issues/42"),
        ms,
    );
    check(
        "issue_comment",
        json!({"action": "created", "issue": {"number": 42}, "comment": {"created_at": at}}),
        "com.github.issue_comment.created",
        Some("issues/42"),
        ms,
    );
    check(
        "issue_comment",
        json!({"action": "created", "issue": {"number": 7, "pull_request": {}}}),
        "com.github.issue_comment.created",
        Some("pulls/7"),
        None,
    );
    check(
        "pull_request",
        json!({"action": "closed", "number": 2, "pull_request": {"number": 2, "updated_at": at}}),
        "com.github.pull_request.closed",
        Some("pulls/2"),
        ms,
    );
    check(
        "pull_request_review",
        json!({"action": "submitted", "pull_request": {"number": 2}, "review": {"submitted_at": at}}),
        "com.github.pull_request_review.submitted",
        Some("pulls/2"),
        ms,
    );
    check(
        "release",
        json!({"action": "published", "release": {"tag_name": "v1.0", "published_at": at}}),
        "com.github.release.published",
        Some("releases/v1.0"),
        ms,
    );
    check(
        "create",
        json!({"ref": "v1", "ref_type": "tag"}),
        "com.github.create",
        Some("refs/tags/v1"),
        None,
    );
    check(
        "create",
        json!({"ref": null, "ref_type": "repository"}),
        "com.github.create",
        None,
        None,
    );
    check(
        "ping",
        json!({"zen": "Speak like a human.", "hook_id": 9}),
        "com.github.ping",
        Some("hooks/9"),
        None,
    );
    check(
        "status",
        json!({"sha": "6113728", "updated_at": "2019-05-15T15:20:18+00:00"}),
        "com.github.status",
        Some("commits/6113728"),
        ms,
    );
    check(
        "invented_later",
        json!({"action": "done"}),
        "com.github.invented_later.done",
        None,
        None,
    );
    check(
        "repository_dispatch",
        json!({"action": "on demand\n!"}),
        "com.github.repository_dispatch.on-demand--",
        None,
        None,
    );
}

#[test]
fn the_source_is_the_closest_place_that_the_payload_names() {
    let check = |payload: Value, expected: &str| {
        let body = payload.to_string();
        let accepted = GitHub::receive(request("x", "application/json", body.as_bytes())).unwrap();
        assert_eq!(accepted.events[0].source, expected);
    };
    check(
        json!({"repository": {"full_name": "acme/app"}, "organization": {"login": "acme"}}),
        "https://github.com/acme/app",
    );
    check(
        json!({"repository": {"html_url": "https://git.acme.example/a/b"}}),
        "https://git.acme.example/a/b",
    );
    check(json!({"organization": {"login": "acme"}}), "https://github.com/acme");
    check(
        json!({"installation": {"account": {"html_url": "https://github.com/octocat"}}}),
        "https://github.com/octocat",
    );
    check(json!({}), "https://github.com");
}

#[test]
fn the_form_encoding_gives_the_same_event() {
    let form = b"payload=%7B%22action%22%3A%22opened%22%2C%22issue%22%3A%7B%22number%22%3A1%7D%7D&x=y";
    let accepted = GitHub::receive(request(
        "issues",
        "application/x-www-form-urlencoded; charset=utf-8",
        form,
    ))
    .unwrap();
    let draft = &accepted.events[0];
    assert_eq!(draft.type_, "com.github.issues.opened");
    assert_eq!(draft.data_content_type, "application/json");
    assert_eq!(draft.data, br#"{"action":"opened","issue":{"number":1}}"#);
}

#[test]
fn a_field_of_another_type_than_expected_counts_as_absent() {
    for odd in ["null", "true", "-1", "1.5", "\"text\"", "[1,[2]]", "{\"a\":{\"b\":[]}}"] {
        let body = format!(r#"{{"action":{odd},"issue":{odd},"repository":{odd},"ref":{odd},"number":{odd}}}"#);
        for event in ["issues", "push", "pull_request", "release"] {
            let accepted = GitHub::receive(request(event, "application/json", body.as_bytes()));
            assert_eq!(accepted.unwrap().events.len(), 1, "{event} with {odd}");
        }
    }
}

#[test]
fn what_is_no_github_webhook_is_rejected_with_the_reason() {
    let good = || request("push", "application/json", b"{}");
    assert_eq!(rejected(request("push", "application/json", b"hello")), "not-json");
    assert_eq!(
        rejected(request("push", "application/json", b"{\"a\":1} x")),
        "not-json"
    );
    assert_eq!(rejected(request("push", "application/json", b"")), "not-json");
    assert_eq!(rejected(request("push", "application/json", b"[]")), "not-an-object");
    assert_eq!(
        rejected(request("push", "application/x-www-form-urlencoded", b"a=b")),
        "no-payload"
    );
    assert_eq!(rejected(request("Push!", "application/json", b"{}")), "bad-header");
    for missing in ["X-GitHub-Event", "X-GitHub-Delivery"] {
        let mut request = good();
        request.headers.retain(|(name, _)| name != missing);
        assert_eq!(rejected(request), "missing-header");
    }
    let mut long = good();
    long.headers[2].1 = vec![b'a'; 257];
    assert_eq!(rejected(long), "bad-header");
    assert!(GitHub::receive(good()).is_ok());
}
