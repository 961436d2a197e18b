//! Instances that serve more than one call, where a connection's policy asks for it: how long they live, and that nobody but
//! their connection ever meets them.

use cofferdam_domain::DeliveryState;
use cofferdam_host::EngineUse;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::connections::{probe, probe_server};

/// One call after the other, in up to three calls of one instance, and no second attempt.
const THREE: &str = "[policy]\nconcurrency = 1\nreuse_calls = 3\n[policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\n\
                     faults_max = 1\n";

/// What the connection's guest makes of this; an empty text if it faults.
async fn act(server: &Running, to: &str, id: &str, data: Value) -> String {
    let accepted = server.api.send_event(id, &format!("test.{to}"), data).await;
    let over = |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. });
    let trace = server
        .api
        .wait_for_state(accepted.accepted[0].correlation_id.as_str(), over)
        .await;
    match trace.delivery.state {
        DeliveryState::Delivered { receipt, .. } => receipt.summary.unwrap_or_default(),
        _ => String::new(),
    }
}

/// How many calls the instance has served that serves this one.
async fn served(server: &Running, to: &str, id: &str) -> String {
    act(server, to, id, json!({"do": "remember"})).await
}

#[tokio::test]
async fn each_call_has_a_fresh_instance_unless_its_connection_says_otherwise() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("fresh", &target, "")).await;
    server.api.apply(&probe("reused", &target, THREE)).await;
    for (number, expected) in ["1", "2", "3", "1", "2"].into_iter().enumerate() {
        assert_eq!(served(&server, "fresh", &format!("f{number}")).await, "1");
        assert_eq!(
            served(&server, "reused", &format!("r{number}")).await,
            expected,
            "call {number}"
        );
    }
    let used: EngineUse = server.api.get("/v1/host").await;
    assert_eq!((used.kept.max, used.kept.in_use), (64, 1), "{used:?}");
}

#[tokio::test]
async fn an_instance_is_never_handed_to_another_connection() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    for name in ["a", "b"] {
        server.api.apply(&probe(name, &target, THREE)).await;
    }
    for expected in ["1", "2", "3"] {
        for name in ["a", "b"] {
            assert_eq!(served(&server, name, &format!("{name}{expected}")).await, expected);
        }
    }
}

#[tokio::test]
async fn any_fault_and_any_change_of_the_connection_ends_an_instance() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, THREE)).await;
    for (number, data) in [
        json!({"do": "panic"}),
        json!({"do": "ok", "id": "x".repeat(300)}),
        json!({"do": "big-return", "bytes": 32_000_000}),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(served(&server, "p", &format!("before {number}")).await, "1", "{data}");
        assert_eq!(
            act(&server, "p", &format!("bad {number}"), data.clone()).await,
            "",
            "{data}"
        );
        assert_eq!(served(&server, "p", &format!("after {number}")).await, "1", "{data}");
        server
            .api
            .apply(&probe("p", &target, &format!("{THREE}\n[settings]\nn = {number}\n")))
            .await;
    }
    assert_eq!(served(&server, "p", "changed").await, "1");
    assert_eq!(served(&server, "p", "again").await, "2");
    for action in ["disable", "enable"] {
        server.api.post(&format!("/v1/connections/p/{action}")).await;
    }
    assert_eq!(served(&server, "p", "toggled").await, "1");
}

#[tokio::test]
async fn a_connection_that_is_made_again_under_a_name_does_not_meet_what_the_one_before_has_left() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let file = probe("p", &target, THREE);
    for round in 0..3 {
        server.api.apply(&file).await;
        assert_eq!(served(&server, "p", &format!("{round} first")).await, "1");
        assert_eq!(served(&server, "p", &format!("{round} second")).await, "2");
        let deleted = server
            .api
            .request(Method::DELETE, "/v1/connections/p")
            .send()
            .await
            .unwrap();
        assert!(deleted.status().is_success(), "{}", deleted.status());
    }
}

#[tokio::test]
async fn what_a_call_left_in_its_log_and_its_settings_is_not_the_next_ones() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, THREE)).await;
    let flood = json!({"do": "flood-log", "lines": 100, "bytes": 10});
    assert_eq!(act(&server, "p", "1", flood).await, "100 lines");
    let accepted = server
        .api
        .send_event("2", "test.p", json!({"do": "flood-log", "lines": 2, "bytes": 10}))
        .await;
    let trace = server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
    let end = trace.attempts[0].ended.clone().unwrap();
    assert_eq!((end.logs.len(), end.logs_dropped), (2, 0));
}

#[tokio::test]
async fn kept_instances_are_bounded_over_all_connections_and_the_least_used_goes() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new()
        .plugin(&test_guest("probe"))
        .config("\n[host]\nkept_instances = 1\n");
    let server = setup.start().await;
    for name in ["a", "b"] {
        server.api.apply(&probe(name, &target, THREE)).await;
    }
    for (name, id, expected) in [
        ("a", "1", "1"),
        ("a", "2", "2"),
        ("b", "3", "1"),
        ("a", "4", "1"),
        ("b", "5", "1"),
        ("b", "6", "2"),
    ] {
        assert_eq!(served(&server, name, id).await, expected, "{id}");
    }
    let used: EngineUse = server.api.get("/v1/host").await;
    assert_eq!((used.kept.max, used.kept.in_use), (1, 1), "{used:?}");
}
