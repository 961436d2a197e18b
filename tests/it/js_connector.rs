//! The example in JavaScript: a stock `fetch` in a real engine, on the real server.

use std::fs;

use cofferdam_domain::{DeliveryState, ExchangeResult, FailureClass};
use cofferdam_host::{Connector, Engine, EngineSettings};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_tests::artifacts::{target_dir, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use serde_json::json;

const SECRET: &str = "canary-0d9c7be1";

/// A server that finds the example compiled: that takes longer than a server's start may, and once is enough.
pub(crate) async fn server_with(example: &str) -> Running {
    let guest = test_guest(example);
    let compiled = target_dir().join("test-compiled");
    let engine = Engine::new(&EngineSettings::new(compiled.clone())).unwrap();
    let connector = Connector::load(&engine, &guest).await.unwrap();
    let setup = Setup::new().plugin(&guest);
    let seeded = setup.data().join("compiled");
    fs::create_dir_all(&seeded).unwrap();
    for entry in fs::read_dir(compiled).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().starts_with(&connector.digest.to_string()) {
            fs::copy(target_dir().join("test-compiled").join(&name), seeded.join(&name)).unwrap();
        }
    }
    setup.start().await
}

/// A connection whose tickets are made at `api`, and which may call `base_url`.
fn connection(base_url: &str, api: &str) -> String {
    format!(
        "name = \"tickets\"\nconnector = \"js-connector\"\nsubscribe = [\"test.order\"]\n\n[settings]\napi = \"{api}\"\n\n\
         [upstreams.tickets]\nbase_url = \"{base_url}\"\ncredential = \"key\"\nnetworks = [\"127.0.0.0/8\"]\n\n\
         [policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\nfaults_max = 1\n"
    )
}

/// An event, and what became of it.
pub(crate) async fn order(server: &Running, id: &str) -> DeliveryTrace {
    let accepted = server.api.send_event(id, "test.order", json!({"pumps": 2})).await;
    let ended = |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. });
    server
        .api
        .wait_for_state(accepted.accepted[0].correlation_id.as_str(), ended)
        .await
}

#[tokio::test]
async fn a_connector_in_javascript_delivers_by_fetch_under_the_rules_of_the_gate() {
    let target = Upstream::start([], Answer::status(500)).await;
    let server = server_with("js-connector").await;
    let api = format!("{}/api", target.url());
    server.api.apply(&connection(&api, &api)).await;
    server.api.set_secret("tickets", "key", SECRET).await;

    // It delivers; the upstream got the credential, and the guest not even what of it came back.
    let reflected = format!(r#"{{"id": "T-7 {SECRET}"}}"#);
    target.script([Answer::ok(reflected).header("content-type", "application/json")]);
    let trace = order(&server, "1").await;
    let DeliveryState::Delivered { receipt, .. } = &trace.delivery.state else {
        panic!("{:?} {:?}", trace.delivery, trace.attempts[0].ended)
    };
    assert_eq!(receipt.external_id.as_deref(), Some("T-7 [redacted]"));
    let asked = target.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("POST", "/api/tickets"));
    assert_eq!(asked.header("authorization"), format!("Bearer {SECRET}"));
    assert!(!asked.header("idempotency-key").is_empty());
    let text = asked.json()["text"].as_str().unwrap().to_owned();
    assert_eq!(text, r#"{"pumps":2}"#);

    // The trace shows the exchange.
    let end = trace.attempts[0].ended.as_ref().unwrap();
    let exchange = &end.trail[0];
    assert_eq!(
        (exchange.upstream.as_str(), exchange.path_prefix.as_str()),
        ("tickets", "/tickets")
    );
    assert!(exchange.credential_reflected);
    assert!(matches!(exchange.result, ExchangeResult::Answered { status: 200, .. }));
    assert!(!serde_json::to_string(&trace).unwrap().contains(SECRET));

    // What the upstream refuses is its status, and what the connector printed is in the log.
    target.script([Answer::status(422)]);
    let trace = order(&server, "2").await;
    let failure = trace.delivery.last_failure.clone().unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::Schema, Some("422"))
    );
    let logs = &trace.attempts[0].ended.as_ref().unwrap().logs;
    assert!(
        logs.iter().any(|line| line.message == "the ticket system answered 422"),
        "{logs:?}"
    );

    // A URL that was not granted rejects the promise, whatever there is behind it.
    let asked_before = target.asked().len();
    server
        .api
        .apply(&connection(&api, &format!("{}/other", target.url())))
        .await;
    let trace = order(&server, "3").await;
    let failure = trace.delivery.last_failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::Policy);
    assert_eq!(failure.code.as_deref(), Some("upstream-not-granted fetch"));
    assert_eq!(target.asked().len(), asked_before);
}
