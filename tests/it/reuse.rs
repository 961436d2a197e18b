//! Instances that serve more than one call, where a connection's policy asks for it: how long they live, and that nobody but
//! their connection ever meets them.

use cofferdam_domain::DeliveryState;
use cofferdam_host::EngineUse;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::connections::{probe, probe_server};
use crate::probes::{self, ONCE};

/// One call after the other, in up to three calls of one instance, and no second attempt.
const THREE: &str = "[policy]\nconcurrency = 1\nreuse_calls = 3\n[policy.retry]\nschedule_ms = [0]\nmax_age_ms = 60000\n\
                     faults_max = 1\n";

/// The same in as many calls as a test makes, with further lines of the policy and whatever is behind it.
fn many(policy: &str, more: &str) -> String {
    format!("[policy]\nconcurrency = 1\nreuse_calls = 1000\n{policy}\n{ONCE}{more}")
}

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
    for (number, (policy, data, code)) in [
        ("", json!({"do": "panic"}), "trap"),
        ("", json!({"do": "dig"}), "stack"),
        ("", json!({"do": "ok", "id": "x".repeat(300)}), "bad-return"),
        ("", json!({"do": "grow"}), "memory"),
        ("", json!({"do": "big-return", "bytes": 9_000_000}), "output-bytes"),
        ("cpu_ms = 100", json!({"do": "loop"}), "cpu"),
        ("deadline_ms = 300\ncpu_ms = 60000", json!({"do": "loop"}), "deadline"),
        ("host_calls = 100", json!({"do": "sleepless"}), "host-calls"),
        (
            "log_lines = 10",
            json!({"do": "flood-log", "lines": 11, "bytes": 1}),
            "log-lines",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let file = many(policy, &format!("[settings]\nn = {number}\n"));
        server.api.apply(&probe("p", &target, &file)).await;
        assert_eq!(served(&server, "p", &format!("changed {number}")).await, "1", "{code}");
        assert_eq!(served(&server, "p", &format!("before {number}")).await, "2", "{code}");
        let bad = probes::act(&server, &format!("bad {number}"), data).await;
        let failure = bad.delivery.last_failure.unwrap();
        assert_eq!(failure.code.as_deref(), Some(code), "{}", failure.message);
        assert_eq!(served(&server, "p", &format!("after {number}")).await, "1", "{code}");
    }
    assert_eq!(served(&server, "p", "again").await, "2");
    for action in ["disable", "enable"] {
        server.api.post(&format!("/v1/connections/p/{action}")).await;
    }
    assert_eq!(served(&server, "p", "toggled").await, "1");
}

#[tokio::test]
async fn a_call_that_leaves_a_resource_of_wasi_open_ends_its_instance() {
    let server = Setup::new().plugin(&test_guest("wasi-probe")).start().await;
    let file = format!(
        "name = \"p\"\nconnector = \"wasi-probe\"\nsubscribe = [\"test.p\"]\n{}",
        many("", "")
    );
    server.api.apply(&file).await;
    assert_eq!(served(&server, "p", "first").await, "1");
    let closes = json!({"do": "repeat", "call": "ready", "times": 3});
    assert_eq!(act(&server, "p", "closes", closes).await, "3 times");
    assert_eq!(served(&server, "p", "what closes what it opened is kept").await, "2");
    for (number, what) in ["timers", "fields", "streams"].into_iter().enumerate() {
        let leaves = json!({"do": "collect", "what": what, "times": 1});
        assert_eq!(act(&server, "p", &format!("leaves {number}"), leaves).await, "1 kept");
        assert_eq!(served(&server, "p", &format!("fresh {number}")).await, "1", "{what}");
    }
    assert_eq!(served(&server, "p", "and kept again").await, "2");
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
    let set = |n: u32| probe("p", &target, &many("", &format!("[settings]\nn = {n}\n")));
    let settings = || json!({"do": "settings"});
    server.api.apply(&set(1)).await;
    assert_eq!(served(&server, "p", "first").await, "1");
    let flood = json!({"do": "flood-log", "lines": 100, "bytes": 10});
    assert_eq!(act(&server, "p", "flood", flood).await, "100 lines");
    let few = json!({"do": "flood-log", "lines": 2, "bytes": 10});
    let trace = probes::act(&server, "few", few).await;
    let end = trace.attempts[0].ended.clone().unwrap();
    assert_eq!((end.logs.len(), end.logs_dropped), (2, 0));
    for id in ["settings", "settings again"] {
        assert_eq!(act(&server, "p", id, settings()).await, r#"{"n":1}"#);
    }
    assert_eq!(served(&server, "p", "all in one instance").await, "2");
    server.api.apply(&set(2)).await;
    assert_eq!(act(&server, "p", "other settings", settings()).await, r#"{"n":2}"#);
    assert_eq!(served(&server, "p", "in another instance").await, "1");
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
