//! The example in Python: a stock interpreter that needs WASI to be instantiated, on the real server.

use cofferdam_domain::{DeliveryState, ExchangeResult, FailureClass};
use cofferdam_tests::{Answer, Upstream};

use crate::js_connector::{order, server_with};

const SECRET: &str = "canary-7731bc02";

#[tokio::test]
async fn a_connector_in_python_delivers_through_the_gate_and_its_words_are_in_the_trace() {
    let target = Upstream::start([], Answer::status(500)).await;
    let server = server_with("python-connector").await;
    let connection = format!(
        "name = \"pages\"\nconnector = \"python-connector\"\nsubscribe = [\"test.order\"]\n\n[settings]\nteam = \"night\"\n\n\
         [upstreams.pager]\nbase_url = \"{}\"\ncredential = \"key\"\nnetworks = [\"127.0.0.0/8\"]\n\n\
         [policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\nfaults_max = 1\n",
        target.url()
    );
    server.api.apply(&connection).await;
    server.api.set_secret("pages", "key", SECRET).await;

    // It delivers; the key is the host's, and the guest does not even see what of it came back.
    target.script([Answer::ok(format!(r#"{{"id": "P-1 {SECRET}"}}"#)).header("content-type", "application/json")]);
    let trace = order(&server, "1").await;
    let DeliveryState::Delivered { receipt, .. } = &trace.delivery.state else {
        panic!("{:?} {:?}", trace.delivery, trace.attempts[0].ended)
    };
    assert_eq!(receipt.external_id.as_deref(), Some("P-1 [redacted]"));
    let asked = target.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("POST", "/pages"));
    assert_eq!(asked.header("x-pager-key"), SECRET);
    assert!(!asked.header("idempotency-key").is_empty());
    assert_eq!(asked.json()["team"], "night");
    assert_eq!(asked.json()["text"], r#"{"pumps":2}"#);
    let end = trace.attempts[0].ended.as_ref().unwrap();
    assert!(matches!(
        end.trail[0].result,
        ExchangeResult::Answered { status: 200, .. }
    ));
    assert_eq!(end.logs.last().unwrap().message, "paged");
    assert!(!serde_json::to_string(&trace).unwrap().contains(SECRET));

    // What the upstream refuses is a failure of the contract, raised.
    target.script([Answer::status(422)]);
    let trace = order(&server, "2").await;
    let failure = trace.delivery.last_failure.clone().unwrap();
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::Schema, Some("422"))
    );
    let logs = &trace.attempts[0].ended.as_ref().unwrap().logs;
    assert!(
        logs.iter().any(|line| line.message == "the pager answered 422"),
        "{logs:?}"
    );

    // What it does not expect is an exception that nobody catches: a fault with its last words, and not the end of anything.
    target.script([Answer::ok("no JSON")]);
    let trace = order(&server, "3").await;
    let failure = trace.delivery.last_failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::ConnectorFault, "{failure:?}");
    target.script([Answer::ok(r#"{"id": "P-4"}"#)]);
    assert!(matches!(
        order(&server, "4").await.delivery.state,
        DeliveryState::Delivered { .. }
    ));
}
