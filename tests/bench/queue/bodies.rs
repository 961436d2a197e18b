//! What it costs to seal bodies: the same events through a queue that seals and one that does not, in turns, once on a disk
//! and once in memory, where nothing but the work itself is left.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::Outcome;
use cofferdam_queue::{Bodies, Queue as _, StoreQueue};
use cofferdam_store::{Engine, Store};
use cofferdam_vault::{KeySource, Vault, VaultKey};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::accept::per_second;
use super::bed::{BODY_BYTES, connection, lease, now, open_store, owed, settle};
use crate::report::{Report, median};

const ROUNDS: usize = 5;

/// How long each kind is watched in a round, on a disk.
const SPAN: Duration = Duration::from_secs(1);

/// Events of each kind in a round in memory.
const EVENTS: u64 = 1_000;

/// A body of several records.
const LARGE_BYTES: usize = 64 * 1024;

/// Which queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Sealed,
}

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    let small = on_disk(engine, 64, BODY_BYTES).await;
    report.row(
        "accept_sealed_vs_plain",
        median(small),
        "ratio",
        "events/s with sealing against without, round by round: 64 producers, 200 B, durable",
    );
    let large = on_disk(engine, 8, LARGE_BYTES).await;
    report.row(
        "accept_sealed_vs_plain_64k",
        median(large),
        "ratio",
        "the same with 8 producers and bodies of 64 KiB",
    );
    for (bytes, keys) in [
        (BODY_BYTES, ["seal_us", "open_us"]),
        (LARGE_BYTES, ["seal_us_64k", "open_us_64k"]),
    ] {
        let (mut sealing, mut opening) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let plain = in_memory(Kind::Plain, bytes).await;
            let sealed = in_memory(Kind::Sealed, bytes).await;
            sealing.push(sealed.accept_us - plain.accept_us);
            opening.push(sealed.lease_us - plain.lease_us);
        }
        let [seal, open] = keys;
        report.row(
            seal,
            median(sealing),
            "us",
            "more for each event that is accepted, store in memory",
        );
        report.row(
            open,
            median(opening),
            "us",
            "more for each event that is leased, store in memory",
        );
    }
}

/// Rates with sealing, each as a part of the rate without.
async fn on_disk(engine: Engine, producers: usize, bytes: usize) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let queues = [
        open(Kind::Plain, &dir.path().join("plain"), engine).await,
        open(Kind::Sealed, &dir.path().join("sealed"), engine).await,
    ];
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let mut rates = [0.0; 2];
        // Who goes first changes, so that what a round leaves to the disk is no one's burden alone.
        for turn in 0..2 {
            let which = (round + turn) % 2;
            rates[which] = accepted_per_s(&queues[which], producers, bytes).await;
        }
        ratios.push(rates[1] / rates[0]);
    }
    ratios
}

async fn open(kind: Kind, dir: &Path, engine: Engine) -> StoreQueue {
    over(kind, open_store(dir, engine)).await
}

async fn over(kind: Kind, store: Store) -> StoreQueue {
    let bodies = match kind {
        Kind::Plain => Bodies::Plain,
        Kind::Sealed => {
            let key = VaultKey::load(KeySource::Env("5a".repeat(32))).expect("it is a key");
            let vault = Vault::open(store.clone(), key).await.expect("the store is new");
            Bodies::Sealed(Arc::new(vault.body_keys()))
        }
    };
    StoreQueue::open_with(store, bodies, now(), StdRng::from_rng(&mut rand::rng()))
        .await
        .expect("the store is new")
}

async fn accepted_per_s(queue: &StoreQueue, producers: usize, bytes: usize) -> f64 {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..producers {
        let queue = queue.clone();
        tasks.spawn(async move {
            let (name, body) = (connection("bench"), vec![b'b'; bytes]);
            let mut events = 0;
            while began.elapsed() < SPAN {
                let accept = owed(&name, rand::random(), &body);
                queue.accept(vec![accept], now()).await.expect("the store works");
                events += 1;
            }
            events
        });
    }
    let events = tasks.join_all().await.into_iter().sum();
    per_second(events, began.elapsed())
}

/// Microseconds for each event.
struct Took {
    accept_us: f64,
    lease_us: f64,
}

async fn in_memory(kind: Kind, bytes: usize) -> Took {
    let queue = over(kind, Store::in_memory()).await;
    let (name, body) = (connection("bench"), vec![b'b'; bytes]);
    let events = if bytes > BODY_BYTES { EVENTS / 8 } else { EVENTS };
    let accepts: Vec<_> = (0..events).map(|number| owed(&name, number, &body)).collect();
    let began = Instant::now();
    for accept in accepts {
        queue.accept(vec![accept], now()).await.expect("it is in memory");
    }
    let accept_us = 1e6 / per_second(events, began.elapsed());
    let (mut leasing, mut leases) = (Duration::ZERO, 0);
    while leases < events {
        let began = Instant::now();
        let leased = lease(&queue, &name, 64).await;
        leasing += began.elapsed();
        leases += leased.len() as u64;
        for leased in leased {
            settle(&queue, leased, Outcome::Delivered).await;
        }
    }
    Took {
        accept_us,
        lease_us: 1e6 / per_second(events, leasing),
    }
}
