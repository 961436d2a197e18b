//! Ordinary HTTP clients against the real server: the same gate, records, credential and verdicts as `http.send`.

use cofferdam_domain::attempt::Exchange;
use cofferdam_domain::{DeliveryState, ExchangeResult, FailureClass};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use serde_json::{Value, json};

use crate::probes::{ONCE, act};

const SECRET: &str = "canary-52c1e0b7a94d";

async fn server() -> Running {
    Setup::new().plugin(&test_guest("wasi-probe")).start().await
}

/// A connection of the probe whose upstream is `base_url`; `more` is TOML behind it.
fn connection(base_url: &str, more: &str) -> String {
    format!(
        "name = \"p\"\nconnector = \"wasi-probe\"\nsubscribe = [\"test.p\"]\n\n[upstreams.target]\nbase_url = \"{base_url}\"\n\
         networks = [\"127.0.0.0/8\"]\nmethods = [\"GET\", \"POST\"]\ncredential = \"key\"\n{more}\n{ONCE}"
    )
}

fn trail(trace: &DeliveryTrace) -> &[Exchange] {
    &trace.attempts[0].ended.as_ref().unwrap().trail
}

/// The failure's class and code; the code is the host's word and the guest's.
fn failed(trace: &DeliveryTrace) -> (FailureClass, String) {
    let failure = trace.delivery.last_failure.clone().expect("it failed");
    (failure.class, failure.code.unwrap_or_default())
}

