//! A guest reaches only what was granted, a secret never reaches a guest, and a hostile guest is its own trouble only.

use std::fs;
use std::path::Path;

use cofferdam_domain::{DeliveryState, ExchangeResult, FailureClass};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_tests::{Answer, Upstream};
use serde_json::{Value, json};

use crate::connections::{probe, probe_server};
use crate::probes::act;

const CANARY: &str = "canary-7f3a9c51e2d84b06";

/// One attempt only, short deadline, small memory: what a hostile guest is given here.
const STRICT: &str = "[policy]\ndeadline_ms = 3000\ncpu_ms = 200\nmemory_bytes = 4194304\n[policy.retry]\nschedule_ms = [0]\n\
                      max_age_ms = 60000\nfaults_max = 1\n";

fn failure_code(trace: &DeliveryTrace) -> (FailureClass, String) {
    let failure = trace.delivery.last_failure.clone().expect("it failed");
    (failure.class, failure.code.unwrap_or_default())
}

#[tokio::test]
async fn a_guest_that_breaks_the_contract_ends_in_its_own_class_and_its_neighbour_goes_on() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, STRICT)).await;
    server.api.apply(&probe("neighbour", &target, "")).await;
    for (name, data, code) in [
        ("panic", json!({"do": "panic"}), "trap"),
        ("loop", json!({"do": "loop"}), "cpu"),
        ("recurse", json!({"do": "recurse"}), "trap"),
        ("grow", json!({"do": "grow"}), "memory"),
        ("sleepless", json!({"do": "sleepless"}), "host-calls"),
        ("long id", json!({"do": "ok", "id": "x".repeat(300)}), "bad-return"),
    ] {
        // Both at once: the neighbour's event is there while the guest misbehaves.
        let (trace, ()) = tokio::join!(act(&server, name, data), async {
            let beside = format!("beside {name}");
            let accepted = server
                .api
                .send_event(&beside, "test.neighbour", json!({"do": "ok"}))
                .await;
            let delivered = server
                .api
                .wait_delivered(accepted.accepted[0].correlation_id.as_str())
                .await;
            assert_eq!(delivered.attempts.len(), 1, "{name}");
        });
        assert_eq!(
            failure_code(&trace),
            (FailureClass::ConnectorFault, code.to_owned()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_guest_that_waits_for_a_hanging_upstream_is_ended_and_the_attempt_is_ambiguous() {
    let target = Upstream::start([], Answer::held()).await;
    let server = probe_server().await;
    let slow = STRICT.replace(
        "[policy]\ndeadline_ms = 3000",
        "[policy]\nrequest_timeout_ms = 300000\ndeadline_ms = 500",
    );
    server.api.apply(&probe("p", &target, &slow)).await;
    let trace = act(&server, "1", json!({"do": "call", "method": "POST", "body": "x"})).await;
    let failure = trace.delivery.last_failure.clone().unwrap();
    assert_eq!(
        (failure.class, failure.ambiguous),
        (FailureClass::Timeout, true),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_flood_of_lines_is_capped_counted_and_recorded() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    let trace = act(&server, "1", json!({"do": "flood-log", "lines": 1000, "bytes": 2000})).await;
    let end = trace.attempts[0].ended.clone().unwrap();
    assert_eq!((end.logs.len(), end.logs_dropped), (64, 936));
    assert!(end.logs.iter().all(|line| line.message.len() <= 1024));
}

#[tokio::test]
async fn each_request_that_was_not_granted_is_refused_with_its_code_and_never_leaves() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let narrow = format!("path_prefixes = [\"/allowed\"]\ncredential = \"key\"\n{STRICT}");
    server
        .api
        .apply(&probe("p", &target, &narrow).replace("\"GET\", \"POST\", \"PUT\"", "\"GET\""))
        .await;
    server.api.set_secret("p", "key", CANARY).await;
    let call = |more: Value| {
        let mut data = json!({"do": "call", "path": "/allowed"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    for (at, (data, code)) in [
        (call(json!({"upstream": "open"})), "upstream-not-granted"),
        (call(json!({"upstream": "elsewhere"})), "upstream-not-granted"),
        (call(json!({"method": "POST"})), "method-not-granted"),
        (call(json!({"path": "/other"})), "path-not-granted"),
        (call(json!({"path": "/allowed/../other"})), "bad-path"),
        (call(json!({"path": "http://127.0.0.1/"})), "bad-path"),
        (
            call(json!({"headers": [["authorization", "mine"]]})),
            "credential-slot-taken",
        ),
        (call(json!({"headers": [["host", "evil"]]})), "header-not-allowed"),
        (call(json!({"headers": [["x", "a\r\ny: b"]]})), "bad-header"),
    ]
    .into_iter()
    .enumerate()
    {
        let trace = act(&server, &format!("r{at}"), data.clone()).await;
        let (class, found) = failure_code(&trace);
        assert_eq!(class, FailureClass::Policy, "{data}");
        let trail = &trace.attempts[0].ended.as_ref().unwrap().trail;
        let ExchangeResult::Refused { code: recorded, .. } = &trail[0].result else {
            panic!("{data}: {trail:?}")
        };
        assert_eq!(recorded, code, "{data}");
        assert!(found.contains(code), "{found}");
    }
    assert!(target.asked().is_empty());
}

#[tokio::test]
async fn a_network_that_was_not_listed_cannot_be_reached_nor_our_own_listeners() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let file = probe("p", &target, STRICT);
    server
        .api
        .apply(&file.replace("networks = [\"127.0.0.0/8\"]\n", ""))
        .await;
    let trace = act(&server, "1", json!({"do": "call"})).await;
    let blocked = (FailureClass::Policy, "address-blocked".to_owned());
    assert_eq!(failure_code(&trace), blocked);
    let whole = server.api.trace(trace.delivery.correlation_id.as_str()).await;
    assert_eq!(
        whole.refusals.get("address-blocked").map(String::as_str),
        Some("docs/refusals.md#address-blocked")
    );
    for own in [server.api.admin.clone(), server.api.public.clone()] {
        server.api.apply(&file.replace(&target.url(), &own)).await;
        let trace = act(&server, &own, json!({"do": "call", "path": "/healthz"})).await;
        assert_eq!(failure_code(&trace), blocked, "{own}");
    }
    assert!(target.asked().is_empty());
}

#[tokio::test]
async fn a_secret_that_the_upstream_reflects_reaches_neither_guest_nor_record_nor_log_nor_disk() {
    let target = Upstream::start([], Answer::echo()).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "credential = \"key\"")).await;
    server.api.set_secret("p", "key", CANARY).await;
    let trace = act(&server, "1", json!({"do": "echo-log", "method": "POST", "body": "x"})).await;
    let asked = target.asked();
    assert_eq!(
        asked[0].header("authorization"),
        format!("Bearer {CANARY}"),
        "the upstream got the credential"
    );
    let end = trace.attempts[0].ended.clone().unwrap();
    assert!(end.trail[0].credential_reflected, "the reflection is a recorded fact");
    assert!(
        end.logs
            .iter()
            .any(|line| line.message.contains("authorization: Bearer [redacted]")),
        "{:?}",
        end.logs
    );

    let mut seen = serde_json::to_string(&trace).unwrap();
    for path in [
        "/v1/connections",
        "/v1/secrets",
        "/v1/connectors",
        "/v1/events",
        "/v1/deliveries",
        "/metrics",
    ] {
        let answer = server.api.request(reqwest::Method::GET, path).send().await.unwrap();
        seen.push_str(&answer.text().await.unwrap());
    }
    let (_, log, setup) = server.stop().await;
    seen.push_str(&log);
    let mut places = vec![("API and log".to_owned(), seen.into_bytes())];
    read_all(&setup.data(), &mut places);
    assert!(places.len() > 3, "the data folder holds files");
    let forms = [
        CANARY.to_owned(),
        data_encoding::BASE64.encode(CANARY.as_bytes())[..24].to_owned(),
        data_encoding::HEXLOWER.encode(CANARY.as_bytes()),
    ];
    for (place, bytes) in places {
        for form in &forms {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "the secret is in {place}");
        }
    }
}

fn read_all(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn what_is_not_granted_yet_is_answered_and_no_trap() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&probe(
            "p",
            &target,
            &format!("credential = \"key\"\n[settings]\nn = 1\n{STRICT}"),
        ))
        .await;
    let state = act(&server, "1", json!({"do": "state-get", "key": "k"})).await;
    assert_ne!(failure_code(&state).0, FailureClass::ConnectorFault);
    let summary = |trace: DeliveryTrace| match trace.delivery.state {
        DeliveryState::Delivered { receipt, .. } => receipt.summary.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    let exists = json!({"do": "credential-exists", "upstream": "target"});
    assert_eq!(summary(act(&server, "2", exists.clone()).await), "false");
    server.api.set_secret("p", "key", CANARY).await;
    assert_eq!(summary(act(&server, "3", exists).await), "true");
    assert_eq!(
        summary(act(&server, "4", json!({"do": "settings"})).await),
        r#"{"n":1}"#
    );
}
