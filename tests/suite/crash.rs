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
//! - where a connection asks for order, each producer's events reach the destination in the order in which they were sent;
//! - a destination is never reached under two idempotency keys, nor more often than there are attempts, and had its effect
//!   again only where an attempt's end is unknown to the host. Such duplicates are counted, and bounded by kills times
//!   concurrency.
//!
//! A kill leaves what the kernel has: what a power loss takes is another suite's. Each cycle and each reckoning counts as
//! one round; a cycle's seed is printed with what failed, although the state it met came from the cycles before it.

mod bed;
mod destination;
mod lane;
mod ledger;
mod load;
mod reckoning;

use std::fs;
use std::ops::Range;
use std::time::Duration;

use cofferdam_tests::artifacts::target_dir;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub(crate) use bed::{Bed, Served};
pub(crate) use ledger::Answer;

use crate::engine::Engine;
use crate::table::Table;
use crate::tally::Tally;
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
    sent: u64,
    sent_again: u64,
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
        let figures = [
            self.cycles,
            self.kills,
            self.stops,
            self.sent,
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

    /// Counts a round; what the server has said is kept if it failed.
    fn count<T>(&mut self, what: &str, held: &anyhow::Result<T>, server: &Served) -> anyhow::Result<()> {
        let Err(error) = held else {
            self.passed += 1;
            return Ok(());
        };
        self.failed += 1;
        eprintln!("  {what}: {error:#}");
        let dir = target_dir().join("suite");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("crash {what}.log").replace([' ', ','], "-"));
        fs::write(&path, server.log())?;
        eprintln!("  the server's log is in {}", path.display());
        Ok(())
    }
}

async fn life(engine: Engine, seeds: Vec<u64>) -> anyhow::Result<Story> {
    let mut server = Bed::new(engine).await?.start().await?;
    let mut story = Story::default();
    for seed in seeds {
        let held;
        (server, held) = cycle(server, seed, &mut story).await?;
        story.cycles += 1;
        story.count(&format!("{engine} seed {seed}"), &held, &server)?;
        if story.cycles % PROGRESS == 0 {
            eprintln!(
                "  {engine}: {} cycles, {} events sent",
                story.cycles,
                server.sent().len()
            );
        }
    }
    let reckoned = server.reckon().await;
    story.count(&format!("{engine} reckoning"), &reckoned, &server)?;
    story.found = reckoned.unwrap_or_default();
    story.sent = server.sent().len() as u64;
    story.kills = server.ends() - story.stops;
    server.kill().await;
    Ok(story)
}

/// Load, death, start, glance. An error says that the suite cannot go on; what comes with the server, whether it kept its
/// promises.
async fn cycle(mut server: Served, seed: u64, story: &mut Story) -> anyhow::Result<(Served, anyhow::Result<()>)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let ending = Ending::draw(&mut rng);
    server.begin_load(&format!("{}-{seed}", story.cycles), seed);
    tokio::time::sleep(Duration::from_millis(rng.random_range(LOAD_MILLIS))).await;
    let quiet = server.quiet();
    let (ended, mut bed) = match ending {
        Ending::Kill | Ending::KillAndAgain(_) => (Ok(()), server.kill().await),
        Ending::Terminate => {
            story.stops += 1;
            server.stop().await
        }
    };
    if let Ending::KillAndAgain(times) = ending {
        for _ in 0..times {
            let after = Duration::from_millis(rng.random_range(START_MILLIS));
            bed.start_and_kill(after).await?;
        }
    }
    let server = bed.start().await?;
    let acknowledged: Vec<_> = server.sent().iter().filter(|sent| sent.is_acknowledged()).collect();
    let mut some: Vec<_> = acknowledged.iter().rev().take(GLANCES / 2).copied().collect();
    for _ in some.len()..GLANCES.min(acknowledged.len()) {
        some.push(acknowledged[rng.random_range(0..acknowledged.len())]);
    }
    let glanced = server.glance(&some).await;
    let held = quiet.and(ended).and_then(|()| {
        story.sent_again += glanced?;
        server.quiet()
    });
    Ok((server, held))
}
