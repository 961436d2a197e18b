//! Canary: secrets of many kinds, set on the real server, are searched for in everything that a run leaves.
//!
//! The run delivers, fails, is refused, times out, parks and goes on after a rotation; upstreams give the secret back in every
//! form; hooks are verified, forged and sent again; letters are replayed and discarded. All of it is looked at while it
//! happens and afterwards: every answer that the API describes, every page of the panel, the command line, metrics, the log at
//! its finest level, the data folder of each engine, arguments and environment, a guest's whole memory, and whether a crash
//! leaves a core.
//!
//! A search that finds nothing proves nothing by itself, so each run also plants a text that is no secret wherever data may go,
//! and has to find it in each kind of place.

mod command_line;
mod core_dump;
mod outside;
mod places;
mod planted;
mod scenes;
mod tokens;
mod walk;

use cofferdam_tests::artifacts::{plugin, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use data_encoding::HEXLOWER;

use crate::engine::{self, Engine};
use crate::needles::Needles;
use crate::plan::Plan;
use crate::table::Table;
use crate::tally::Tally;
use outside::Target;
use places::{Looked, Place, Places};
use planted::{KINDS, Use};
use scenes::Stage;

/// A run on each engine, and the crash.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Tally> {
    plan.no_rounds()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tally = Tally::default();
    let mut table = Table::new(&["engine", "place", "searched", "held", "seen"]);
    for engine in Engine::ALL {
        eprintln!("  {engine}");
        // The server's handle says what is wrong by panicking.
        let round = runtime.block_on(runtime.spawn(one(engine)));
        match round.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(looked) => looked
                .iter()
                .for_each(|looked| row(&engine.to_string(), looked, &mut table, &mut tally)),
            Err(error) => failed(&engine.to_string(), &format!("{error:#}"), &mut table, &mut tally),
        }
    }
    match runtime.block_on(core_dump::check()) {
        Ok(seen) => {
            tally.count(true);
            table.row(
                ["any", "core dumps", "1 crash", "yes", &seen]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        Err(error) => failed("any", &format!("core dumps: {error:#}"), &mut table, &mut tally),
    }
    table.print();
    Ok(tally)
}

fn row(engine: &str, looked: &Looked, table: &mut Table, tally: &mut Tally) {
    tally.count(looked.is_clean());
    let seen = match (looked.found.as_slice(), looked.control) {
        ([], Some(true)) => "nothing; what was planted was found".to_owned(),
        ([], Some(false)) => "nothing, not even what was planted".to_owned(),
        ([], None) => "nothing".to_owned(),
        (found, _) => found.join("; "),
    };
    let held = if looked.is_clean() { "yes" } else { "NO" };
    let searched = format!("{} pieces, {} KiB", looked.pieces, looked.bytes / 1024);
    table.row(vec![
        engine.to_owned(),
        looked.place.to_string(),
        searched,
        held.to_owned(),
        seen,
    ]);
}

fn failed(engine: &str, seen: &str, table: &mut Table, tally: &mut Tally) {
    tally.count(false);
    table.row([engine, "the run", "", "NO", seen].map(str::to_owned).to_vec());
}

/// One run: everything that happens, and what is left of it.
async fn one(engine: Engine) -> anyhow::Result<Vec<Looked>> {
    let (mut places, mut canaries, mut control) = (Places::default(), Needles::default(), Needles::default());
    let server = Setup::new()
        .plugin(&plugin("github"))
        .plugin(&test_guest("probe"))
        .config("level = \"trace\"\n")
        .config(&engine::config(engine))
        .start()
        .await;
    let planted = format!("planted-{}", HEXLOWER.encode(&rand::random::<[u8; 8]>()));
    control.add("what was planted", planted.as_bytes());

    let mut stage = Stage {
        server: &server,
        places: &mut places,
        canaries: &mut canaries,
        control: &control,
    };
    for kind in KINDS.into_iter().filter(|kind| kind.used == Use::Outbound) {
        let target = Target::start(kind).await;
        target.canary.add_to(stage.canaries);
        server.api.apply(&target.file()).await;
        server
            .api
            .set_secret(kind.connection, "key", &target.canary.text())
            .await;
        stage.outbound(&target).await?;
        stage.mistakes(&target.canary).await?;
        carried(&target)?;
    }
    let mut last = None;
    for kind in KINDS.into_iter().filter(|kind| kind.used == Use::Inbound) {
        let canary = kind.canary();
        canary.add_to(stage.canaries);
        server.api.apply(&outside::inbound_file(kind)).await;
        server.api.set_secret(kind.connection, "key", &canary.text()).await;
        stage.inbound(&canary).await?;
        last = Some(canary);
    }
    let last = last.ok_or_else(|| anyhow::anyhow!("there is no inbound kind"))?;

    stage.tokens().await?;
    let open = Upstream::start([], Answer::ok(planted.clone())).await;
    server.api.apply(&outside::file(&planted, "none", &open.url())).await;
    stage.planted(&planted).await?;
    stage.redrives().await?;
    stage.look_at_everything(walk::AT_THE_END).await?;
    command_line::run(&server, &last, stage.places).await?;
    process(&server, stage.places)?;
    after(server, &mut places, &canaries, &control).await
}

/// The secret did reach the upstream, or the run has shown nothing.
fn carried(target: &Target) -> anyhow::Result<()> {
    let asked = target.upstream.asked();
    let mut needles = Needles::default();
    target.canary.add_to(&mut needles);
    let slot = target.canary.kind.slot;
    let signs = ["hmac", "standard", "aws"].iter().any(|kind| slot.starts_with(kind));
    let carries = |asked: &cofferdam_tests::upstream::Asked| {
        let values = asked
            .headers
            .values()
            .flat_map(|value| value.as_bytes().iter().copied());
        let all: Vec<u8> = values.chain(asked.uri.to_string().into_bytes()).collect();
        needles.find(&all).is_some()
    };
    let count = asked.iter().filter(|asked| carries(asked)).count();
    anyhow::ensure!(
        (count == 0) == signs && asked.len() > 5,
        "{}: {count} of {} requests carried the secret",
        target.canary.kind.connection,
        asked.len()
    );
    Ok(())
}

/// What other users of the machine may see of the process.
fn process(server: &Running, places: &mut Places) -> anyhow::Result<()> {
    for file in ["cmdline", "environ", "status", "maps"] {
        let path = format!("/proc/{}/{file}", server.pid());
        match std::fs::read(&path) {
            Ok(read) => places.add(Place::Process, path, read),
            // Closed to its own user, as promised; only a privileged reader gets further.
            Err(closed) if closed.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is left once the server has ended.
async fn after(
    server: Running,
    places: &mut Places,
    canaries: &Needles,
    control: &Needles,
) -> anyhow::Result<Vec<Looked>> {
    let (code, log, setup) = server.stop().await;
    anyhow::ensure!(code == Some(0), "the server ended with {code:?}");
    let traced = log.lines().filter(|line| line.contains("\"TRACE\"")).count();
    anyhow::ensure!(traced > 100, "the log is not at its finest level: {traced} such lines");
    places.add(Place::Log, "the log", log);
    places.add_below(&setup.data())?;
    command_line::run_offline(&setup.data(), places).await?;
    Ok(places.search(canaries, control))
}
