//! The process that is recorded: producers and lanes on a real queue over a real store, for as long as it is let.
//!
//! One kind of it rewrites its store instead, which must lose nothing either.
//!
//! It states what it is about to ask for, asks, and states that it was answered; see [`Mark`].

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use cofferdam_domain::ConnectionName;
use cofferdam_queue::{DeadFilter, Queue as _, StoreQueue};
use cofferdam_store::compact;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::bed;
use super::marks::{End, Mark};
use crate::engine::Engine;

/// Tasks that send events.
const PRODUCERS: u64 = 6;

/// Events of one request, at most.
const BATCH_MAX: usize = 3;

/// How long a task waits at most between two requests.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What the process is given.
#[derive(Args, Clone, Debug)]
pub(crate) struct Writer {
    /// The recorded folder.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// The engine.
    #[arg(long)]
    pub(crate) engine: Engine,
    /// What is random.
    #[arg(long)]
    pub(crate) seed: u64,
    /// It stops working so long after it has opened its store, in milliseconds.
    #[arg(long)]
    pub(crate) works_millis: u64,
    /// It rewrites its store and does nothing else.
    #[arg(long)]
    pub(crate) compacts: bool,
    /// It is killed so long after it has begun, if it has not ended by then, in milliseconds.
    #[arg(long)]
    pub(crate) dies_millis: Option<u64>,
}

/// Runs to its end.
pub(crate) fn run(writer: &Writer) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(write(writer))
}

async fn write(writer: &Writer) -> anyhow::Result<()> {
    let marks = Arc::new(Marks::open(&writer.folder)?);
    marks.say(&Mark::Began)?;
    if let Some(millis) = writer.dies_millis {
        let marks = Arc::clone(&marks);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            marks.die()
        });
    }
    if writer.compacts {
        compact(&writer.folder.join(bed::DATA), None, &mut |_| {})?;
        return Ok(());
    }
    let queue = bed::open(writer.engine, &writer.folder.join(bed::DATA), writer.seed).await?;
    marks.say(&Mark::Opened)?;
    let until = Instant::now() + Duration::from_millis(writer.works_millis);
    let mut tasks = JoinSet::new();
    let mut seeds = StdRng::seed_from_u64(writer.seed);
    let mut task = |number| Task {
        queue: queue.clone(),
        marks: Arc::clone(&marks),
        rng: StdRng::from_rng(&mut seeds),
        until,
        name: format!("{}-{number}", writer.seed),
    };
    for number in 0..PRODUCERS {
        tasks.spawn(task(number).produce());
    }
    for (number, lane) in (PRODUCERS..).zip(bed::LANES) {
        tasks.spawn(task(number).deliver(bed::lane(lane)));
    }
    tasks.spawn(task(99).intervene());
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The way into the journal.
struct Marks(File);

impl Marks {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = File::options().write(true).open(folder.join(".marks"));
        Ok(Self(file.context("the writer is not recorded")?))
    }

    fn say(&self, mark: &Mark) -> anyhow::Result<()> {
        let text = serde_json::to_vec(mark)?;
        // One write is one mark.
        anyhow::ensure!((&self.0).write(&text)? == text.len(), "a mark was cut");
        Ok(())
    }

    /// Asks to be killed between two operations.
    fn die(&self) -> anyhow::Result<()> {
        (&self.0).write_all(b"die")?;
        anyhow::bail!("the writer is not recorded and lives on")
    }
}

struct Task {
    queue: StoreQueue,
    marks: Arc<Marks>,
    rng: StdRng,
    until: Instant,
    name: String,
}

impl Task {
    async fn goes_on(&mut self) -> bool {
        tokio::time::sleep(self.rng.random_range(Duration::ZERO..PAUSE_MAX)).await;
        Instant::now() < self.until
    }

    async fn produce(mut self) -> anyhow::Result<()> {
        let mut sent = 0;
        while self.goes_on().await {
            let mut requests = Vec::new();
            let mut keys = Vec::new();
            for _ in 0..self.rng.random_range(1..=BATCH_MAX) {
                let key = format!("{}-{sent}", self.name);
                sent += 1;
                let request = bed::some_event(&key, &mut self.rng);
                self.marks.say(&Mark::Offered {
                    event: request.new.event.id,
                    hash: request.new.event.body_hash,
                    deliveries: request.fan_out.len(),
                })?;
                requests.push(request);
                keys.push(key);
            }
            for (accepted, dedupe_key) in self.queue.accept(requests, bed::now()).await?.into_iter().zip(keys) {
                self.marks.say(&Mark::Accepted {
                    event: accepted.event_id,
                    correlation: accepted.correlation_id,
                    dedupe_key,
                    deliveries: accepted.deliveries,
                })?;
            }
        }
        Ok(())
    }

    async fn deliver(mut self, lane: ConnectionName) -> anyhow::Result<()> {
        while self.goes_on().await {
            let terms = bed::terms(bed::now(), self.rng.random_range(1..=8));
            for leased in self.queue.lease_many(&bed::workspace(), &lane, terms).await? {
                let (delivery, run) = (leased.delivery.id, leased.attempt.run);
                self.marks.say(&Mark::Leased { delivery, run })?;
                let end = match self.rng.random_range(0..10) {
                    0..6 => End::Delivered,
                    6..8 => End::Pending,
                    _ => End::Dead,
                };
                self.queue.settle(leased, bed::settlement(end)).await?;
                self.marks.say(&Mark::Settled { delivery, run, end })?;
            }
        }
        Ok(())
    }

    /// A person, who replays some dead letters and discards others.
    async fn intervene(mut self) -> anyhow::Result<()> {
        while self.goes_on().await {
            let dead = self
                .queue
                .dead_letters(&bed::workspace(), &DeadFilter::default(), 4, None)?;
            for letter in dead.items {
                let (delivery, run) = (letter.id, letter.runs);
                self.marks.say(&Mark::Intervening { delivery, run })?;
                if self.rng.random_bool(0.5) {
                    self.queue
                        .replay(&bed::workspace(), delivery, bed::now(), "suite")
                        .await?;
                } else {
                    self.queue
                        .discard(&bed::workspace(), delivery, bed::now(), "suite")
                        .await?;
                    self.marks.say(&Mark::Discarded { delivery })?;
                }
            }
        }
        Ok(())
    }
}
