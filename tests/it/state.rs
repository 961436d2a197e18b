//! A connection's state: what a delivered attempt leaves is there for the next one, and nothing else is.

use cofferdam_domain::{DeliveryState, FailureClass, Outcome};
use cofferdam_server::admin::views::DeliveryTrace;
use cofferdam_store::{Batch, Key, Keyspace, OpenOptions, Store};
use cofferdam_tests::{Answer, Running, Upstream, wait};
use reqwest::Method;
use serde_json::{Value, json};

use crate::connections::{QUICK, probe, probe_server};

const GRANTED: &str = "[state]\n";

async fn done(server: &Running, id: &str, connection: &str, act: Value) -> DeliveryTrace {
    let accepted = server.api.send_event(id, &format!("test.{connection}"), act).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let ended = |state: &DeliveryState| matches!(state, DeliveryState::Delivered { .. } | DeliveryState::Dead { .. });
    server.api.wait_for_state(&correlation, ended).await
}

/// The summary of what was delivered.
fn said(trace: &DeliveryTrace) -> &str {
    let end = trace.attempts.last().unwrap().ended.as_ref().unwrap();
    assert_eq!(end.outcome, Outcome::Delivered, "{:?}", end.failure);
    end.receipt.as_ref().unwrap().summary.as_deref().unwrap()
}

/// Class and code of what is dead.
fn died_of(trace: &DeliveryTrace) -> (FailureClass, String) {
    let failure = trace.delivery.last_failure.clone().unwrap();
    (failure.class, failure.code.unwrap_or_default())
}

async fn get(server: &Running, id: &str, key: &str) -> String {
    let got = done(server, id, "p", json!({"do": "state-get", "key": key})).await;
    said(&got).to_owned()
}

#[tokio::test]
async fn what_a_delivered_attempt_sets_is_there_after_a_kill_and_what_a_failed_one_sets_is_not() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&probe("p", &target, &format!("{GRANTED}{QUICK}")))
        .await;
    assert_eq!(get(&server, "1", "k").await, "nothing");
    done(
        &server,
        "2",
        "p",
        json!({"do": "state-set", "key": "k", "value": "kept"}),
    )
    .await;
    let failed = json!({"do": "state-set", "key": "k", "value": "lost", "fail": true});
    assert_eq!(died_of(&done(&server, "3", "p", failed).await).0, FailureClass::Schema);
    assert_eq!(get(&server, "4", "k").await, "kept");

    let server = server.kill().await.start().await;
    assert_eq!(get(&server, "5", "k").await, "kept");
    let size = server.api.connection("p").await.state_kept.unwrap().size.unwrap();
    assert_eq!((size.bytes, size.keys), (16 + 1 + 4, 1));
    done(&server, "6", "p", json!({"do": "state-set", "key": "k"})).await;
    assert_eq!(get(&server, "7", "k").await, "nothing");
}

#[tokio::test]
async fn calls_of_a_connection_with_a_state_are_made_one_at_a_time_and_none_is_lost() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let policy = format!("{GRANTED}[policy]\nconcurrency = 16\n{QUICK}");
    server.api.apply(&probe("p", &target, &policy)).await;
    server.api.post("/v1/connections/p/disable").await;
    let mut correlations = Vec::new();
    for id in 0..40 {
        let count = json!({"do": "state-count", "key": "n"});
        let accepted = server.api.send_event(&format!("c{id}"), "test.p", count).await;
        correlations.push(accepted.accepted[0].correlation_id.to_string());
    }
    server.api.post("/v1/connections/p/enable").await;
    let mut counts = Vec::new();
    for correlation in &correlations {
        let delivered = server.api.wait_delivered(correlation).await;
        assert_eq!(delivered.attempts.len(), 1, "nobody was in its way");
        counts.push(said(&delivered).parse::<u32>().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_bound_of_the_state_has_its_own_answer() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let set = |key: String, bytes: usize| json!({"do": "state-set", "key": key, "value": "v".repeat(bytes)});
    let sets = set("k".into(), 1);
    server.api.apply(&probe("p", &target, QUICK)).await;
    let refused = done(&server, "0", "p", sets).await;
    let configuration = |code: &str| (FailureClass::Configuration, code.to_owned());
    let data_quality = |code: &str| (FailureClass::DataQuality, code.to_owned());
    assert_eq!(died_of(&refused), configuration("state-not-granted"));

    server
        .api
        .apply(&probe("p", &target, &format!("[state]\nbytes_max = 2048\n{QUICK}")))
        .await;
    for (id, act, expected) in [
        ("1", set(String::new(), 1), data_quality("state-key-size")),
        ("2", set("k".repeat(257), 1), data_quality("state-key-size")),
        ("3", set("k".into(), 65_537), data_quality("state-value-size")),
        ("4", set("k".into(), 2048 - 16), configuration("state-full")),
        (
            "5",
            json!({"do": "state-fill", "keys": 1000, "bytes": 0}),
            configuration("state-full"),
        ),
    ] {
        assert_eq!(died_of(&done(&server, id, "p", act).await), expected, "{id}");
    }
    assert_eq!(said(&done(&server, "6", "p", set("k".into(), 2048 - 17)).await), "set");
    let view = server.api.connection("p").await.state_kept.unwrap();
    assert_eq!((view.bytes_max, view.size.unwrap().bytes), (2048, 2048));
}

#[tokio::test]
async fn a_state_is_counted_against_the_memory_of_the_call() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let small = "[state]\nbytes_max = 1048576\n[policy]\nmemory_bytes = 2097152\n";
    server.api.apply(&probe("p", &target, &format!("{small}{QUICK}"))).await;
    // What the guest itself has, and a megabyte more.
    let fill = json!({"do": "state-fill", "keys": 15, "bytes": 65_000});
    let call = done(&server, "1", "p", fill).await;
    let end = call.attempts.last().unwrap().ended.as_ref().unwrap();
    assert!(
        end.usage.memory_bytes > 15 * 65_000 + 1024 * 1024 - 65_536,
        "{:?}",
        end.usage
    );
}

