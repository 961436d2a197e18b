//! GitHub's published example payloads, through the real door: signed, verified, mapped, accepted.
//!
//! They come from the npm package `@octokit/webhooks-examples`, fetched into the target folder by `cargo xtask test`.

use std::fs;

use cofferdam_domain::Event;
use cofferdam_server::admin::views::TraceView;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::{plugin, webhook_examples};
use cofferdam_tests::{Setup, api};
use serde::Deserialize;
use serde_json::Value;

use crate::connections::GITHUB_SECRET;

#[derive(Deserialize)]
struct Webhook {
    name: String,
    examples: Vec<Value>,
}

#[tokio::test]
async fn every_published_example_becomes_the_event_that_its_documentation_says() {
    let text = fs::read_to_string(webhook_examples().join("api.github.com/index.json")).unwrap();
    let webhooks: Vec<Webhook> = serde_json::from_str(&text).unwrap();
    let server = Setup::new().plugin(&plugin("github")).start().await;
    let file = "name = \"github\"\nconnector = \"github\"\n[inbound]\nscheme = \"github\"\ncredential = \"signing\"\n";
    server.api.apply(file).await;
    server.api.set_secret("github", "signing", GITHUB_SECRET).await;
    let mut checked = 0;
    for webhook in &webhooks {
        for (at, example) in webhook.examples.iter().enumerate() {
            let name = format!("{}-{at}", webhook.name);
            let body = example.to_string();
            let answer = server.api.send_github(GITHUB_SECRET, &webhook.name, &name, &body).await;
            assert_eq!(answer.status(), 202, "{name}");
            let accepted: EventsAccepted = api::read(answer).await;
            assert_eq!(accepted.accepted.len(), 1, "{name}");
            let trace: TraceView = server.api.trace(accepted.accepted[0].correlation_id.as_str()).await;
            check(&name, &webhook.name, example, &trace.events[0].event);
            assert_eq!(
                trace.events[0].event.body_hash,
                cofferdam_domain::Digest::of(body.as_bytes()),
                "{name}"
            );
            checked += 1;
        }
    }
    assert!(
        server.api.dead_letters().await.is_empty(),
        "an example was kept as a raw request"
    );
    assert_eq!(
        (webhooks.len(), checked),
        (58, 329),
        "the package holds what it held when this was written"
    );
}

/// What <https://docs.github.com/webhooks/webhook-events-and-payloads> says of each event.
fn check(name: &str, event: &str, payload: &Value, found: &Event) {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| payload.pointer(pointer).and_then(Value::as_u64);
    // Only `repository_dispatch` has an action that a person chose; everybody else's is a plain word.
    let kind = match text("/action") {
        Some(action) => format!("com.github.{event}.{action}"),
        None => format!("com.github.{event}"),
    };
    assert_eq!(found.kind, kind, "{name}");
    assert_eq!(found.dedupe_key.as_deref(), Some(name));
    assert_eq!(found.data_content_type, "application/json", "{name}");
    if let Some(repository) = text("/repository/html_url") {
        assert_eq!(found.source, repository, "{name}");
    } else {
        assert!(
            found.source.starts_with("https://github.com"),
            "{name}: {}",
            found.source
        );
    }
    let subject = match event {
        "push" => text("/ref").map(str::to_owned),
        "issues" => number("/issue/number").map(|number| format!("issues/{number}")),
        "pull_request" => number("/pull_request/number").map(|number| format!("pulls/{number}")),
        "release" => text("/release/tag_name").map(|tag| format!("releases/{tag}")),
        "ping" => number("/hook_id").map(|id| format!("hooks/{id}")),
        "issue_comment" => {
            let folder = if payload.pointer("/issue/pull_request").is_some() {
                "pulls"
            } else {
                "issues"
            };
            number("/issue/number").map(|number| format!("{folder}/{number}"))
        }
        _ => return,
    };
    assert!(subject.is_some(), "{name} lacks what its documentation promises");
    assert_eq!(found.subject, subject, "{name}");
}
