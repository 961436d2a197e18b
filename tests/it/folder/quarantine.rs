//! Quarantine: a version that keeps faulting for a connection gives way to the last one that did well.

use std::fs;

use cofferdam_domain::{DeliveryState, Digest};
use cofferdam_server::admin::views::{ConnectionView, Health};
use cofferdam_server::admin::{ConnectorVersions, DecisionKind, DecisionsView, Why};
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Running, Setup, Upstream, wait};
use serde_json::json;

use super::{asking_more, patched, put, runs, variant};
use crate::connections::{QUICK, probe};

/// A version of the probe that panics where the other one does well.
fn faulty() -> Vec<u8> {
    let good = fs::read(test_guest("probe")).unwrap();
    patched(&good, "this version does well", "this version does evil")
}

async fn send(server: &Running, id: &str, act: &str) -> String {
    let sent = server.api.send_event(id, "test.p", json!({ "do": act })).await;
    sent.accepted[0].correlation_id.to_string()
}

/// A server whose connection has delivered by the first version.
async fn proven(target: &Upstream) -> Running {
    let setup = Setup::new().plugin(&test_guest("probe"));
    let server = setup
        .config("\n[plugins]\nsettle_ms = 20\nquarantine_faults = 3\n")
        .start()
        .await;
    server.api.apply(&probe("p", target, QUICK)).await;
    let sent = send(&server, "first", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
    server
}

async fn quarantined(server: &Running) -> ConnectionView {
    wait::until("the quarantine", || async {
        let view = server.api.connection("p").await;
        (!view.runs.quarantined.is_empty()).then_some(view)
    })
    .await
}

#[tokio::test]
async fn a_version_that_keeps_faulting_gives_way_to_the_last_good_one_and_burns_no_delivery() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = proven(&target).await;
    let good = fs::read(test_guest("probe")).unwrap();
    let bad = faulty();
    put(&server, "probe.wasm", &bad);
    runs(&server, "p", &bad).await;
    // A policy that gives a delivery up after two faults, and three that have to come together.
    let sent = send(&server, "1", "call-unless-faulty").await;
    let delivered = server.api.wait_delivered(&sent).await;
    assert_eq!(
        delivered.attempts.len(),
        4,
        "three by the faulty version, none of them charged"
    );
    let ran: Vec<_> = delivered
        .attempts
        .iter()
        .map(|attempt| attempt.ended.as_ref().unwrap().connector.clone().unwrap().digest)
        .collect();
    assert_eq!(
        ran,
        [Digest::of(&bad), Digest::of(&bad), Digest::of(&bad), Digest::of(&good)]
    );
    let view = quarantined(&server).await;
    assert_eq!(view.runs.digest, Some(Digest::of(&good)));
    assert_eq!(view.runs.waiting.as_ref().unwrap().why, Why::Quarantined);
    let kept = &view.runs.quarantined[0];
    assert_eq!(
        (kept.digest, kept.instead, kept.faults),
        (Digest::of(&bad), Digest::of(&good), 3)
    );
    assert!(kept.reason.contains("faulty"), "{}", kept.reason);
    assert_eq!(view.health, Health::Attention);
    let told: DecisionsView = server.api.get("/v1/grants?connection=p&limit=1").await;
    assert_eq!(
        (told.decisions[0].kind, told.decisions[0].by.as_str()),
        (DecisionKind::Quarantined, "the host")
    );

    let server = server.kill().await.start().await;
    let sent = send(&server, "2", "call-unless-faulty").await;
    let delivered = server.api.wait_delivered(&sent).await;
    assert_eq!(delivered.attempts.len(), 1, "it holds over a restart");

    // Granted again it has another go, and fares no better.
    let body = json!({ "digest": Digest::of(&bad) });
    let view: ConnectionView = server.api.post_json("/v1/connections/p/grant", &body).await;
    assert_eq!(
        (view.runs.digest, view.runs.quarantined.len()),
        (Some(Digest::of(&bad)), 0)
    );
    let sent = send(&server, "3", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
    quarantined(&server).await;
    // Another file is another chance.
    let third = variant(&test_guest("probe"), "third");
    put(&server, "probe.wasm", &third);
    runs(&server, "p", &third).await;
    let sent = send(&server, "4", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
}

#[tokio::test]
async fn an_event_that_both_versions_fault_at_makes_them_take_no_turns_and_dies() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = proven(&target).await;
    let good = fs::read(test_guest("probe")).unwrap();
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    let poison = send(&server, "1", "panic").await;
    let dead = server.api.wait_dead(&poison).await;
    let ran: Vec<_> = dead
        .attempts
        .iter()
        .filter_map(|attempt| Some(attempt.ended.as_ref()?.connector.clone()?.digest))
        .collect();
    let switches = ran.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(
        (ran.first(), ran.last()),
        (Some(&Digest::of(&second)), Some(&Digest::of(&good))),
        "{ran:?}"
    );
    assert_eq!(switches, 1, "{ran:?}");
    for number in 0..3 {
        let poison = send(&server, &format!("more-{number}"), "panic").await;
        server.api.wait_dead(&poison).await;
    }
    let view = server.api.connection("p").await;
    assert_eq!(
        view.runs.digest,
        Some(Digest::of(&good)),
        "there is nothing to fall back on any more"
    );
    assert_eq!(view.runs.quarantined.len(), 1);
    let sent = send(&server, "well", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
}

#[tokio::test]
async fn without_a_version_that_did_well_nothing_is_switched() {
    let target = Upstream::start([], Answer::status(200)).await;
    let setup = Setup::new().config("\n[plugins]\nsettle_ms = 20\nquarantine_faults = 2\n");
    let server = setup.start().await;
    let bad = faulty();
    put(&server, "probe.wasm", &bad);
    super::folder_is(&server, "the connector", |view| view.connectors.len() == 1).await;
    server.api.apply(&probe("p", &target, QUICK)).await;
    for number in 0..3 {
        let sent = send(&server, &number.to_string(), "call-unless-faulty").await;
        server.api.wait_dead(&sent).await;
    }
    let view = server.api.connection("p").await;
    assert_eq!(
        (view.runs.digest, view.runs.quarantined.len()),
        (Some(Digest::of(&bad)), 0)
    );
}

#[tokio::test]
async fn a_request_that_a_version_on_probation_cannot_read_waits_and_each_reading_counts_once_for_the_version_that_ran()
{
    let setup = Setup::new().plugin(&test_guest("inbox"));
    let server = setup
        .config("\n[plugins]\nsettle_ms = 20\nquarantine_faults = 3\n")
        .start()
        .await;
    let file =
        format!("name = \"in\"\nconnector = \"inbox\"\n[inbound]\nscheme = \"none\"\n[policy]\ncpu_ms = 200\n{QUICK}");
    server.api.apply(&file).await;
    let post = async |body: &'static str| {
        let sent = server.api.public("/hooks/in").body(body).send().await;
        sent.unwrap().status()
    };
    assert_eq!(post("{}").await, 202);
    let good = Digest::of(&fs::read(test_guest("inbox")).unwrap());
    let second = variant(&test_guest("inbox"), "second");
    put(&server, "inbox.wasm", &second);
    runs(&server, "in", &second).await;
    // The first of three faults; the version that did well cannot read it either.
    assert_eq!(post("loop").await, 202);
    let letter = wait::until("the dead letter", || async { server.api.dead_letters().await.pop() }).await;
    let again = server.api.delivery(letter.delivery.id).await;
    assert!(matches!(again.delivery.state, DeliveryState::Dead { .. }));
    let ran: Vec<_> = again
        .attempts
        .iter()
        .filter_map(|attempt| Some(attempt.ended.as_ref()?.connector.clone()?.digest))
        .collect();
    let second = Digest::of(&second);
    assert!(ran.starts_with(&[second, second, good]), "two more are three: {ran:?}");
    let view = server.api.connection("in").await;
    assert_eq!((view.runs.digest, view.runs.quarantined[0].faults), (Some(good), 3));
}

#[tokio::test]
async fn a_version_that_waits_on_top_of_one_in_quarantine_leaves_the_last_good_one_running() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = proven(&target).await;
    let good = fs::read(test_guest("probe")).unwrap();
    // One that nobody has seen deliver lies between.
    for bytes in [variant(&test_guest("probe"), "between"), faulty()] {
        put(&server, "probe.wasm", &bytes);
        runs(&server, "p", &bytes).await;
    }
    let sent = send(&server, "1", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
    quarantined(&server).await;
    let more = asking_more();
    put(&server, "probe.wasm", &more);
    let view = wait::until("the version to wait", || async {
        let view = server.api.connection("p").await;
        let waiting = view.runs.waiting.as_ref()?;
        (waiting.digest == Digest::of(&more)).then_some(view)
    })
    .await;
    assert_eq!(view.runs.waiting.unwrap().why, Why::AsksForMore);
    assert_eq!(view.runs.digest, Some(Digest::of(&good)));

    // Nor does a file that is applied again end the quarantine.
    put(&server, "probe.wasm", &faulty());
    wait::until("the faulty version to be the current one", || async {
        let waiting = server.api.connection("p").await.runs.waiting?;
        (waiting.why == Why::Quarantined).then_some(())
    })
    .await;
    let view = server.api.apply(&probe("p", &target, "")).await;
    assert_eq!(
        (view.runs.digest, view.runs.quarantined.len()),
        (Some(Digest::of(&good)), 1)
    );
    assert_eq!(view.runs.waiting.unwrap().why, Why::Quarantined);
}

#[tokio::test]
async fn quarantine_beside_a_rollback_goes_further_back_and_never_to_what_was_rolled_back_from() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = proven(&target).await;
    let good = fs::read(test_guest("probe")).unwrap();
    let (bad, newer) = (faulty(), variant(&test_guest("probe"), "newer"));
    for bytes in [&bad, &newer] {
        put(&server, "probe.wasm", bytes);
        runs(&server, "p", bytes).await;
    }
    // Two, so that the first one has been taken note of.
    for id in ["1", "one-more"] {
        let sent = send(&server, id, "call-unless-faulty").await;
        server.api.wait_delivered(&sent).await;
    }
    let body = json!({ "digest": Digest::of(&bad) });
    let _: ConnectorVersions = server.api.post_json("/v1/connectors/probe/rollback", &body).await;
    let sent = send(&server, "2", "call-unless-faulty").await;
    server.api.wait_delivered(&sent).await;
    let view = quarantined(&server).await;
    assert_eq!(
        (view.runs.digest, view.runs.quarantined[0].instead),
        (Some(Digest::of(&good)), Digest::of(&good)),
        "not the newer one, which has delivered last"
    );
}
