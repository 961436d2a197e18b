//! What waiting deliveries cost: time for each event that passes, memory, and a restart, at 10,000, 100,000 and a million.
//!
//! Each depth is measured in a process of its own, so that memory and caches of one say nothing of the next. A million is
//! also what the real binary is started on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cofferdam_domain::Outcome;
use cofferdam_queue::Queue as _;
use cofferdam_store::Engine;
use cofferdam_tests::Setup;
use cofferdam_tests::artifacts::test_guest;
use serde::{Deserialize, Serialize};

use super::accept::per_second;
use super::bed::{body, connection, lease, now, open_queue, owed, seed, settle, workspace};
use crate::report::{Report, median};

const DEPTHS: [u64; 3] = [10_000, 100_000, 1_000_000];

/// The lane that everything waits in.
pub(super) const DEEP: &str = "deep";

/// Rounds of the measurement at each depth, and events of each: what passes is accepted anew, so the depth stays.
const ROUNDS: u64 = 9;
const EVENTS_PER_ROUND: u64 = 512;
const AT_ONCE: usize = 64;

/// What the process of its own found.
#[derive(Serialize, Deserialize)]
struct Found {
    opened_s: f64,
    us_per_event: f64,
    resident_mib: f64,
}

/// Hands back the set-up with a million waiting deliveries.
pub(super) async fn measure(report: &mut Report, engine: Engine) -> Setup {
    eprintln!("  10,000, 100,000 and 1,000,000 waiting deliveries (about 5 minutes)");
    let setup = prepared(engine).await;
    let data = setup.data();
    let mut found = Vec::new();
    let mut present = 0;
    let mut setup = setup;
    let mut restarts = Vec::new();
    for depth in DEPTHS {
        let queue = open_queue(&data, engine).await;
        let began = Instant::now();
        seed(&queue, &connection(DEEP), present..depth).await;
        eprintln!(
            "    {} more deliveries in {:.0} s",
            depth - present,
            began.elapsed().as_secs_f64()
        );
        present = depth;
        drop(queue);
        if depth == DEPTHS[DEPTHS.len() - 1] {
            // Once as the million was written, and once as a kill leaves it.
            for _ in 0..2 {
                let began = Instant::now();
                let server = setup.start().await;
                restarts.push(began.elapsed().as_secs_f64());
                setup = server.kill().await;
            }
        }
        found.push(in_child(&data, engine));
    }
    let names = [
        ["us_per_event_10k", "resident_10k_mib", "queue_open_10k_s"],
        ["us_per_event_100k", "resident_100k_mib", "queue_open_100k_s"],
        ["us_per_event_1m", "resident_1m_mib", "queue_open_1m_s"],
    ];
    for (found, [cost, resident, opened]) in found.iter().zip(names) {
        report.row(
            cost,
            found.us_per_event,
            "µs",
            "accept, lease and settle of one event, 64 at once, beside so many that wait",
        );
        report.row(
            resident,
            found.resident_mib,
            "MiB",
            "resident memory then, the store's cache included",
        );
        report.row(opened, found.opened_s, "s", "store and queue opened on them");
    }
    report.row(
        "cost_ratio_1m_10k",
        found[2].us_per_event / found[0].us_per_event,
        "ratio",
        "an event's cost beside a million that wait, against 10,000",
    );
    report.row(
        "restart_1m_s",
        restarts.into_iter().fold(0.0, f64::max),
        "s",
        "the real binary from its start to its first answer, a million waiting; the slower of two, one after a kill -9",
    );
    setup
}

/// A data folder whose connections are there, and off.
async fn prepared(engine: Engine) -> Setup {
    let server = Setup::new()
        .plugin(&test_guest("probe"))
        .config(&format!(
            "\n[limits]\npending = 10000000\n\n[store]\nengine = \"{engine}\"\n"
        ))
        .start()
        .await;
    let file = format!(
        "name = \"{DEEP}\"\nconnector = \"probe\"\nsubscribe = [\"test.deep\"]\n[upstreams.target]\nbase_url = \"http://127.0.0.1:9\"\n\
         networks = [\"127.0.0.0/8\"]\nattach = \"none\"\n"
    );
    server.api.apply(&file).await;
    server.api.post(&format!("/v1/connections/{DEEP}/disable")).await;
    server.stop().await.2
}

fn in_child(data: &Path, engine: Engine) -> Found {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--engine", engine.name(), "--queue-cost"])
        .arg(data)
        .output();
    let output = output.expect("this program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the child prints what it found")
}

/// The process of its own.
pub(crate) async fn child(data: PathBuf, engine: Engine) {
    let began = Instant::now();
    let queue = open_queue(&data, engine).await;
    let opened_s = began.elapsed().as_secs_f64();
    let (name, body) = (connection(DEEP), body());
    let mut samples = Vec::new();
    let mut number = u64::from(std::process::id()) << 32;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in (0..EVENTS_PER_ROUND).step_by(AT_ONCE) {
            let leased = lease(&queue, &name, AT_ONCE).await;
            assert_eq!(leased.len(), AT_ONCE);
            let mut steps = tokio::task::JoinSet::new();
            for leased in leased {
                number += 1;
                let (queue, accept) = (queue.clone(), owed(&name, number, &body));
                steps.spawn(async move {
                    settle(&queue, leased, Outcome::Delivered).await;
                    queue.accept(vec![accept], now()).await.expect("the store works");
                });
            }
            steps.join_all().await;
        }
        samples.push(1e6 / per_second(EVENTS_PER_ROUND, began.elapsed()));
    }
    assert!(queue.depth(&workspace(), &name).pending > 0);
    let found = Found {
        opened_s,
        us_per_event: median(samples),
        resident_mib: resident_mib(),
    };
    println!("{}", serde_json::to_string(&found).expect("numbers"));
}

#[expect(clippy::cast_precision_loss, reason = "memory in MiB")]
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says so");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number of kB") as f64 / 1024.0
}
