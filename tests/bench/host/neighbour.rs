//! What a well-behaved connection notices of the one beside it: the time from an event's sending to its arrival at the
//! upstream, at a steady rate, alone and beside; the real binary.
//!
//! Alone and beside are measured in turns. The bad one has work waiting all the time and a breaker that never opens, so that
//! it is at its worst throughout; what it does is in [`bad`].

mod bad;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam_host::{CompileLimits, Compiler, Connector, EngineSettings};
use cofferdam_store::Engine;
use cofferdam_tests::api::Api;
use cofferdam_tests::artifacts::{command, test_guest};
use cofferdam_tests::{Running, Setup, api, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::bad::Beside;
use crate::pipeline::{Arrivals, locked, start_upstream};
use crate::report::{Report, median, quantile};

/// Requests that are under way at once to a bad one that is a source.
const REQUESTS: usize = 16;

/// Pairs of alone and beside for each guest.
const ROUNDS: usize = 3;

/// Events of one half of a pair, and their distance.
const EVENTS: usize = 150;
const EVERY: Duration = Duration::from_millis(20);

/// Events that wait for the bad one, each tried once: as many before each round, so that it always has work and their coming in is
/// not what is measured; topped up beside it only if it gets through so many.
const WAITING: u64 = 6000;
const WAITING_LEAST: u64 = 1000;
const PER_REQUEST: usize = 64;
const TOP_UP_EVERY: Duration = Duration::from_millis(50);

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    let arrivals: Arrivals = Arc::default();
    let upstream = start_upstream(Arc::clone(&arrivals)).await;
    let honest = bad::honest();
    let bed = Bed::start(&upstream, engine, Arc::clone(&arrivals), &honest).await;
    let load = bed.beside(&honest).await;
    load.tell(honest.key);
    report.row(
        honest.key,
        load.of_p99,
        "x",
        "the same beside one that has as much to do and behaves well: what is load",
    );
    let mut worst = 0.0_f64;
    for beside in bad::all() {
        let bed = Bed::start(&upstream, engine, Arc::clone(&arrivals), &beside).await;
        let ratio = bed.beside(&beside).await;
        ratio.tell(beside.key);
        worst = worst.max(ratio.of_p99);
        report.row(
            beside.key,
            ratio.of_p99,
            "x",
            "p99 of a neighbour beside it / alone, median of rounds",
        );
    }
    report.row("neighbour_p99_ratio_worst", worst, "x", "the largest of them");
    let bed = Bed::start(&upstream, engine, arrivals, &honest).await;
    let child = Compiler::Child {
        program: command(),
        limits: CompileLimits::default(),
    };
    let ratio = bed.beside_a_compile(child).await;
    report.row(
        "compile_p99_alone_ms",
        ratio.alone_ms,
        "ms",
        "p99 of a delivery on a quiet server",
    );
    report.row(
        "compile_p99_beside_ms",
        ratio.beside_ms,
        "ms",
        "the same while a connector of 12 MB is compiled",
    );
    report.row("compile_p99_ratio", ratio.of_p99, "x", "beside / alone");
    let ratio = bed.beside_a_compile(Compiler::InProcess).await;
    report.row(
        "compile_in_process_p99_ratio",
        ratio.of_p99,
        "x",
        "the same while it is compiled at the priority of everything else",
    );
}

/// A server with a good connection and a bad one.
struct Bed {
    server: Running,
    arrivals: Arrivals,
    sent: AtomicU64,
}

#[derive(Clone, Copy)]
struct Ratio {
    alone_ms: f64,
    beside_ms: f64,
    of_p99: f64,
}

impl Ratio {
    fn tell(&self, key: &str) {
        let Self {
            alone_ms,
            beside_ms,
            of_p99,
        } = self;
        eprintln!("  {key}: {alone_ms:.2} ms alone, {beside_ms:.2} ms beside, {of_p99:.2} x");
    }
}

impl Bed {
    async fn start(upstream: &str, engine: Engine, arrivals: Arrivals, beside: &Beside) -> Self {
        let setup = Setup::new()
            .plugin(&test_guest("probe"))
            .config(&format!("\n[store]\nengine = \"{engine}\"\n"));
        let server = beside.place(setup).start().await;
        let good = format!(
            "name = \"good\"\nconnector = \"probe\"\nsubscribe = [\"test.good\"]\n[upstreams.target]\nbase_url = \"{upstream}\"\n\
             networks = [\"127.0.0.0/8\"]\nattach = \"none\"\n"
        );
        for file in [good, beside.connection(upstream)] {
            server.api.apply(&file).await;
        }
        Self {
            server,
            arrivals,
            sent: AtomicU64::new(0),
        }
    }

