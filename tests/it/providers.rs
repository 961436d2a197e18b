//! Providers' own libraries as the other side: they sign and the real server verifies, and what the gate signs they verify.
//!
//! `tests/interop` pins them; `cargo xtask test` installs them into the target folder, and `providers.cjs` there asks them.

use std::path::Path;
use std::process::Stdio;

use cofferdam_server::admin::views::TraceView;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::{plugin, provider_libraries, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream, api};
use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HUB_SECRET: &str = "the hub's secret";

/// Hook, scheme, more of its grant, and the credential.
const HOOKS: [(&str, &str, &str, &str); 7] = [
    ("stripe", "stripe", "", "whsec_of_the_endpoint"),
    ("standard", "standard-webhooks", "", STANDARD_SECRET),
    (
        "ed25519",
        "standard-webhooks",
        "",
        "whpk_6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=",
    ),
    ("github", "github", "", "It's a Secret to Everybody"),
    ("slack", "slack", "", "8f742231b10e8888abcd99yyyzzz85a5"),
    (
        "twilio",
        "twilio",
        "external_url = \"https://hooks.example.com/hooks/twilio\"\n",
        "12345",
    ),
    ("shopify", "shopify", "", "hush"),
];

/// A request that a library has signed.
#[derive(Deserialize)]
struct Signed {
    hook: String,
    id: Option<String>,
    #[serde(default)]
    rest: String,
    headers: serde_json::Map<String, Value>,
    body: String,
    #[serde(default)]
    challenge: Option<String>,
}

/// Asks the libraries.
async fn ask<T: DeserializeOwned>(question: &Value) -> T {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/providers.cjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(provider_libraries())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed: `cargo xtask test` does it");
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(question.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let said = node.wait_with_output().await.unwrap();
    serde_json::from_slice(&said.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&said.stderr)))
}

async fn signed_by_their_libraries() -> Vec<Signed> {
    let mut secrets: serde_json::Map<_, _> = HOOKS
        .iter()
        .map(|(hook, _, _, secret)| ((*hook).to_owned(), json!(secret)))
        .collect();
    // The private key of the public one above.
    secrets.insert("ed25519".to_owned(), json!("07".repeat(32)));
    ask(&json!({"sign": {"secrets": secrets, "url": "https://hooks.example.com"}})).await
}

async fn server_with_hooks() -> Running {
    let setup = Setup::new().plugin(&test_guest("inbox")).plugin(&plugin("webhook"));
    let server = setup.start().await;
    for (hook, scheme, more, secret) in HOOKS {
        let file = format!(
            "name = \"{hook}\"\nconnector = \"inbox\"\n[inbound]\nscheme = \"{scheme}\"\ncredential = \"secret\"\n{more}"
        );
        server.api.apply(&file).await;
        server.api.set_secret(hook, "secret", secret).await;
    }
    server
}

/// Sends it to a hook, its own or another one.
async fn send(server: &Running, hook: &str, request: &Signed, body: &str) -> Response {
    let mut sent = server.api.public(&format!("/hooks/{hook}{}", request.rest));
    for (name, value) in &request.headers {
        sent = sent.header(name, value.as_str().unwrap());
    }
    sent.body(body.to_owned()).send().await.unwrap()
}

