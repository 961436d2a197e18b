use serde_json::json;

use super::*;

fn view(health: &str, reason: Option<&str>) -> ConnectionView {
    serde_json::from_value(json!({
        "workspace": "default",
        "name": "slack-alerts",
        "connector": "slack",
        "subscribe": ["com.github.*"],
        "settings": { "channel": "#alerts" },
        "upstreams": { "slack": { "base_url": "https://slack.com/api", "credential": "bot-token" } },
        "inbound": { "scheme": "github", "credential": "webhook-secret" },
        "enabled": true,
        "revision": 3,
        "updated_at": 0,
        "health": health,
        "reason": reason,
        "depth": { "pending": 1, "in_flight": 0, "dead": 2, "delivered": 40 },
        "lane": {}
    }))
    .unwrap()
}

#[test]
fn a_connection_is_shown_with_what_it_keeps_and_its_polls_and_never_with_the_cursor_itself() {
    let mut polled = view("ok", None);
    polled.state_kept = Some(serde_json::from_value(json!({ "bytes_max": 65_536 })).unwrap());
    let hash = cofferdam_domain::Digest::of(b"cursor");
    polled.polling = Some(
        serde_json::from_value(json!({
            "schedule": "every 5m",
            "next_due_at": 1_795_000_300_000_u64,
            "latest": {
                "delivery": cofferdam_domain::DeliveryId::from_bytes([7; 16]),
                "correlation_id": "poll-1",
                "made_at": 1_795_000_000_000_u64,
                "state": { "state": "dead", "at": 1_795_000_001_000_u64, "class": "schema" },
                "failure_class": "schema",
                "failure": "feed answered 404\u{7}",
            },
            "cursor": { "bytes": 6, "hash": hash, "set_at": 1_795_000_000_000_u64 },
        }))
        .unwrap(),
    );
    let text = kept::shown(&polled, Paint::Plain);
    for line in [
        "  state        nothing yet, of 65536 bytes",
        "  polled       every 5m",
        "cofferdam trace poll-1",
        "  last failure schema: feed answered 404\u{fffd}",
        &format!("  cursor       6 bytes, SHA-256 {hash}, left "),
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(kept::shown(&view("ok", None), Paint::Plain).lines().count(), 1);
}

#[test]
fn what_runs_and_what_waits_is_shown_with_digests_that_can_be_granted_and_an_applied_file_says_what_it_left() {
    let digest = |tag: &str| cofferdam_domain::Digest::of(tag.as_bytes()).to_string();
    let mut waits = view("attention", None);
    waits.connection.granted = Some(digest("first").parse().unwrap());
    waits.runs = serde_json::from_value(json!({
        "digest": digest("second"),
        "version": "1.1.0\u{7}",
        "waiting": {
            "digest": digest("third"),
            "version": "2.0.0",
            "why": "asks-for-more",
            "difference": ["upstream api: the method DELETE\u{7}"],
        },
        "quarantined": [
            { "digest": digest("bad"), "at": 0, "faults": 5, "reason": "trap", "instead": digest("first") }
        ],
    }))
    .unwrap();
    let text = kept::shown(&waits, Paint::Plain);
    for line in [
        format!(
            "  version      1.1.0\u{fffd} {}, which asks for no more",
            digest("second")
        ),
        format!("  granted last {}", digest("first")),
        format!(
            "  not run      2.0.0 {}: it asks for more than was granted",
            digest("third")
        ),
        "  asks more    upstream api: the method DELETE\u{fffd}".to_owned(),
        format!("  quarantine   {} after 5 faults: trap", digest("bad")),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let left = grants::left(&waits).unwrap();
    let command = format!("cofferdam connection grant slack-alerts {}", digest("third"));
    assert!(left.contains(&command) && left.contains(&digest("first")), "{left}");
    assert_eq!(grants::left(&view("ok", None)), None);
}

#[test]
fn the_list_shows_what_waits_and_explains_what_is_not_well() {
    let text = listed(
        &[view("parked", Some("auth since yesterday: refused\u{7}"))],
        Paint::Plain,
    );
    let expected = "\
NAME          CONNECTOR  HEALTH  WAITING  RUNNING  DEAD  DELIVERED  TAKES
slack-alerts  slack      parked  1        0        2     40         com.github.*, POST /hooks/slack-alerts (github)

slack-alerts: auth since yesterday: refused\u{fffd}";
    assert_eq!(text, expected);
    assert!(listed(&[], Paint::Plain).contains("connection apply"));
}

#[test]
fn a_hook_is_shown_with_what_the_host_checks_and_an_unchecked_one_is_not_overlooked() {
    let with = |inbound: serde_json::Value| {
        let mut view = view("ok", None);
        view.connection.spec.inbound = Some(serde_json::from_value(inbound).unwrap());
        view
    };
    let github = with(json!({"scheme": "github", "credential": "c"}));
    assert_eq!(
        hook(&github, Paint::Plain).unwrap(),
        "  slack-alerts takes requests signed by GitHub: POST /hooks/slack-alerts on the public listener"
    );
    let twilio = json!({"scheme": "twilio", "credential": "c", "external_url": "https://in.example.com/t"});
    let text = hook(&with(twilio), Paint::Plain).unwrap();
    assert!(
        text.contains("signed by Twilio: https://in.example.com/t (behind it POST /hooks/slack-alerts"),
        "{text}"
    );
    let mut open = with(json!({"scheme": "none"}));
    let text = hook(&open, Paint::Plain).unwrap();
    assert!(
        text.contains("not checked: anybody who knows the address may send"),
        "{text}"
    );
    assert_eq!(open.connection.spec.credentials().count(), 1);
    let warning = "slack-alerts: requests to its hook are not checked: anybody who knows the address may send";
    assert!(listed(std::slice::from_ref(&open), Paint::Plain).contains(warning));
    assert!(!listed(&[github], Paint::Plain).contains("anybody"));
    open.connection.workspace = "other".parse().unwrap();
    assert!(
        hook(&open, Paint::Plain)
            .unwrap()
            .contains("POST /workspaces/other/hooks/slack-alerts")
    );
    assert!(listed(&[open], Paint::Plain).contains("POST /workspaces/other/hooks/slack-alerts (none)"));
}

#[test]
fn an_open_breaker_is_explained_and_a_filter_is_named_where_its_events_are() {
    let why = "open since yesterday, opened 3 times in a row; the next delivery probes it: the upstream answered 503";
    let mut broken = view("breaker-open", Some(why));
    broken.connection.spec.filter = Some("data.urgent".to_owned());
    let text = listed(std::slice::from_ref(&broken), Paint::Plain);
    for part in [
        "breaker open  1",
        "com.github.*, filtered, POST /hooks/slack-alerts",
        &format!("slack-alerts: {why}"),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = standing(&broken, Paint::Plain);
    assert!(text.ends_with(&format!("breaker open ({why})")), "{text}");
}

#[test]
fn a_view_survives_the_way_to_json_and_back() {
    let view = view("ok", None);
    let back: ConnectionView = serde_json::from_value(serde_json::to_value(&view).unwrap()).unwrap();
    assert_eq!(back.connection, view.connection);
}

#[test]
fn every_credential_that_a_file_names_is_asked_for() {
    let spec = view("ok", None).connection.spec;
    let names: Vec<_> = spec.credentials().map(CredentialName::as_str).collect();
    assert_eq!(names, ["bot-token", "webhook-secret"]);
}

#[test]
fn mistakes_of_every_file_are_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.toml", "name = \"a\"\nconnector = \"slack\"\n");
    let bad = write(
        "bad.toml",
        "name = \"a\"\nconnector = \"slack\"\n\n[policy]\nconcurrency = 0\n",
    );
    let worse = write("worse.toml", "name = \"A B\"\nconnector = \"slack\"\n");
    assert_eq!(checked(std::slice::from_ref(&good)).unwrap().len(), 1);
    let error = checked(&[bad, good, worse]).unwrap_err().to_string();
    for part in [
        "bad.toml has 1 mistake:",
        "line 5: policy.concurrency",
        "worse.toml has 1 mistake:",
        "nothing was applied",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn the_examples_are_valid_connection_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/connections");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    checked(&files).unwrap();
}
