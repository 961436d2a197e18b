use cofferdam_sdk::testing::Host;
use cofferdam_sdk::{Attempt, Event, FailureKind, Response, Sink};
use serde_json::{Value, json};

use super::{Slack, message};

fn event(kind: &str, data: &Value) -> Event {
    Event {
        id: "e1".to_owned(),
        correlation_id: "c1".to_owned(),
        type_: kind.to_owned(),
        source: "https://github.com/acme/app".to_owned(),
        subject: Some("issues/42".to_owned()),
        time: None,
        received_at: 0,
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: Vec::new(),
        data: data.to_string().into_bytes(),
    }
}

fn with(extra: Value) -> Value {
    let mut payload = json!({"repository": {"full_name": "acme/app"}, "sender": {"login": "octocat"}});
    if let (Value::Object(payload), Value::Object(extra)) = (&mut payload, extra) {
        payload.extend(extra);
    }
    payload
}

fn item() -> Value {
    json!({"number": 42, "title": "A <b> & c", "html_url": "https://github.com/acme/app/issues/42", "body": "It\nbroke"})
}

#[test]
fn each_kind_of_event_reads_like_a_sentence() {
    let check = |kind: &str, data: Value, expected: &str| {
        assert_eq!(message::text(&event(kind, &data)).unwrap(), expected, "{kind}");
    };
    let linked = "<https://github.com/acme/app/issues/42|#42 A &lt;b&gt; &amp; c>";
    check(
        "com.github.issues.opened",
        with(json!({"issue": item()})),
        &format!("*[acme/app]* octocat opened issue {linked}\n> It\n> broke"),
    );
    check(
        "com.github.issues.closed",
        with(json!({"issue": item()})),
        &format!("*[acme/app]* octocat closed issue {linked}"),
    );
    let mut merged = item();
    merged["merged"] = json!(true);
    check(
        "com.github.pull_request.closed",
        with(json!({"pull_request": merged})),
        &format!("*[acme/app]* octocat merged pull request {linked}"),
    );
    check(
        "com.github.pull_request.closed",
        with(json!({"pull_request": item()})),
        &format!("*[acme/app]* octocat closed pull request {linked}"),
    );
    check(
        "com.github.pull_request.ready_for_review",
        with(json!({"pull_request": item()})),
        &format!("*[acme/app]* octocat marked as ready pull request {linked}"),
    );
    check(
        "com.github.issue_comment.created",
        with(json!({"issue": item(), "comment": {"html_url": "https://x.example/c", "body": "Yes!"}})),
        &format!("*[acme/app]* octocat <https://x.example/c|created a comment> on issue {linked}\n> Yes!"),
    );
    check(
        "com.github.release.published",
        with(json!({"release": {"tag_name": "v1", "name": null, "html_url": "https://x.example/r", "body": null}})),
        "*[acme/app]* octocat published release <https://x.example/r|v1>",
    );
    check(
        "com.github.push",
        with(
            json!({"ref": "refs/heads/main", "compare": "https://x.example/d", "commits": [{"id": "6113728f27", "message": "Fix\n\nlong", "url": "https://x.example/1"}]}),
        ),
        "*[acme/app]* octocat pushed <https://x.example/d|1 commit to main>\n• <https://x.example/1|6113728> Fix",
    );
    check(
        "com.github.push",
        with(json!({"ref": "refs/tags/v1", "deleted": true})),
        "*[acme/app]* octocat deleted tag v1",
    );
    check(
        "com.example.any",
        json!(1),
        "*com.example.any* · issues/42 · <https://github.com/acme/app|https://github.com/acme/app>",
    );
}

#[test]
fn the_longest_payload_stays_within_what_slack_recommends() {
    let long = "&".repeat(20_000);
    let url = format!("https://x.example/{}", "&".repeat(282));
    let commits: Vec<_> = (0..50)
        .map(|_| json!({"id": long, "message": long, "url": url}))
        .collect();
    let mut issue = item();
    issue["title"] = json!(long);
    issue["body"] = json!(long);
    issue["html_url"] = json!(url);
    let check = |kind: &str, mut data: Value| {
        data["repository"] = json!({ "full_name": long });
        data["sender"] = json!({ "login": long });
        let text = message::text(&event(kind, &data)).unwrap();
        assert!(text.chars().count() <= 40_000, "{kind}");
        let shown = text.replace("&amp;", "&").chars().count();
        assert!(shown <= 4000, "{kind}: {shown}");
    };
    check(
        "com.github.push",
        json!({"ref": long, "compare": url, "commits": commits}),
    );
    check("com.github.issues.opened", json!({ "issue": issue }));
    check(
        "com.github.issue_comment.created",
        json!({"issue": issue, "comment": {"html_url": url, "body": "&&&&\n".repeat(4000)}}),
    );
    check(&format!("com.example.{long}"), json!({}));
}

#[test]
fn data_that_lacks_what_a_message_needs_is_a_question_of_data_quality() {
    for (kind, data) in [
        ("com.github.issues.opened", json!({})),
        ("com.github.issues.opened", with(json!({}))),
        ("com.github.issue_comment.created", with(json!({"issue": item()}))),
        ("com.github.push", with(json!({}))),
    ] {
        assert_eq!(
            message::text(&event(kind, &data)).unwrap_err().kind,
            FailureKind::DataQuality,
            "{kind}"
        );
    }
}

#[test]
fn a_delivery_posts_the_text_to_the_channel_of_the_settings() {
    let attempt = Attempt {
        number: 1,
        idempotency_key: "k".to_owned(),
        deadline: 0,
    };
    let (receipt, seen) = Host::new()
        .settings(json!({"channel": "C123", "username": "Dam"}))
        .answer(|_| {
            Ok(Response {
                status: 200,
                headers: Vec::new(),
                body: br#"{"ok":true,"channel":"C123","ts":"1.2"}"#.to_vec(),
            })
        })
        .run(|| Slack::deliver(event("com.example.any", &json!(1)), attempt));
    assert_eq!(receipt.unwrap().external_id.as_deref(), Some("C123/1.2"));
    let [request] = &seen.requests[..] else {
        panic!("one request: {:?}", seen.requests)
    };
    assert_eq!(
        (request.upstream.as_str(), request.path.as_str()),
        ("slack", "/chat.postMessage")
    );
    let sent: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(sent["channel"], "C123");
    assert_eq!(sent["username"], "Dam");
    assert_eq!(sent.get("icon_emoji"), None);
}
