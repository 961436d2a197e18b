//! What a sender of large bodies costs callers with small ones: a group of commits is one fsync for everybody in it.
//!
//! Measured in turns, alone and beside it, since a disk's speed changes by the minute; the ratio is the median of the rounds'.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam_queue::{Queue as _, StoreQueue};
use cofferdam_store::Engine;

use super::accept::per_second;
use super::bed::{body, connection, now, open_queue, owed};
use crate::report::{Report, median, quantile};

const ROUNDS: usize = 5;

/// Callers with small bodies.
const CALLERS: usize = 8;

const LARGE_BYTES: usize = 1024 * 1024;

/// How long each half of a round is watched.
const SPAN: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Bed {
    queue: StoreQueue,
    numbers: Arc<AtomicU64>,
}

impl Bed {
    /// Accepts one event after the other; the latencies in milliseconds.
    async fn send(self, body: Vec<u8>, began: Instant) -> Vec<f64> {
        let name = connection("bench");
        let mut latencies = Vec::new();
        while began.elapsed() < SPAN {
            let accept = owed(&name, self.numbers.fetch_add(1, Ordering::Relaxed), &body);
            let asked = Instant::now();
            self.queue.accept(vec![accept], now()).await.expect("the store works");
            latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        latencies
    }

    /// Small events a second with their latencies, and large ones a second, with this many senders of them.
    async fn half(&self, senders: usize) -> (f64, Vec<f64>, f64) {
        let began = Instant::now();
        let (mut small, mut large) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
        for _ in 0..CALLERS {
            small.spawn(self.clone().send(body().to_vec(), began));
        }
        for _ in 0..senders {
            large.spawn(self.clone().send(vec![7; LARGE_BYTES], began));
        }
        let (small, large) = (small.join_all().await.concat(), large.join_all().await.concat());
        let took = began.elapsed();
        (
            per_second(small.len() as u64, took),
            small,
            per_second(large.len() as u64, took),
        )
    }
}

pub(super) async fn measure(report: &mut Report, engine: Engine) {
    eprintln!("  small events beside a sender of 1 MiB bodies (about 20 s)");
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let bed = Bed {
        queue: open_queue(dir.path(), engine).await,
        numbers: Arc::default(),
    };
    let (mut kept, mut sent, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, _, _) = bed.half(0).await;
        let (beside, latencies, large) = bed.half(1).await;
        kept.push(beside / alone);
        sent.push(large);
        waits.extend(latencies);
    }
    waits.sort_by(f64::total_cmp);
    report.row(
        "small_kept_beside_large",
        median(kept),
        "ratio",
        "8 callers with 1 KiB each, beside one that sends 1 MiB without pause: their rate against that without it",
    );
    report.row("small_p99_ms_beside_large", quantile(&waits, 0.99), "ms", "");
    report.row(
        "large_per_s",
        median(sent),
        "events/s",
        "what the sender of 1 MiB bodies gets through meanwhile",
    );
}
