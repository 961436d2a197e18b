//! A guest that computes is its own trouble only: beside one that never ends, others are delivered in time, whether they compute
//! a lot themselves or next to nothing, and webhooks are answered.

use cofferdam_domain::{DeliveryState, FailureClass};
use cofferdam_host::EngineUse;
use cofferdam_server::ingest::EventsAccepted;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, api, wait};
use serde_json::{Value, json};

use crate::connections::{probe, probe_server};

/// As many calls at once as the server lets it have, each of which is ended by its budget and not tried again, and a breaker
/// that never opens.
const LOOPS: &str = "[policy]\nconcurrency = 64\ncpu_ms = 150\n[policy.breaker]\nfailures = 0\n[policy.retry]\n\
                     schedule_ms = [0]\nmax_age_ms = 60000\nfaults_max = 1\n";

const LOOPING: usize = 40;

async fn send(server: &Running, to: &str, count: usize, data: Value) -> Vec<String> {
    let mut correlations = Vec::new();
    for number in 0..count {
        let accepted = server
            .api
            .send_event(&format!("{to}-{number}"), &format!("test.{to}"), data.clone())
            .await;
        correlations.push(accepted.accepted[0].correlation_id.to_string());
    }
    correlations
}

#[tokio::test]
async fn beside_a_lane_that_loops_nobody_else_faults_and_nobody_else_waits_for_its_end() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("loops", &target, LOOPS)).await;
    server.api.apply(&probe("heavy", &target, "")).await;
    server.api.apply(&probe("light", &target, "")).await;

    let loops = send(&server, "loops", LOOPING, json!({"do": "loop"})).await;
    let work = json!({"do": "work", "turns": 30_000_000, "path": "/heavy"});
    let heavy = send(&server, "heavy", 8, work).await;
    let light = send(&server, "light", 20, json!({"do": "call", "path": "/light"})).await;
    for correlation in light.iter().chain(&heavy) {
        let delivered = server.api.wait_delivered(correlation).await;
        assert_eq!(delivered.attempts.len(), 1, "no attempt of it failed");
    }
    let depth = server.api.connection("loops").await.depth;
    assert!(
        depth.in_flight + depth.pending > 0,
        "what they had to wait for was not the end of all {LOOPING} that loop"
    );
    for correlation in &loops {
        let ended = |state: &DeliveryState| matches!(state, DeliveryState::Dead { .. });
        let dead = server.api.wait_for_state(correlation, ended).await;
        let failure = dead.delivery.last_failure.unwrap();
        assert_eq!(
            (failure.class, failure.code.as_deref()),
            (FailureClass::ConnectorFault, Some("cpu")),
            "{}",
            failure.message
        );
    }
}

#[tokio::test]
async fn more_calls_that_compute_than_there_are_slots_wait_and_none_fails() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new()
        .plugin(&test_guest("probe"))
        .config("\n[host]\ncalls = 4\n");
    let server = setup.start().await;
    let lanes = ["a", "b", "c", "d", "e", "f"];
    for lane in lanes {
        server
            .api
            .apply(&probe(lane, &target, "[policy]\nconcurrency = 64\n"))
            .await;
    }
    let mut sent = Vec::new();
    for lane in lanes {
        let work = json!({"do": "work", "turns": 5_000_000});
        sent.extend(send(&server, lane, 6, work).await);
    }
    for correlation in sent {
        assert_eq!(server.api.wait_delivered(&correlation).await.attempts.len(), 1);
    }
    let used: EngineUse = server.api.get("/v1/host").await;
    assert_eq!((used.calls.max, used.compute.waiting), (4, 0), "{used:?}");
    assert!(
        used.compute.moved > 0 && used.compute.turns >= used.compute.moved,
        "{used:?}"
    );
}

#[tokio::test]
async fn memory_that_calls_have_taken_is_given_back_when_they_are_over() {
    const CALLS: usize = 12;
    const HELD: u64 = 24 * 1024 * 1024;
    let target = Upstream::start([], Answer::held()).await;
    let server = probe_server().await;
    let policy = format!("[policy]\nconcurrency = {CALLS}\n");
    server.api.apply(&probe("p", &target, &policy)).await;
    let before = server.resident_bytes();
    let sent = send(&server, "p", CALLS, json!({"do": "hold", "bytes": HELD})).await;
    target.wait_for(CALLS).await;
    let most = server.resident_bytes();
    assert!(most - before > CALLS as u64 * HELD * 9 / 10, "{before} {most}");
    target.release();
    for correlation in sent {
        server.api.wait_delivered(&correlation).await;
    }
    wait::until("the memory's return", || async {
        let after = server.resident_bytes();
        (after.saturating_sub(before) < (most - before) / 3).then_some(())
    })
    .await;
    let used: EngineUse = server.api.get("/v1/host").await;
    assert_eq!(used.pool.map(|pool| pool.instances), Some(0), "{used:?}");
}

#[tokio::test]
async fn a_webhook_does_not_wait_behind_those_of_a_connector_that_never_answers() {
    let server = Setup::new().plugin(&test_guest("inbox")).start().await;
    for (name, policy) in [("loops", "[policy]\ncpu_ms = 300\n"), ("reads", "")] {
        let file = format!("name = \"{name}\"\nconnector = \"inbox\"\n[inbound]\nscheme = \"none\"\n{policy}");
        server.api.apply(&file).await;
    }
    let post = |name: &str, body: &'static str| server.api.public(&format!("/hooks/{name}")).body(body).send();
    let mut looping = tokio::task::JoinSet::new();
    for _ in 0..LOOPING {
        looping.spawn(post("loops", "loop"));
    }
    for number in 0..5 {
        let accepted: EventsAccepted = api::read(post("reads", "read").await.unwrap()).await;
        let trace = server.api.trace(accepted.accepted[0].correlation_id.as_str()).await;
        assert_eq!(
            trace.events[0].event.kind, "test.inbox",
            "request {number} was read at once"
        );
    }
    let (mut kept, mut sent_away) = (0, 0);
    while let Some(answer) = looping.join_next().await {
        let answer = answer.unwrap().unwrap();
        if answer.status() == 503 {
            sent_away += 1;
        } else {
            let accepted: EventsAccepted = api::read(answer).await;
            kept += accepted.accepted.len();
        }
    }
    assert_eq!(kept + sent_away, LOOPING);
    assert_eq!(
        server.api.dead_letters().await.len(),
        kept,
        "what was acknowledged is kept, and those that found no place in time were told so"
    );
    assert!(kept > 0, "{sent_away} of {LOOPING} were sent away");
}
