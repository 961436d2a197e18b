//! Crash: `kill -9` at any moment loses nothing that was acknowledged.
//!
//! One data folder lives through all cycles of an engine. In each, producers load the real server, which is then killed at
//! a random moment, or asked to stop by SIGTERM, or killed and killed again while it starts; then it starts on what it has
//! left. Producers keep a ledger of what they were told, and the destinations, which outlive every server, a book of what
//! reached them. After each start a few acknowledged events must be there and be duplicates when sent again; after the
//! last one, everything is held against everything ([`reckoning`]):
//!
//! - every acknowledged event is there, and each of its deliveries has ended as its destination ends them: delivered, and seen
//!   by it, or a dead letter of the right class;
//! - an event without an answer may be there, and then wholly so; one that was refused is not;
//! - a destination is never reached under two idempotency keys, nor more often than there are attempts, and had its effect
//!   again only where an attempt's end is unknown to the host. Such duplicates are counted, and bounded by kills times
//!   concurrency.
//!
//! A kill leaves what the kernel has: what a power loss takes is another suite's. Each cycle and each reckoning counts as
//! one round; a cycle's seed is printed with what failed, although the state it met came from the cycles before it.

mod destination;
mod lane;
mod ledger;
mod load;
mod reckoning;

use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use cofferdam_tests::artifacts::{target_dir, test_guest};
use cofferdam_tests::{Running, Setup};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::engine::Engine;
use crate::table::Table;
use crate::tally::Tally;
use destination::Destination;
use lane::Lane;
use ledger::Sent;
use load::Load;
use reckoning::Found;

/// How long producers load the server before it dies, in milliseconds.
const LOAD_MILLIS: Range<u64> = 50..1200;

/// How long a server that is killed while it starts has lived, in milliseconds.
const START_MILLIS: Range<u64> = 0..400;

/// Acknowledged events that are looked at after each start.
const GLANCES: usize = 6;

/// A line of progress every so many cycles.
const PROGRESS: u64 = 10;

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// `kill -9`.
    Kill,
    /// SIGTERM, and what is under way may end.
    Terminate,
    /// `kill -9`, and again while the next ones start.
    KillAndAgain(u32),
}

impl Ending {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..20) {
            0..13 => Self::Kill,
            13..16 => Self::Terminate,
            16..19 => Self::KillAndAgain(1),
            _ => Self::KillAndAgain(2),
        }
    }
}

/// The cycles are divided among the engines.
pub(crate) fn run(seeds: Range<u64>) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tally = Tally::default();
    let mut table = Table::new(&[
        "engine",
        "cycles",
        "kills",
        "stops",
        "sent",
        "acknowledged",
        "kept without answer",
        "delivered",
        "dead",
        "sent again",
        "duplicates",
    ]);
    let engines = Engine::ALL.len();
    for (number, engine) in Engine::ALL.into_iter().enumerate() {
        let own: Vec<u64> = seeds.clone().skip(number).step_by(engines).collect();
        if own.is_empty() {
            continue;
        }
        // The stand-ins and the server's handle say what is wrong by panicking: that ends this engine's cycles.
        let life = runtime.spawn(life(engine, own));
        match runtime.block_on(life) {
            Ok(Ok(story)) => {
                tally.passed += story.passed;
                tally.failed += story.failed;
                table.row(story.cells(engine));
            }
            Ok(Err(error)) => {
                eprintln!("  {engine}: {error:#}");
                tally.count(false);
            }
            Err(panicked) => {
                eprintln!("  {engine}: the cycles ended early: {panicked}");
                tally.count(false);
            }
        }
    }
    table.print();
    Ok(tally)
}

/// What happened to one engine's data folder.
#[derive(Default)]
struct Story {
    passed: u32,
    failed: u32,
    cycles: u64,
    kills: u64,
    stops: u64,
    sent_again: u64,
    sent: Vec<Sent>,
    found: Found,
}

impl Story {
    fn cells(&self, engine: Engine) -> Vec<String> {
        let Found {
            acknowledged,
            kept,
            delivered,
            dead,
            duplicates,
        } = self.found;
        let sent = self.sent.len() as u64;
        let figures = [
            self.cycles,
            self.kills,
            self.stops,
            sent,
            acknowledged,
            kept,
            delivered,
            dead,
            self.sent_again,
            duplicates,
        ];
        let figures = figures.iter().map(u64::to_string);
        std::iter::once(engine.to_string()).chain(figures).collect()
    }

