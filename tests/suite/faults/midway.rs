//! The disk becomes bad under load.
//!
//! Where it fails: producers are told 503 and never a 202 for what is not durable, the log says what the system said, nothing
//! panics, `/healthz` answers and `/readyz` does not; the next server, on a disk that is well, has everything.
//! Where it is slow: everything goes on, later.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use cofferdam_tests::api::Api;
use cofferdam_tests::wait;
use reqwest::{Method, StatusCode};

use super::Seen;
use crate::crash::{Answer, Bed, Served};
use crate::engine::Engine;
use crate::shim;

/// What a fault under load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The store takes nothing more; the log holds this.
    Stops(&'static str),
    /// Everything takes its time.
    Slows,
}

/// A disk that becomes bad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Midway {
    pub(super) name: &'static str,
    /// As the library calls it.
    fault: &'static str,
    /// Operations of its kind that pass after it has begun: it meets others in the middle of a commit.
    from: u64,
    effect: Effect,
}

/// All of them.
pub(super) const CASES: [Midway; 6] = [
    Midway {
        name: "the disk fills up",
        fault: "no-space",
        from: 0,
        effect: Effect::Stops("No space left on device"),
    },
    Midway {
        name: "the disk fills up, 3 writes later",
        fault: "no-space",
        from: 3,
        effect: Effect::Stops("No space left on device"),
    },
    Midway {
        name: "the disk fills up, 10 writes later",
        fault: "no-space",
        from: 10,
        effect: Effect::Stops("No space left on device"),
    },
    Midway {
        name: "writes fail",
        fault: "io-error",
        from: 0,
        effect: Effect::Stops("Input/output error"),
    },
    Midway {
        name: "one fsync fails",
        fault: "sync-fails-once",
        from: 0,
        effect: Effect::Stops("Input/output error"),
    },
    Midway {
        name: "each fsync takes 200 ms",
        fault: "slow-sync",
        from: 0,
        effect: Effect::Slows,
    },
];

/// Deliveries that are made before the disk becomes bad.
const BEFORE: u64 = 30;

/// How long producers go on after it has.
const ON: Duration = Duration::from_millis(400);

/// What the slow fsync adds, less what a clock may differ.
const SLOW_MIN: Duration = Duration::from_millis(195);

/// The longest that a health check may take while others wait for the disk.
const HEALTH_MAX: Duration = Duration::from_secs(2);

impl Midway {
    pub(super) async fn run(self, engine: Engine) -> Seen {
        let bed = Bed::new(engine).await?;
        let data = bed.data()?;
        let trouble = data.with_file_name("trouble");
        let variables = shim::failing(&data, self.fault, self.from, Some(&trouble));
        let mut bed = bed.environment(variables).start().await?;
        bed.begin_load("load", 1);
        bed.wait_for_effects(BEFORE).await;
        fs::write(&trouble, "")?;
        let seen = match self.effect {
            Effect::Stops(errno) => stops(&mut bed, errno).await?,
            Effect::Slows => slows(&mut bed).await?,
        };
        // Space again, or a disk that works again, is no reason to go on by itself: what is on it is not known.
        fs::remove_file(&trouble)?;
        if let Effect::Stops(_) = self.effect {
            let answer = bed.send("once-it-works-again").await;
            ensure!(answer == Answer::Refused(503), "it goes on by itself: {answer:?}");
        }
        bed.quiet()?;
        let bed = bed.kill().await;
        let refused = bed.sent().iter().filter_map(|sent| match sent.answer {
            Answer::Refused(status) => Some(status),
            Answer::Acknowledged(_) | Answer::AcknowledgedOnly | Answer::Nothing => None,
        });
        let refused: Vec<_> = refused.collect();
        ensure!(
            refused.iter().all(|status| *status == 503),
            "producers were told {refused:?}"
        );
        let bed = bed.unknown_if_refused().environment(Vec::new()).start().await?;
        let found = bed.reckon().await?;
        Ok(format!(
            "{} acknowledged, {} answered 503, {} duplicates{seen}",
            found.acknowledged,
            refused.len(),
            found.duplicates
        ))
    }
}

async fn stops(bed: &mut Served, errno: &str) -> Seen {
    wait::until("readiness to be denied", || async {
        (health(bed.api(), "/readyz").await.ok()?.0 != StatusCode::OK).then_some(())
    })
    .await;
    tokio::time::sleep(ON).await;
    let (status, _) = health(bed.api(), "/healthz").await?;
    ensure!(status == StatusCode::OK, "/healthz answers {status}");
    let answer = bed.send("while-it-is-bad").await;
    ensure!(answer == Answer::Refused(503), "a producer is told {answer:?}");
    let log = bed.log();
    ensure!(
        log.lines().any(|line| line.contains("ERROR") && line.contains(errno)),
        "no line of the log says {errno:?}: {log}"
    );
    Ok(String::new())
}

async fn slows(bed: &mut Served) -> Seen {
    let effects = bed.effects();
    let mut slowest = Duration::ZERO;
    for number in 0..5 {
        let began = Instant::now();
        let answer = bed.send(&format!("slow-{number}")).await;
        ensure!(
            matches!(answer, Answer::Acknowledged(_)),
            "a producer is told {answer:?}"
        );
        ensure!(
            began.elapsed() >= SLOW_MIN,
            "202 before the fsync has returned, after {:?}",
            began.elapsed()
        );
        let (status, took) = health(bed.api(), "/healthz").await?;
        ensure!(
            status == StatusCode::OK && took < HEALTH_MAX,
            "/healthz answers {status} after {took:?}"
        );
        slowest = slowest.max(took);
    }
    let (status, _) = health(bed.api(), "/readyz").await?;
    ensure!(status == StatusCode::OK, "/readyz answers {status}");
    bed.wait_for_effects(effects + BEFORE).await;
    Ok(format!(", /healthz within {} ms", slowest.as_millis()))
}

/// What the admin listener answers, and after how long.
async fn health(api: &Api, path: &str) -> anyhow::Result<(StatusCode, Duration)> {
    let began = Instant::now();
    let answer = api.request(Method::GET, path).send().await?;
    Ok((answer.status(), began.elapsed()))
}