#[tokio::test]
async fn an_attempt_whose_state_is_cleared_under_its_hands_is_made_again_on_the_empty_one() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&probe("p", &target, &format!("{GRANTED}{QUICK}")))
        .await;
    done(&server, "1", "p", json!({"do": "state-set", "key": "n", "value": "41"})).await;
    let accepted = server
        .api
        .send_event("2", "test.p", json!({"do": "state-count", "key": "n"}))
        .await;
    let counted = server
        .api
        .wait_delivered(accepted.accepted[0].correlation_id.as_str())
        .await;
    assert_eq!(said(&counted), "42");

    // This one reads, then waits for the upstream; meanwhile the state goes.
    let search = json!({"do": "count-and-call", "key": "n"});
    let accepted = server.api.send_event("3", "test.p", search).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    target.wait_for(1).await;
    let cleared = server
        .api
        .request(Method::DELETE, "/v1/connections/p/state")
        .send()
        .await
        .unwrap();
    assert!(cleared.status().is_success());
    target.release_one();
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(said(&delivered), "1");
    assert_eq!(delivered.attempts.len(), 2);
    let first = delivered.attempts[0].ended.as_ref().unwrap();
    let failure = first.failure.as_ref().unwrap();
    assert_eq!(failure.code.as_deref(), Some("state-changed"));
    assert!(matches!(first.outcome, Outcome::Retry { charged: false, .. }));
    let keys: Vec<_> = target
        .asked()
        .iter()
        .map(|asked| asked.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_connection_deleted_under_an_attempt_leaves_no_state_for_the_next_of_its_name() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    let file = probe("p", &target, &format!("{GRANTED}{QUICK}"));
    server.api.apply(&file).await;
    let accepted = server
        .api
        .send_event("1", "test.p", json!({"do": "count-and-call", "key": "n"}))
        .await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    target.wait_for(1).await;
    let path = "/v1/connections/p?dead_letter=true";
    let deleted = server.api.request(Method::DELETE, path).send().await.unwrap();
    assert!(deleted.status().is_success());
    target.release_one();
    // It was delivered, and is said so; what it set is nobody's.
    assert_eq!(said(&server.api.wait_delivered(&correlation).await), "1");
    // Its name is free once that is counted, a moment after it is seen.
    wait::until("the name to be free", || async {
        let applied = server.api.request(Method::POST, "/v1/connections").body(file.clone());
        let applied = applied.send().await.unwrap();
        applied.status().is_success().then_some(())
    })
    .await;
    assert_eq!(get(&server, "2", "n").await, "nothing");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_never_taken_for_an_empty_one_and_a_person_can_give_it_up() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server
        .api
        .apply(&probe("p", &target, &format!("{GRANTED}{QUICK}")))
        .await;
    done(
        &server,
        "1",
        "p",
        json!({"do": "state-set", "key": "k", "value": "kept"}),
    )
    .await;
    let (_, _, setup) = server.stop().await;
    {
        let store = Store::open(&OpenOptions::new(setup.data())).unwrap();
        let content = Key::of(Keyspace::ConnectorState).text("default").text("p").bytes(b"d");
        let mut batch = Batch::new();
        batch.delete(content);
        store.commit(batch).await.unwrap();
    }
    let server = setup.start().await;
    let dead = done(&server, "2", "p", json!({"do": "state-count", "key": "n"})).await;
    assert_eq!(
        died_of(&dead),
        (FailureClass::Configuration, "state-unreadable".to_owned())
    );
    let message = dead.delivery.last_failure.unwrap().message;
    assert!(
        message.ends_with("give it up with cofferdam connection state clear p"),
        "{message}"
    );
    let cleared = server
        .api
        .request(Method::DELETE, "/v1/connections/p/state")
        .send()
        .await
        .unwrap();
    assert!(cleared.status().is_success());
    assert_eq!(get(&server, "3", "k").await, "nothing");
}
