//! The process dies, is stopped, and starts again.

use cofferdam_domain::{DeliveryState, Outcome};
use cofferdam_tests::{Answer, Upstream, wait};
use serde_json::json;

use crate::connections::{probe, probe_server};

#[tokio::test]
async fn killed_between_accept_and_delivery_the_event_is_delivered_after_the_restart() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    // Off, so that nothing can be delivered before the kill.
    server.api.post("/v1/connections/p/disable").await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    let server = server.kill().await.start().await;
    assert!(target.asked().is_empty());
    server.api.post("/v1/connections/p/enable").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(delivered.attempts.len(), 1);
    assert_eq!(target.asked().len(), 1);
}

#[tokio::test]
async fn killed_in_an_attempt_the_delivery_is_tried_again_under_the_same_key_and_the_gap_is_recorded() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    let accepted = server
        .api
        .send_event("1", "test.p", json!({"do": "call", "method": "POST", "body": "x"}))
        .await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    target.wait_for(1).await;
    let server = server.kill().await.start().await;
    let delivered = server.api.wait_delivered(&correlation).await;
    assert_eq!(delivered.attempts.len(), 2);
    assert!(delivered.attempts[0].ended.is_none(), "the first attempt has no end");
    assert_eq!(
        delivered.attempts[1].ended.as_ref().unwrap().outcome,
        Outcome::Delivered
    );
    let keys: Vec<_> = target
        .asked()
        .iter()
        .map(|asked| asked.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn everything_acknowledged_before_a_kill_under_load_is_delivered_after_it() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let api = server.api.clone();
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            for at in 0.. {
                let event = json!({"specversion": "1.0", "id": format!("{sender}-{at}"), "source": "/load", "type": "test.p", "data": {"do": "call"}});
                let request = api.public("/v1/events").bearer_auth(&api.token);
                let request = request.header("content-type", "application/cloudevents+json").body(event.to_string());
                let Ok(answer) = request.send().await else { break };
                if answer.status() != 202 {
                    break;
                }
                let Ok(text) = answer.text().await else { break };
                let accepted: cofferdam_server::ingest::EventsAccepted = serde_json::from_str(&text).unwrap();
                acknowledged.push(accepted.accepted[0].correlation_id.to_string());
            }
            acknowledged
        });
    }
    target.wait_for(40).await;
    let setup = server.kill().await;
    let mut acknowledged = Vec::new();
    while let Some(sent) = senders.join_next().await {
        acknowledged.extend(sent.unwrap());
    }
    assert!(acknowledged.len() >= 40, "{}", acknowledged.len());
    let server = setup.start().await;
    for correlation in &acknowledged {
        server.api.wait_delivered(correlation).await;
    }
}

#[tokio::test]
async fn a_signal_to_stop_lets_the_attempt_under_way_settle() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = probe_server().await;
    server.api.apply(&probe("p", &target, "")).await;
    let accepted = server.api.send_event("1", "test.p", json!({"do": "call"})).await;
    let correlation = accepted.accepted[0].correlation_id.to_string();
    target.wait_for(1).await;
    server.terminate();
    wait::until("the server to say that it stops", || async {
        server.log().contains("stopping").then_some(())
    })
    .await;
    target.release();
    let (code, log, setup) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let server = setup.start().await;
    let trace = server.api.trace(&correlation).await;
    let delivery = &trace.events[0].deliveries[0];
    assert!(
        matches!(delivery.delivery.state, DeliveryState::Delivered { .. }),
        "{:?}",
        delivery.delivery.state
    );
    assert_eq!(target.asked().len(), 1);
}
