//! Hooks through the real door: every scheme that an admin describes, what a failed check tells whom, and what is refused
//! before a connection is applied.

use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_server::admin::views::TraceView;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Running, Setup, api, sign, wait};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::folder::put;

async fn server() -> Running {
    Setup::new().plugin(&test_guest("inbox")).start().await
}

async fn hook(server: &Running, name: &str, inbound: &str, secret: Option<&str>) {
    let credential = secret.map_or("", |_| "credential = \"secret\"\n");
    let file = format!("name = \"{name}\"\nconnector = \"inbox\"\n[inbound]\n{credential}{inbound}\n");
    server.api.apply(&file).await;
    if let Some(secret) = secret {
        server.api.set_secret(name, "secret", secret).await;
    }
}

async fn post(server: &Running, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut request = server.api.public(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned()).send().await.unwrap()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn metrics(server: &Running) -> String {
    let request = api::client().get(format!("{}/metrics", server.api.admin));
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_signature_that_an_admin_describes_is_checked_with_its_time_and_its_id() {
    let server = server().await;
    let described = "scheme = \"hmac\"\ntolerance_s = 60\nexternal_url = \"https://in.example.com/x\"\n[inbound.signature]\n\
                     header = \"X-Sig\"\nprefix = \"v1=\"\ntemplate = \"{method} {url} {id}.{timestamp}.{body}\"\n\
                     timestamp_header = \"X-Time\"\ntimestamp_unit = \"milliseconds\"\nid_header = \"X-Id\"\n";
    hook(&server, "described", described, Some("key")).await;
    let send = async |second: u64, id: &str, path: &str, signed_url: &str| {
        let time = format!("{second}000");
        let message = format!("POST {signed_url} {id}.{time}.body");
        let github = sign::github("key", message.as_bytes());
        let signature = format!("v1={}", github.strip_prefix("sha256=").unwrap());
        let headers = [("x-sig", signature.as_str()), ("x-time", &time), ("x-id", id)];
        post(&server, path, &headers, "body").await
    };
    let now = seconds();
    let (path, url) = ("/hooks/described/a%20b?c=%2f", "https://in.example.com/x/a%20b?c=%2f");
    let accepted: EventsAccepted = api::read(send(now, "id-1", path, url).await).await;
    let trace: TraceView = server.api.trace(accepted.accepted[0].correlation_id.as_str()).await;
    assert_eq!(trace.events[0].event.dedupe_key.as_deref(), Some("id-1"));
    let again: EventsAccepted = api::read(send(now, "id-1", path, url).await).await;
    assert!(again.accepted[0].duplicate);
    assert_eq!(send(now - 70, "id-2", path, url).await.status(), 401);
    assert_eq!(send(now + 70, "id-2", path, url).await.status(), 401);
    assert_eq!(
        send(now, "id-2", "/hooks/described/a%20b?c=%2e", url).await.status(),
        401
    );
    assert_eq!(
        send(now, "id-2", "/workspaces/default/hooks/described/a%20b?c=%2f", url)
            .await
            .status(),
        202
    );
    let text = metrics(&server).await;
    for (reason, count) in [("stale", 2), ("mismatch", 1)] {
        let line = format!(
            "cofferdam_hook_unverified_total{{workspace=\"default\",connection=\"described\",reason=\"{reason}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn passwords_and_tokens_open_their_hook_only() {
    let server = server().await;
    hook(&server, "basic", "scheme = \"basic\"", Some("Aladdin:open sesame")).await;
    hook(&server, "bearer", "scheme = \"bearer\"", Some("mF_9.B5f-4.1JqM")).await;
    hook(
        &server,
        "gitlab",
        "scheme = \"bearer\"\nheader = \"X-Gitlab-Token\"",
        Some("glpat"),
    )
    .await;
    let keys = [
        ("basic", "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("bearer", "authorization", "Bearer mF_9.B5f-4.1JqM"),
        ("gitlab", "x-gitlab-token", "glpat"),
    ];
    for (name, ..) in keys {
        for (own, header, value) in keys {
            let answer = post(&server, &format!("/hooks/{name}"), &[(header, value)], "{}").await;
            assert_eq!(answer.status(), if name == own { 202 } else { 401 }, "{own} to {name}");
        }
        let unasked = post(&server, &format!("/hooks/{name}"), &[], "{}").await;
        assert_eq!(unasked.status(), 401);
        // A client of Basic sends no password before it is asked for one.
        let asks = unasked.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert_eq!(asks.starts_with("Basic "), name == "basic", "{asks}");
    }
}

#[tokio::test]
async fn a_failed_check_tells_the_sender_nothing_and_the_operator_why() {
    let server = server().await;
    hook(&server, "one", "scheme = \"github\"", Some("s3cr3t-of-one")).await;
    hook(&server, "two", "scheme = \"stripe\"", Some("s3cr3t-of-two")).await;
    server
        .api
        .apply("name = \"unset\"\nconnector = \"inbox\"\n[inbound]\nscheme = \"shopify\"\ncredential = \"secret\"\n")
        .await;
    let hex = "c4".repeat(32);
    let (github, stripe) = (format!("sha256={hex}"), format!("t={},v1={hex}", seconds()));
    let mut texts = Vec::new();
    for (path, headers) in [
        ("/hooks/one", vec![]),
        ("/hooks/one", vec![("x-hub-signature-256", "c4c4c4")]),
        ("/hooks/one", vec![("x-hub-signature-256", &github)]),
        (
            "/hooks/one",
            vec![("x-hub-signature-256", &github), ("x-hub-signature-256", &github)],
        ),
        ("/hooks/two", vec![("stripe-signature", &stripe)]),
        ("/hooks/unset", vec![("x-shopify-hmac-sha256", "xMTE")]),
    ] {
        let answer = post(&server, path, &headers, "{}").await;
        assert_eq!(answer.status(), 401, "{path}");
        texts.push((
            answer.headers()["www-authenticate"].clone(),
            answer.text().await.unwrap(),
        ));
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    let text = metrics(&server).await;
    for (connection, reason) in [
        ("one", "missing-header"),
        ("one", "malformed"),
        ("one", "mismatch"),
        ("one", "repeated-header"),
        ("two", "mismatch"),
        ("unset", "no-secret"),
    ] {
        let line = format!(
            "cofferdam_hook_unverified_total{{workspace=\"default\",connection=\"{connection}\",reason=\"{reason}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("failed their check")).collect();
    assert_eq!(lines.len(), 3, "one a minute and connection: {log}");
    assert!(
        lines[0].contains("\"one\"") && lines[0].contains("x-hub-signature-256 is missing"),
        "{log}"
    );
    assert!(lines[2].contains("cofferdam secret set"), "{log}");
    for never in ["c4c4", "xMTE", "s3cr3t"] {
        assert!(!log.contains(never), "{never}: {log}");
        assert!(!text.contains(never), "{never}");
    }
}

#[tokio::test]
async fn slacks_handshake_is_answered_by_the_host_even_before_the_connection_is_on() {
    let server = server().await;
    hook(
        &server,
        "slack",
        "scheme = \"slack\"",
        Some("8f742231b10e8888abcd99yyyzzz85a5"),
    )
    .await;
    server.api.post("/v1/connections/slack/disable").await;
    let send = async |secret: &str, body: &str| {
        let time = seconds().to_string();
        let hex = sign::github(secret, format!("v0:{time}:{body}").as_bytes());
        let signature = format!("v0={}", hex.strip_prefix("sha256=").unwrap());
        let headers = [
            ("x-slack-request-timestamp", time.as_str()),
            ("x-slack-signature", &signature),
        ];
        post(&server, "/hooks/slack", &headers, body).await
    };
    let body = json!({"token": "t", "challenge": "<b>3eZbrw1aBm2r", "type": "url_verification"}).to_string();
    let answer = send("8f742231b10e8888abcd99yyyzzz85a5", &body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        api::read::<Value>(answer).await,
        json!({"challenge": "<b>3eZbrw1aBm2r"})
    );
    assert_eq!(send("another secret", &body).await.status(), 401);
    let event = json!({"type": "event_callback", "event_id": "Ev1"}).to_string();
    assert_eq!(send("8f742231b10e8888abcd99yyyzzz85a5", &event).await.status(), 503);
    let events: Vec<cofferdam_domain::Event> = server.api.get("/v1/events").await;
    assert!(events.is_empty(), "a handshake is no event");
    assert!(server.api.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_hook_that_checks_nothing_is_open_and_said_so_each_time() {
    let server = server().await;
    hook(&server, "open", "scheme = \"none\"", None).await;
    assert_eq!(post(&server, "/hooks/open", &[], "{}").await.status(), 202);
    let warned = |log: String| {
        log.lines()
            .filter(|line| line.contains("anybody who knows the address"))
            .count()
    };
    assert_eq!(warned(server.log()), 1, "when it is applied");
    let (_, _, setup) = server.stop().await;
    let server = setup.start().await;
    assert_eq!(warned(server.log()), 1, "and at each start");
}

#[tokio::test]
async fn what_a_scheme_lacks_is_said_before_anything_is_applied() {
    let server = server().await;
    let refused = async |inbound: &str| {
        let file = format!("name = \"h\"\nconnector = \"inbox\"\n[inbound]\n{inbound}\n");
        let request = server.api.request(Method::POST, "/v1/connections").body(file);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400, "{inbound}");
        answer.text().await.unwrap()
    };
    for (inbound, expected) in [
        ("scheme = \"stripe\"", "needs a credential"),
        (
            "scheme = \"twilio\"\ncredential = \"c\"",
            "inbound.scheme twilio needs an external_url",
        ),
        (
            "scheme = \"hmac\"\ncredential = \"c\"",
            "inbound.scheme hmac needs to know",
        ),
        ("scheme = \"none\"\ncredential = \"c\"", "scheme none checks nothing"),
        (
            "scheme = \"strpe\"\ncredential = \"c\"",
            "unknown variant `strpe`, expected one of `github`",
        ),
        (
            "scheme = \"github\"\ncredential = \"c\"\nsecret = \"s\"",
            "unknown field `secret`",
        ),
        (
            "scheme = \"hmac\"\ncredential = \"c\"\n[inbound.signature]\nheader = \"x\"\ntemplate = \"{timestamp}\"",
            "no {body}",
        ),
        ("credential = \"c\"", "missing field `scheme`"),
    ] {
        let text = refused(inbound).await;
        assert!(text.contains(expected), "{inbound}: {text}");
    }
}

#[tokio::test]
async fn a_request_that_finds_no_place_is_sent_away_with_a_code_and_is_no_fault_of_its_connector() {
    // A quarter of the 32 that hooks share, and the connection's own.
    const PLACES: usize = 8 + 1;
    const TOO_MANY: usize = 3;
    let server = server().await;
    // They wait for half of their time; those that are in hold their place for all of it.
    let file = "name = \"full\"\nconnector = \"inbox\"\n[inbound]\nscheme = \"none\"\n[policy]\ndeadline_ms = 3000\n\
                cpu_ms = 60000\n";
    server.api.apply(file).await;
    hook(&server, "neighbour", "scheme = \"none\"", None).await;
    let mut sent = JoinSet::new();
    for _ in 0..PLACES + TOO_MANY {
        let request = server.api.public("/hooks/full").body("loop");
        sent.spawn(async move { request.send().await.unwrap() });
    }
    let answers = sent.join_all().await;
    let (away, kept): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == 503);
    assert!(kept.iter().all(|answer| answer.status() == 202), "{kept:?}");
    assert_eq!((kept.len(), away.len()), (PLACES, TOO_MANY));
    for answer in away {
        assert_eq!(answer.headers()["retry-after"], "10");
        let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem["code"], "hook-busy");
    }
    let letters = server.api.dead_letters().await;
    assert_eq!(letters.len(), PLACES, "what was sent away is kept nowhere");
    for letter in letters {
        let why = letter.delivery.last_failure.unwrap();
        assert_eq!(why.code.as_deref(), Some("deadline"), "{}", why.message);
    }
    let text = metrics(&server).await;
    let line = format!("cofferdam_ingest_refused_total{{door=\"hook\",reason=\"hook-busy\"}} {TOO_MANY}\n");
    assert!(text.contains(&line), "{line} in {text}");
    assert_eq!(post(&server, "/hooks/neighbour", &[], "{}").await.status(), 202);
}

#[tokio::test]
async fn a_request_that_comes_while_its_connector_is_not_there_waits_for_it() {
    let setup = Setup::new().plugin(&test_guest("inbox"));
    let server = setup.config("\n[plugins]\nsettle_ms = 20\n").start().await;
    hook(&server, "early", "scheme = \"none\"", None).await;
    let file = std::fs::read(test_guest("inbox")).unwrap();
    std::fs::remove_file(server.setup().plugins().join("inbox.wasm")).unwrap();
    wait::until("the connector to be gone", || async {
        let view = server.api.connection("early").await;
        view.runs.digest.is_none().then_some(())
    })
    .await;
    let answer = post(&server, "/hooks/early", &[], "{}").await;
    assert_eq!(answer.status(), 202);
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let kept = &answer["accepted"][0];
    assert_eq!(kept["deliveries"], 1);
    assert!(server.api.dead_letters().await.is_empty());
    put(&server, "inbox.wasm", &file);
    let correlation_id = kept["correlation_id"].as_str().unwrap();
    server.api.wait_delivered(correlation_id).await;
}

#[tokio::test]
async fn what_a_source_notes_of_a_request_is_in_the_record_of_its_replay_and_not_in_the_servers_log() {
    const NOTED: &str = "this is no payload that it knows";
    let server = server().await;
    hook(&server, "notes", "scheme = \"none\"", None).await;
    assert_eq!(post(&server, "/hooks/notes", &[], "odd").await.status(), 202);
    let letter = server.api.dead_letters().await.pop().unwrap().delivery;
    server.api.post(&format!("/v1/dead-letters/{}/replay", letter.id)).await;
    let attempts = wait::until("the replay's end", || async {
        let attempts = server.api.delivery(letter.id).await.attempts;
        attempts
            .iter()
            .any(|attempt| attempt.ended.is_some())
            .then_some(attempts)
    })
    .await;
    let logs = &attempts[0].ended.as_ref().unwrap().logs;
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_eq!((logs[0].level.as_str(), logs[0].message.as_str()), ("warn", NOTED));
    let (_, log, _) = server.stop().await;
    assert!(!log.contains(NOTED), "a connector may note a body: {log}");
    let line = log.lines().find(|line| line.contains("noted something"));
    assert!(
        line.is_some_and(|line| line.contains(letter.correlation_id.as_str())),
        "{line:?}"
    );
}

#[tokio::test]
async fn only_post_is_taken() {
    let server = server().await;
    hook(&server, "open", "scheme = \"none\"", None).await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let request = api::client().request(method.clone(), format!("{}/hooks/open", server.api.public));
        assert_eq!(request.send().await.unwrap().status(), 405, "{method}");
    }
}