#[tokio::test]
async fn a_request_by_url_is_sent_like_one_by_name_and_its_credential_is_the_hosts() {
    let target = Upstream::start([], Answer::echo()).await;
    let server = server().await;
    server
        .api
        .apply(&connection(&format!("{}/api", target.url()), ""))
        .await;
    server.api.set_secret("p", "key", SECRET).await;
    let request = json!({
        "do": "fetch", "url": format!("{}/api/x?y=1", target.url()), "method": "POST", "body": "hello",
        "headers": [["content-type", "text/plain"], ["content-length", "5"], ["accept-encoding", "br"],
                    ["connection", "close"], ["host", target.url().trim_start_matches("http://")]],
    });
    let trace = act(&server, "1", request).await;
    let DeliveryState::Delivered { receipt, .. } = &trace.delivery.state else {
        panic!("{:?}", trace.delivery)
    };
    let summary = receipt.summary.clone().unwrap_or_default();
    assert!(summary.starts_with("200 ") && summary.ends_with("hello"), "{summary}");
    assert!(summary.contains("authorization: Bearer [redacted]"), "{summary}");

    let asked = &target.asked()[0];
    assert_eq!(asked.uri.to_string(), "/api/x?y=1");
    assert_eq!(asked.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(asked.header("content-type"), "text/plain");
    assert!(!asked.header("traceparent").is_empty() && !asked.header("idempotency-key").is_empty());
    assert_ne!(asked.header("accept-encoding"), "br");

    let exchange = &trail(&trace)[0];
    assert_eq!(
        (exchange.upstream.as_str(), exchange.method.as_str()),
        ("target", "POST")
    );
    assert_eq!((exchange.request_bytes, exchange.credential_reflected), (5, true));
    assert_eq!(exchange.credential.as_deref(), Some("bearer"));
    assert!(matches!(exchange.result, ExchangeResult::Answered { status: 200, .. }));
    let seen = serde_json::to_string(&trace).unwrap();
    assert!(!seen.contains(SECRET));
}

#[tokio::test]
async fn a_request_that_was_not_granted_is_refused_on_the_record_whatever_the_guest_makes_of_it() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = server().await;
    let narrow = "path_prefixes = [\"/allowed\"]";
    server
        .api
        .apply(&connection(&format!("{}/api", target.url()), narrow))
        .await;
    server.api.set_secret("p", "key", SECRET).await;
    let authority = target.url().trim_start_matches("http://").to_owned();
    let port = authority.rsplit(':').next().unwrap().to_owned();
    let url = |url: String| json!({"url": url});
    let allowed = |more: Value| {
        let mut request = url(format!("http://{authority}/api/allowed"));
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        request
    };
    for (at, (request, code)) in [
        (url("https://evil.test/api/allowed".to_owned()), "upstream-not-granted"),
        (url(format!("https://{authority}/api/allowed")), "upstream-not-granted"),
        (
            url(format!("http://localhost:{port}/api/allowed")),
            "upstream-not-granted",
        ),
        (url(format!("http://127.1:{port}/api/allowed")), "upstream-not-granted"),
        (
            url(format!("http://me@{authority}/api/allowed")),
            "upstream-not-granted",
        ),
        (
            url(format!("http://{authority}@evil.test/api/allowed")),
            "upstream-not-granted",
        ),
        (url(format!("http://{authority}/other/allowed")), "upstream-not-granted"),
        (url(format!("http://{authority}/apis/allowed")), "upstream-not-granted"),
        (url(format!("http://{authority}/api/../api/allowed")), "bad-path"),
        (url(format!("http://{authority}/api/%2e%2e/allowed")), "bad-path"),
        (url(format!("http://{authority}/api//allowed")), "bad-path"),
        (url(format!("http://{authority}/api/other")), "path-not-granted"),
        (json!({"path_with_query": "/api/allowed"}), "upstream-not-granted"),
        (allowed(json!({"method": "PUT"})), "method-not-granted"),
        (allowed(json!({"method": "TRACE"})), "method-not-granted"),
        (
            allowed(json!({"headers": [["authorization", "mine"]]})),
            "credential-slot-taken",
        ),
        (
            allowed(json!({"headers": [["host", "evil.test"]]})),
            "header-not-allowed",
        ),
        (allowed(json!({"headers": [["cookie", "a=b"]]})), "header-not-allowed"),
        (
            allowed(json!({"headers": [["traceparent", "0"]]})),
            "header-not-allowed",
        ),
        (
            allowed(json!({"headers": [["x-long", "x".repeat(17_000)]]})),
            "headers-too-large",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for act_name in ["fetch", "lie"] {
            let mut data = request.clone();
            data["do"] = act_name.into();
            let trace = act(&server, &format!("{act_name}{at}"), data).await;
            let (class, failure_code) = failed(&trace);
            assert_eq!(class, FailureClass::Policy, "{request}");
            let expected = match (act_name, code) {
                ("lie", _) => code.to_owned(),
                (_, "headers-too-large") => format!("{code} HTTP-request-header-section-size"),
                _ => format!("{code} HTTP-request-denied"),
            };
            assert_eq!(failure_code, expected, "{request}");
            assert_eq!(trail(&trace).len(), 1);
        }
    }
    assert!(target.asked().is_empty());
}

#[tokio::test]
async fn each_way_in_which_an_answer_can_fail_has_its_error_and_the_trails_verdict() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = server().await;
    let small = "[policy]\nresponse_bytes_max = 1024";
    server.api.apply(&connection(&target.url(), small)).await;
    server.api.set_secret("p", "key", SECRET).await;
    let url = format!("{}/x", target.url());

    target.script([Answer::ok("x".repeat(2000))]);
    let trace = act(&server, "large", json!({"do": "fetch", "url": url})).await;
    let large = "response-too-large HTTP-response-body-size 1024".to_owned();
    assert_eq!(failed(&trace), (FailureClass::Dependency, large));

    target.script([Answer::held()]);
    let late = json!({"do": "fetch", "url": url, "method": "POST", "first_byte_timeout_ms": 300});
    let trace = act(&server, "late", late).await;
    let late = "timed-out HTTP-response-timeout".to_owned();
    assert_eq!(failed(&trace), (FailureClass::Timeout, late));
    assert!(trace.delivery.last_failure.unwrap().ambiguous);

    let large = json!({"do": "fetch", "url": url, "method": "POST", "body_bytes": 8 * 1024 * 1024 + 1});
    let trace = act(&server, "body", large).await;
    let large = "request-too-large HTTP-request-body-size 8388608".to_owned();
    assert_eq!(failed(&trace), (FailureClass::Policy, large));

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    server.api.apply(&connection(&closed_url, "")).await;
    let trace = act(&server, "closed", json!({"do": "fetch", "url": closed_url})).await;
    let closed = "unreachable destination-unavailable".to_owned();
    assert_eq!(failed(&trace), (FailureClass::Transport, closed));
}

#[tokio::test]
async fn changes_that_are_made_side_by_side_keep_their_idempotency_keys_in_every_attempt() {
    let target = Upstream::start([], Answer::status(500)).await;
    let server = server().await;
    let twice = connection(&target.url(), "").replace("schedule_ms = [0]", "schedule_ms = [0, 20]");
    server.api.apply(&twice).await;
    server.api.set_secret("p", "key", SECRET).await;
    let requests: Vec<_> = (0..6)
        .map(|at| json!({"url": format!("{}/{at}", target.url()), "method": "POST", "body_bytes": (6 - at) * 30_000}))
        .collect();
    act(&server, "1", json!({"do": "fetch-all", "requests": requests})).await;
    let mut keys: Vec<_> = target
        .asked()
        .iter()
        .map(|asked| (asked.uri.to_string(), asked.header("idempotency-key").to_owned()))
        .collect();
    assert_eq!(keys.len(), 12);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6, "each change has one key in both attempts: {keys:?}");
    for (at, (path, key)) in keys.iter().enumerate() {
        assert_eq!(*path, format!("/{at}"));
        assert!(at == 0 || key.ends_with(&format!("-{}", at + 1)), "{path}: {key}");
    }
}