    fn count(&mut self, what: &str, held: &anyhow::Result<()>) {
        match held {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("  {what}: {error:#}");
                self.failed += 1;
            }
        }
    }
}

async fn life(engine: Engine, seeds: Vec<u64>) -> anyhow::Result<Story> {
    let world = Destination::start().await?;
    let setup = Setup::new()
        .plugin(&test_guest("probe"))
        .config("\n[server]\ndrain_ms = 3000\n")
        .config(&engine.config());
    let mut server = setup.start().await;
    for lane in Lane::ALL {
        server.api.apply(&lane.file(&world)).await;
    }
    let mut story = Story::default();
    for seed in seeds {
        let held;
        (server, held) = cycle(server, seed, &mut story).await?;
        story.cycles += 1;
        story.count(&format!("{engine}, seed {seed}"), &held);
        if held.is_err() {
            keep_log(&server, engine, seed)?;
        }
        if story.cycles % PROGRESS == 0 {
            eprintln!("  {engine}: {} cycles, {} events sent", story.cycles, story.sent.len());
        }
    }
    let reckoned = reckoned(&server, &mut story, &world).await;
    story.count(&format!("{engine}, the reckoning"), &reckoned);
    if reckoned.is_err() {
        keep_log(&server, engine, 0)?;
    }
    server.kill().await;
    Ok(story)
}

async fn reckoned(server: &Running, story: &mut Story, world: &Destination) -> anyhow::Result<()> {
    reckoning::settled(&server.api).await?;
    // A server that is stopped may leave work of unknown end too.
    let ends = story.kills + story.stops;
    story.found = reckoning::reckon(&server.api, &story.sent, world, ends).await?;
    Ok(())
}

/// Load, death, start, glance.
async fn cycle(server: Running, seed: u64, story: &mut Story) -> anyhow::Result<(Running, anyhow::Result<()>)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let ending = Ending::draw(&mut rng);
    let load = Load::start(&server.api, &format!("{}-{seed}", story.cycles), seed);
    tokio::time::sleep(Duration::from_millis(rng.random_range(LOAD_MILLIS))).await;
    let mut held = quiet(&server);
    let setup = match ending {
        Ending::Kill | Ending::KillAndAgain(_) => {
            story.kills += 1;
            server.kill().await
        }
        Ending::Terminate => {
            story.stops += 1;
            let (code, log, setup) = server.stop().await;
            if code != Some(0) {
                held = Err(anyhow::anyhow!("SIGTERM ended it with {code:?}: {log}"));
            }
            setup
        }
    };
    story.sent.extend(load.ended().await);
    if let Ending::KillAndAgain(times) = ending {
        for _ in 0..times {
            let mut starting = setup.command().spawn().context("the server cannot be started")?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(START_MILLIS))).await;
            starting.kill().await?;
            story.kills += 1;
        }
    }
    let server = setup.start().await;
    let acknowledged: Vec<_> = story.sent.iter().filter(|sent| sent.is_acknowledged()).collect();
    let mut some: Vec<_> = acknowledged.iter().rev().take(GLANCES / 2).copied().collect();
    for _ in some.len()..GLANCES.min(acknowledged.len()) {
        some.push(acknowledged[rng.random_range(0..acknowledged.len())]);
    }
    let glanced = reckoning::glance(&server.api, &some).await;
    let held = held.and_then(|()| {
        story.sent_again += glanced?;
        quiet(&server)
    });
    Ok((server, held))
}

/// The server has not panicked anywhere.
fn quiet(server: &Running) -> anyhow::Result<()> {
    let log = server.log();
    let panicked = log.lines().find(|line| line.contains("panicked"));
    panicked.map_or(Ok(()), |line| Err(anyhow::anyhow!("the server panicked: {line}")))
}

/// Keeps what the server has said.
fn keep_log(server: &Running, engine: Engine, seed: u64) -> anyhow::Result<()> {
    let dir = target_dir().join("suite");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("crash-{engine}-{seed}.log"));
    fs::write(&path, server.log())?;
    eprintln!("  the server's log is in {}", path.display());
    Ok(())
}
