//! Replaying 100,000 dead letters.

use std::time::Instant;

use cofferdam_domain::Outcome;
use cofferdam_queue::{DeadFilter, PAGE_MAX, Queue as _};
use cofferdam_store::Engine;

use super::accept::per_second;
use super::bed::{connection, lease, now, open_queue, seed, settle, workspace};
use crate::report::Report;

const LETTERS: u64 = 100_000;

pub(super) async fn measure(report: &mut Report, engine: Engine) {
    eprintln!("  replaying 100,000 dead letters (about 60 s)");
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let queue = open_queue(dir.path(), engine).await;
    let name = connection("dead");
    seed(&queue, &name, 0..LETTERS).await;
    loop {
        let leased = lease(&queue, &name, 64).await;
        if leased.is_empty() {
            break;
        }
        let mut settles = tokio::task::JoinSet::new();
        for leased in leased {
            let queue = queue.clone();
            settles.spawn(async move { settle(&queue, leased, Outcome::Dead).await });
        }
        settles.join_all().await;
    }
    assert_eq!(queue.depth(&workspace(), &name).dead, LETTERS);
    let began = Instant::now();
    let (filter, mut cursor) = (DeadFilter::default(), None);
    loop {
        let page = queue
            .dead_letters(&workspace(), &filter, PAGE_MAX, cursor)
            .expect("the store is sound");
        let mut replays = tokio::task::JoinSet::new();
        for letter in page.items {
            let queue = queue.clone();
            replays.spawn(async move { queue.replay(&workspace(), letter.id, now(), "bench").await });
        }
        for replayed in replays.join_all().await {
            replayed.expect("it is a dead letter");
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let took = began.elapsed();
    assert_eq!(queue.depth(&workspace(), &name).pending, LETTERS);
    report.row(
        "replay_100k_s",
        took.as_secs_f64(),
        "s",
        "100,000 dead letters replayed, durably",
    );
    report.row("replay_per_s", per_second(LETTERS, took), "letters/s", "");
}