async fn metrics(server: &Running) -> String {
    let request = api::client().get(format!("{}/metrics", server.api.admin));
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn what_providers_libraries_sign_is_verified_and_nothing_near_it() {
    let server = server_with_hooks().await;
    let mut accepted_ids = 0;
    for request in signed_by_their_libraries().await {
        let hook = request.hook.as_str();
        // Everything but the one byte is as it was.
        let tampered = request.body.replacen(|c: char| c.is_ascii_lowercase(), "Z", 1);
        assert_ne!(tampered, request.body);
        for (hook, body) in [
            (hook, tampered.as_str()),
            (hook, &request.body[..request.body.len() - 1]),
            (hook, ""),
        ] {
            let refused = send(&server, hook, &request, body).await;
            assert_eq!(refused.status(), 401, "{hook}: {body}");
        }
        for (other, ..) in HOOKS.iter().filter(|(other, ..)| *other != hook) {
            assert_eq!(
                send(&server, other, &request, &request.body).await.status(),
                401,
                "{hook} to {other}"
            );
        }

        let answer = send(&server, hook, &request, &request.body).await;
        if let Some(challenge) = &request.challenge {
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(api::read::<Value>(answer).await, json!({"challenge": challenge}));
            continue;
        }
        assert_eq!(answer.status(), 202, "{hook}: {:?}", request.id);
        let accepted: EventsAccepted = api::read(answer).await;
        let trace: TraceView = server.api.trace(accepted.accepted[0].correlation_id.as_str()).await;
        assert_eq!(trace.events[0].event.dedupe_key, request.id, "{hook}");
        if request.id.is_some() {
            let again: EventsAccepted = api::read(send(&server, hook, &request, &request.body).await).await;
            assert!(again.accepted[0].duplicate, "{hook}");
            assert_eq!(again.accepted[0].id, accepted.accepted[0].id, "{hook}");
        }
        accepted_ids += 1;
    }
    assert_eq!(accepted_ids, 13);
    assert!(server.api.dead_letters().await.is_empty());
    let text = metrics(&server).await;
    assert!(
        text.contains("cofferdam_ingest_requests_total{door=\"hook\",answer=\"handshake\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_the_gate_signs_is_verified_by_providers_libraries() {
    let upstream = Upstream::start([], Answer::ok(r#"{"id":"made"}"#)).await;
    let server = server_with_hooks().await;
    for (name, attach, secret) in [
        ("standardwebhooks", "standard-webhooks", STANDARD_SECRET),
        ("octokit", "hmac-sha256 x-hub-signature-256 sha256=", HUB_SECRET),
    ] {
        let file = format!(
            "name = \"{name}\"\nconnector = \"webhook\"\nsubscribe = [\"test.inbox\"]\n[settings]\npath = \"/{name}\"\n\
             [upstreams.endpoint]\nbase_url = \"{}\"\nattach = \"{attach}\"\ncredential = \"signing\"\n\
             networks = [\"127.0.0.0/8\"]\n",
            upstream.url()
        );
        server.api.apply(&file).await;
        server.api.set_secret(name, "signing", secret).await;
    }
    let requests: Vec<_> = signed_by_their_libraries()
        .await
        .into_iter()
        .filter(|request| request.challenge.is_none())
        .collect();
    for request in &requests {
        assert_eq!(send(&server, &request.hook, request, &request.body).await.status(), 202);
    }
    let asked = upstream.wait_for(2 * requests.len()).await;
    let question: Vec<_> = asked
        .iter()
        .flat_map(|asked| {
            let by = asked.uri.path().trim_start_matches('/');
            let secret = if by == "octokit" { HUB_SECRET } else { STANDARD_SECRET };
            let body = String::from_utf8(asked.body.to_vec()).unwrap();
            let names = [
                "webhook-id",
                "webhook-timestamp",
                "webhook-signature",
                "x-hub-signature-256",
            ];
            let headers: serde_json::Map<_, _> = names
                .iter()
                .map(|name| ((*name).to_owned(), json!(asked.header(name))))
                .collect();
            let tampered = format!("{body} ");
            [body, tampered].map(|body| json!({"by": by, "secret": secret, "headers": headers, "body": body}))
        })
        .collect();
    let verdicts: Vec<Value> = ask(&json!({ "verify": question })).await;
    assert_eq!(verdicts.len(), 4 * requests.len());
    for pair in verdicts.chunks(2) {
        assert_eq!(pair[0], true, "{verdicts:?}");
        assert_ne!(pair[1], true, "{verdicts:?}");
    }
    // What the source connector was given, told by itself: nothing that a request could be sent again with.
    for asked in &asked {
        let headers = asked.json()["data"]["headers"].to_string();
        assert!(headers.contains("content-type"), "{headers}");
        for taken in ["signature\"", "hmac", "authorization"] {
            assert!(!headers.contains(taken), "{headers}");
        }
    }
}
