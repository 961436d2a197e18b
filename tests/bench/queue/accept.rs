//! Accepting, beside what the device and the store alone can do with the same bytes.
//!
//! The three are measured in turns, since a disk's speed changes by the minute; the ratio is the median of the rounds' ratios.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam_domain::Outcome;
use cofferdam_queue::{Queue as _, StoreQueue};
use cofferdam_store::{Batch, Engine, Scan, Store};

use super::bed::{body, connection, lease, now, open_queue, open_store, owed, settle, workspace};
use crate::report::{Report, median, quantile};

const ROUNDS: usize = 3;
const FSYNCS: u32 = 500;
const PRODUCERS: [usize; 4] = [1, 8, 64, 256];

/// How long each number of producers is watched in a round.
const SPAN: Duration = Duration::from_secs(3);

/// Events of one commit when the store works alone.
const BATCH_EVENTS: u64 = 64;

#[derive(Default)]
struct Round {
    accepted: Vec<f64>,
    latencies_ms: Vec<f64>,
}

pub(super) async fn measure(report: &mut Report, engine: Engine) {
    eprintln!("  accepting at 1, 8, 64 and 256 producers (about 60 s)");
    let mut fsyncs = Vec::new();
    let mut alone = Vec::new();
    let mut ratios = Vec::new();
    let mut settled = Vec::new();
    let mut rounds: [Round; PRODUCERS.len()] = std::array::from_fn(|_| Round::default());
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        fsyncs.push(fsync_per_s(dir.path()));
        alone.push(store_events_per_s(dir.path(), engine).await);
        let queue = open_queue(&dir.path().join("queue"), engine).await;
        let numbers = Arc::new(AtomicU64::new(0));
        for (round, producers) in rounds.iter_mut().zip(PRODUCERS) {
            let (per_s, latencies) = accept_per_s(&queue, &numbers, producers).await;
            round.accepted.push(per_s);
            round.latencies_ms.extend(latencies);
            if producers == 64 {
                ratios.push(per_s / alone[alone.len() - 1]);
            }
        }
        settled.push(settled_per_s(&queue).await);
    }
    report.row(
        "device_fsync_per_s",
        median(fsyncs),
        "fsyncs/s",
        "the device: 4 KiB written and fsynced, one after the other",
    );
    report.row(
        "store_events_per_s_64",
        median(alone),
        "events/s",
        "the store alone: the records of 64 events in one batch, one fsync each",
    );
    let names = [
        ["accept_per_s_1", "accept_p50_ms_1", "accept_p99_ms_1"],
        ["accept_per_s_8", "accept_p50_ms_8", "accept_p99_ms_8"],
        ["accept_per_s_64", "accept_p50_ms_64", "accept_p99_ms_64"],
        ["accept_per_s_256", "accept_p50_ms_256", "accept_p99_ms_256"],
    ];
    for (mut round, [per_s, p50, p99]) in rounds.into_iter().zip(names) {
        report.row(
            per_s,
            median(round.accepted),
            "events/s",
            "the queue: one event a call, durable, deduplicated, owed to one connection",
        );
        round.latencies_ms.sort_by(f64::total_cmp);
        report.row(p50, quantile(&round.latencies_ms, 0.5), "ms", "");
        report.row(p99, quantile(&round.latencies_ms, 0.99), "ms", "");
    }
    report.row(
        "accept_vs_store_64",
        median(ratios),
        "ratio",
        "64 producers against the store alone, round by round",
    );
    report.row(
        "queue_settled_per_s",
        median(settled),
        "events/s",
        "the queue: leased 64 at a time and settled at once, two durable commits each",
    );
}

/// What the device does, with nothing of ours in the way.
fn fsync_per_s(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("fsync")).expect("the folder is ours");
    let began = Instant::now();
    for _ in 0..FSYNCS {
        file.write_all(&[7; 4096]).expect("there is room");
        file.sync_all().expect("the device works");
    }
    f64::from(FSYNCS) / began.elapsed().as_secs_f64()
}

/// The records that one event leaves in the store, as they are.
async fn records_of_one_event(dir: &Path, engine: Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = open_store(&dir.join("sample"), engine);
    let queue = StoreQueue::open(store.clone(), now(), rand::SeedableRng::seed_from_u64(1))
        .await
        .expect("the store is new");
    let before = store.scan(&Scan::prefix("", usize::MAX)).expect("the store is sound");
    queue
        .accept(vec![owed(&connection("bench"), 0, &body())], now())
        .await
        .expect("the store works");
    let mut records = store.scan(&Scan::prefix("", usize::MAX)).expect("the store is sound");
    records.retain(|record| !before.contains(record));
    records
}

/// The same records, each under a key of its own and with nothing decided about them: one batch for 64 events, one caller.
async fn store_events_per_s(dir: &Path, engine: Engine) -> f64 {
    let records = records_of_one_event(dir, engine).await;
    let store: Store = open_store(&dir.join("alone"), engine);
    let began = Instant::now();
    let mut events = 0;
    while began.elapsed() < SPAN {
        let mut batch = Batch::new();
        for event in events..events + BATCH_EVENTS {
            for (key, value) in &records {
                // The identifier is what differs, and it is the end of a key.
                let (kept, _) = key.split_at(key.len().saturating_sub(8));
                batch.put([kept, &event.to_be_bytes()].concat(), value.as_slice());
            }
        }
        store.commit(batch).await.expect("the store works");
        events += BATCH_EVENTS;
    }
    per_second(events, began.elapsed())
}

async fn accept_per_s(queue: &StoreQueue, numbers: &Arc<AtomicU64>, producers: usize) -> (f64, Vec<f64>) {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..producers {
        let (queue, numbers) = (queue.clone(), Arc::clone(numbers));
        tasks.spawn(async move {
            let (name, body) = (connection("bench"), body());
            let mut latencies = Vec::new();
            while began.elapsed() < SPAN {
                let accept = owed(&name, numbers.fetch_add(1, Ordering::Relaxed), &body);
                let asked = Instant::now();
                let accepted = queue.accept(vec![accept], now()).await.expect("the store works");
                assert!(!accepted[0].duplicate);
                latencies.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            latencies
        });
    }
    let latencies = tasks.join_all().await.concat();
    (per_second(latencies.len() as u64, began.elapsed()), latencies)
}

/// What waits is leased and settled, as fast as it goes.
async fn settled_per_s(queue: &StoreQueue) -> f64 {
    let name = connection("bench");
    let began = Instant::now();
    let mut events = 0;
    while began.elapsed() < SPAN && queue.depth(&workspace(), &name).pending > 0 {
        let leased = lease(queue, &name, 64).await;
        events += leased.len() as u64;
        let mut settles = tokio::task::JoinSet::new();
        for leased in leased {
            let queue = queue.clone();
            settles.spawn(async move { settle(&queue, leased, Outcome::Delivered).await });
        }
        settles.join_all().await;
    }
    per_second(events, began.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
pub(super) fn per_second(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}