    async fn beside(&self, bad: &Beside) -> Ratio {
        let api = &self.server.api;
        api.post("/v1/connections/bad/disable").await;
        // What is new costs more: not measured.
        self.neighbour().await;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let alone = self.neighbour().await;
            let before = self.dead().await;
            if !bad.is_source() {
                self.top_up(bad, WAITING).await;
            }
            api.post("/v1/connections/bad/enable").await;
            let requests = bad.is_source().then(|| Requests::begin(api));
            wait::until("the bad one's first call", || async {
                (self.in_flight().await > 0 || self.dead().await > before).then_some(())
            })
            .await;
            let beside = tokio::select! {
                beside = self.neighbour() => beside,
                never = self.keep_busy(bad) => match never {},
            };
            if let Some(requests) = requests {
                requests.end().await;
            }
            api.post("/v1/connections/bad/disable").await;
            wait::until("the end of its calls", || async {
                (self.in_flight().await == 0).then_some(())
            })
            .await;
            rounds.push(ratio(&alone, &beside));
        }
        median_of(&rounds)
    }

    /// A connector of 12 MB is compiled all the time meanwhile, as a server compiles it.
    async fn beside_a_compile(&self, compiler: Compiler) -> Ratio {
        self.neighbour().await;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let alone = self.neighbour().await;
            let compiling = tokio::spawn(compile_on_and_on(compiler.clone()));
            let beside = self.neighbour().await;
            assert!(!compiling.is_finished(), "the compiler gave up");
            compiling.abort();
            let _cancelled = compiling.await;
            rounds.push(ratio(&alone, &beside));
        }
        median_of(&rounds)
    }

    async fn keep_busy(&self, bad: &Beside) -> std::convert::Infallible {
        // Those who send requests go on by themselves.
        if bad.is_source() {
            std::future::pending::<()>().await;
        }
        loop {
            self.top_up(bad, WAITING_LEAST).await;
            tokio::time::sleep(TOP_UP_EVERY).await;
        }
    }

    /// As many events for the bad one as are missing, if there are fewer than the least.
    async fn top_up(&self, bad: &Beside, least: u64) {
        let api = &self.server.api;
        let waiting = api.connection("bad").await.depth.pending;
        if waiting >= least {
            return;
        }
        let act = bad.data();
        let event = |_| {
            let id = self.sent.fetch_add(1, Ordering::Relaxed);
            json!({"specversion": "1.0", "id": format!("bad-{id}"), "source": "/bench", "type": "test.bad", "data": act})
        };
        let batch: Vec<_> = (waiting..WAITING).map(event).collect();
        for part in batch.chunks(PER_REQUEST) {
            let request = api.public("/v1/events").bearer_auth(&api.token);
            let request = request.header("content-type", "application/cloudevents-batch+json");
            let sent = request.body(json!(part).to_string()).send().await;
            let _: Value = api::read(sent.expect("the server answers")).await;
        }
    }

    async fn dead(&self) -> u64 {
        self.server.api.connection("bad").await.depth.dead
    }

    async fn in_flight(&self) -> u64 {
        self.server.api.connection("bad").await.depth.in_flight
    }

    /// Events at a steady rate; how long each took until its request was at the upstream, in milliseconds, sorted.
    async fn neighbour(&self) -> Vec<f64> {
        let first = {
            let mut arrivals = locked(&self.arrivals);
            let first = arrivals.len().max(1);
            arrivals.resize(first + EVENTS, None);
            first
        };
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        for number in first..first + EVENTS {
            // Counted from when it was to be sent, so that a stall of the sender is not left out.
            let due = tick.tick().await;
            let api = self.server.api.clone();
            under_way.spawn(async move {
                let act = json!({"do": "call", "path": format!("/{number}")});
                api.send_event(&format!("good-{number}"), "test.good", act).await;
                (number, due.into_std())
            });
        }
        let sent: Vec<(usize, Instant)> = under_way.join_all().await;
        wait::until("the last delivery", || async {
            let arrivals = locked(&self.arrivals);
            sent.iter().all(|(number, _)| arrivals[*number].is_some()).then_some(())
        })
        .await;
        let arrivals = locked(&self.arrivals);
        let took = |(number, due): &(usize, Instant)| {
            arrivals[*number].map(|at| at.saturating_duration_since(*due).as_secs_f64() * 1e3)
        };
        let mut took: Vec<f64> = sent.iter().filter_map(took).collect();
        took.sort_by(f64::total_cmp);
        took
    }
}

/// Requests to the bad one's hook, so many at once, one after the other.
struct Requests {
    ended: Arc<AtomicBool>,
    under_way: JoinSet<()>,
}

impl Requests {
    fn begin(api: &Api) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let mut under_way = JoinSet::new();
        for sender in 0..REQUESTS {
            let (api, ended) = (api.clone(), Arc::clone(&ended));
            under_way.spawn(async move {
                let mut number = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    number += 1;
                    let request = api.public("/hooks/bad").body(format!("request {number} of {sender}"));
                    let answer = request.send().await.expect("the server answers");
                    // Taken whole, so that its connection can be used again. That it is kept is what a source's failure is.
                    answer.text().await.expect("the answer has an end");
                }
            });
        }
        Self { ended, under_way }
    }

    /// Every one of them is answered, so that none is left to compute beside what is measured next.
    async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.under_way.join_all().await;
    }
}

/// Never finds it in the cache.
async fn compile_on_and_on(compiler: Compiler) {
    loop {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let settings = EngineSettings {
            compiler: compiler.clone(),
            ..EngineSettings::new(dir.path().to_owned())
        };
        let engine = cofferdam_host::Engine::new(&settings).expect("the engine can be made");
        let loaded = Connector::load(&engine, &test_guest("js-connector")).await;
        assert!(loaded.is_ok(), "the example compiles");
    }
}

fn ratio(alone: &[f64], beside: &[f64]) -> Ratio {
    let (alone_ms, beside_ms) = (quantile(alone, 0.99), quantile(beside, 0.99));
    Ratio {
        alone_ms,
        beside_ms,
        of_p99: beside_ms / alone_ms,
    }
}

fn median_of(rounds: &[Ratio]) -> Ratio {
    let of = |value: fn(&Ratio) -> f64| median(rounds.iter().map(value).collect());
    Ratio {
        alone_ms: of(|ratio| ratio.alone_ms),
        beside_ms: of(|ratio| ratio.beside_ms),
        of_p99: of(|ratio| ratio.of_p99),
    }
}
