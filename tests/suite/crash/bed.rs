//! One data folder, the servers that run on it one after the other, and what the world around them knows.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cofferdam_tests::api::Api;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Running, Setup, wait};
use tokio::process::Command;

use super::destination::Destination;
use super::lane::Lane;
use super::ledger::{Answer, Sent};
use super::load::{self, Load};
use super::reckoning::{self, Found};
use crate::engine::{Engine, config};

/// How long a server may take to stop, in milliseconds.
const DRAIN_MILLIS: u64 = 3000;

/// What outlives every server.
struct World {
    destination: Destination,
    sent: Vec<Sent>,
    /// How often a server has ended with work under way.
    ends: u64,
    /// The connections are there.
    furnished: bool,
}

/// A data folder that no server runs on.
pub(crate) struct Bed {
    setup: Setup,
    world: World,
}

/// A server on it.
pub(crate) struct Served {
    server: Running,
    world: World,
    load: Option<Load>,
}

impl Bed {
    /// An empty data folder.
    pub(crate) async fn new(engine: Engine) -> anyhow::Result<Self> {
        let setup = Setup::new()
            .plugin(&test_guest("probe"))
            .config(&format!("\n[server]\ndrain_ms = {DRAIN_MILLIS}\n"))
            .config(&config(engine));
        let world = World {
            destination: Destination::start().await?,
            sent: Vec::new(),
            ends: 0,
            furnished: false,
        };
        Ok(Self { setup, world })
    }

    /// The data folder, without links in its path.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        let data = self.setup.data();
        let (above, name) = (
            data.parent().context("it lies somewhere")?,
            data.file_name().context("it has a name")?,
        );
        Ok(above.canonicalize()?.join(name))
    }

    /// The environment of the servers from now on.
    pub(crate) fn environment(mut self, variables: Vec<(&'static str, OsString)>) -> Self {
        self.setup = self.setup.environment(variables);
        self
    }

    /// The command line of a server.
    pub(crate) fn command(&self) -> Command {
        self.setup.command()
    }

    /// Everything that was sent so far.
    pub(crate) fn sent(&self) -> &[Sent] {
        &self.world.sent
    }

    /// A store whose commit failed does not know what of it is on the disk: what was refused may be there after a restart.
    pub(crate) fn unknown_if_refused(mut self) -> Self {
        for sent in &mut self.world.sent {
            if let Answer::Refused(_) = sent.answer {
                sent.answer = Answer::Nothing;
            }
        }
        self
    }

    /// Starts a server and kills it again after a while, wherever it is by then.
    pub(crate) async fn start_and_kill(&mut self, after: Duration) -> anyhow::Result<()> {
        let mut starting = self.command().spawn().context("the server cannot be started")?;
        tokio::time::sleep(after).await;
        starting.kill().await?;
        self.world.ends += 1;
        Ok(())
    }

    /// Starts a server and waits until it answers.
    pub(crate) async fn start(self) -> anyhow::Result<Served> {
        let Self { setup, mut world } = self;
        let server = setup.start().await;
        if !world.furnished {
            for lane in Lane::ALL {
                server.api.apply(&lane.file(&world.destination)).await;
            }
            world.furnished = true;
        }
        Ok(Served {
            server,
            world,
            load: None,
        })
    }
}

impl Served {
    /// The server's listeners.
    pub(crate) fn api(&self) -> &Api {
        &self.server.api
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// Everything that was sent before the load that is under way.
    pub(crate) fn sent(&self) -> &[Sent] {
        &self.world.sent
    }

    /// How often a server has ended so far.
    pub(crate) fn ends(&self) -> u64 {
        self.world.ends
    }

    /// It has not panicked anywhere.
    pub(crate) fn quiet(&self) -> anyhow::Result<()> {
        let log = self.log();
        let panicked = log.lines().find(|line| line.contains("panicked"));
        panicked.map_or(Ok(()), |line| Err(anyhow::anyhow!("the server panicked: {line}")))
    }

    /// Producers begin; their ids begin with `name`.
    pub(crate) fn begin_load(&mut self, name: &str, seed: u64) {
        self.load = Some(Load::start(self.api(), name, seed));
    }

    /// One event more.
    pub(crate) async fn send(&mut self, id: &str) -> Answer {
        let kind = "steady";
        let answer = load::send(self.api(), id, kind).await;
        self.world.sent.push(Sent {
            id: id.to_owned(),
            kind,
            answer: answer.clone(),
        });
        answer
    }

    /// What destinations have taken, so far.
    pub(crate) fn effects(&self) -> u64 {
        let book = self.world.destination.book();
        book.values().map(|reached| u64::from(reached.effects)).sum()
    }

    /// Waits until destinations have taken so much.
    pub(crate) async fn wait_for_effects(&self, count: u64) {
        let enough = || async { (self.effects() >= count).then_some(()) };
        wait::until(&format!("effect {count} at the destinations"), enough).await;
    }

    /// `kill -9`.
    pub(crate) async fn kill(self) -> Bed {
        let setup = self.server.kill().await;
        bed(setup, self.world, self.load).await
    }

    /// SIGTERM; it must end well.
    pub(crate) async fn stop(self) -> (anyhow::Result<()>, Bed) {
        let (code, log, setup) = self.server.stop().await;
        let ended = match code {
            Some(0) => Ok(()),
            code => Err(anyhow::anyhow!("SIGTERM ended it with {code:?}: {log}")),
        };
        (ended, bed(setup, self.world, self.load).await)
    }

    /// See [`reckoning::glance`].
    pub(crate) async fn glance(&self, some: &[&Sent]) -> anyhow::Result<u64> {
        reckoning::glance(self.api(), some).await
    }

    /// Waits until nothing waits, and holds everything against everything.
    pub(crate) async fn reckon(&self) -> anyhow::Result<Found> {
        ensure!(self.load.is_none(), "producers are at work");
        reckoning::settled(self.api()).await?;
        let World {
            destination,
            sent,
            ends,
            ..
        } = &self.world;
        let found = reckoning::reckon(self.api(), sent, destination, *ends).await?;
        self.quiet()?;
        Ok(found)
    }
}

/// The folder after a server's end, with what producers were told.
async fn bed(setup: Setup, mut world: World, load: Option<Load>) -> Bed {
    world.ends += 1;
    if let Some(load) = load {
        world.sent.extend(load.ended().await);
    }
    Bed { setup, world }
}
