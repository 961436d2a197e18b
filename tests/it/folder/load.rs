//! Deliveries under way while the code behind them is replaced: nothing is lost, nothing is done twice by it, and a kill in the
//! middle leaves one version or the other.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use cofferdam_domain::Digest;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Answer, Setup, Upstream, wait};

use super::{put, runs, send, variant};
use crate::connections::probe;

#[tokio::test]
async fn an_attempt_under_way_keeps_the_code_that_it_began_with_and_the_next_one_has_the_other() {
    let target = Upstream::start([Answer::held()], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let first = fs::read(test_guest("probe")).unwrap();
    let held = send(&server, "1", "p").await;
    target.wait_for(1).await;
    let second = variant(&test_guest("probe"), "second");
    put(&server, "probe.wasm", &second);
    runs(&server, "p", &second).await;
    let next = send(&server, "2", "p").await;
    let next = server.api.wait_delivered(&next).await;
    target.release();
    let held = server.api.wait_delivered(&held).await;
    let ran = |attempts: &[cofferdam_domain::Attempt]| {
        assert_eq!(attempts.len(), 1);
        attempts[0].ended.as_ref().unwrap().connector.clone().unwrap().digest
    };
    assert_eq!(ran(&held.attempts), Digest::of(&first));
    assert_eq!(ran(&next.attempts), Digest::of(&second));
}

#[tokio::test]
async fn code_that_is_replaced_under_load_loses_nothing_and_does_nothing_twice() {
    const ROUNDS: usize = 5;
    /// Sent by a round once its version runs.
    const AFTER: usize = 5;
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let mut versions = vec![Digest::of(&fs::read(test_guest("probe")).unwrap())];
    let mut sent = vec![send(&server, "first", "p").await];
    server.api.wait_delivered(&sent[0]).await;
    // Events never stop; how many it takes until a version runs is the machine's business.
    let mut every = tokio::time::interval(Duration::from_millis(10));
    for round in 0..ROUNDS {
        let next = variant(&test_guest("probe"), &format!("v{round}"));
        put(&server, "probe.wasm", &next);
        versions.push(Digest::of(&next));
        let began = Instant::now();
        let mut after = 0;
        while after < AFTER {
            every.tick().await;
            assert!(began.elapsed() < wait::BOUND, "version {round} does not run");
            if server.api.connection("p").await.runs.digest == versions.last().copied() {
                after += 1;
            }
            sent.push(send(&server, &format!("{round}-{}", sent.len()), "p").await);
        }
        // Sent while it ran, and nothing else is there yet that could run.
        server.api.wait_delivered(sent.last().unwrap()).await;
    }
    let mut ran = BTreeSet::new();
    for correlation in &sent {
        let delivered = server.api.wait_delivered(correlation).await;
        assert_eq!(delivered.attempts.len(), 1);
        ran.extend(
            delivered.attempts[0]
                .ended
                .as_ref()
                .unwrap()
                .connector
                .as_ref()
                .map(|ran| ran.digest),
        );
    }
    assert_eq!(target.asked().len(), sent.len());
    assert_eq!(ran, BTreeSet::from_iter(versions), "each of them ran");
}

#[tokio::test]
async fn a_kill_while_code_is_replaced_leaves_one_version_or_the_other() {
    let target = Upstream::start([], Answer::status(200)).await;
    let server = Setup::new().plugin(&test_guest("probe")).start().await;
    server.api.apply(&probe("p", &target, "")).await;
    let mut setup = server.kill().await;
    let mut before = Digest::of(&fs::read(test_guest("probe")).unwrap());
    for round in 0..6 {
        let server = setup.start().await;
        let next = variant(&test_guest("probe"), &format!("round{round}"));
        put(&server, "probe.wasm", &next);
        // Later each time: while it settles, compiles, is kept, is committed.
        for asked in 0..round * 4 {
            send(&server, &format!("{round}-{asked}"), "p").await;
        }
        let server = server.kill().await.start().await;
        let view = server.api.connection("p").await;
        let ran = view.runs.digest.unwrap();
        assert!([before, Digest::of(&next)].contains(&ran), "round {round}");
        let view = runs(&server, "p", &next).await;
        assert_eq!(view.runs.waiting, None);
        let sent = send(&server, &format!("{round}-last"), "p").await;
        server.api.wait_delivered(&sent).await;
        before = Digest::of(&next);
        setup = server.kill().await;
    }
}
