//! Faults: what the server says and does when its disk fails under it, and that it loses nothing it has acknowledged.
//!
//! The real server runs with the library of `tests/faults` between it and its data folder. Either the disk is bad from the
//! start ([`start`]), or it becomes so while producers load the server ([`midway`]). Then a server without the library starts
//! on what was left, and everything is held against everything as after a crash: every acknowledged event is there and
//! delivered.
//!
//! What is simulated: a disk that fills up (the write that meets its end is cut short), writes that fail, a read-only disk, an
//! fsync that fails once, fsyncs that take 200 ms more. What is not: reads that fail, space that a file system finds missing
//! only at the fsync, a disk that comes back as another one.
//!
//! A row is one case on one engine, and counts as one round. Nothing in it is random but the load.

mod midway;
mod start;

use crate::engine::Engine;
use crate::plan::Plan;
use crate::table::Table;
use crate::tally::Tally;

/// A case.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// The disk is bad before the server starts.
    Start(start::Start),
    /// It becomes bad under load.
    Midway(midway::Midway),
}

/// What a case saw: a few words for its row.
type Seen = anyhow::Result<String>;

/// Every case on every engine.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Tally> {
    plan.no_rounds()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tally = Tally::default();
    let mut table = Table::new(&["engine", "case", "held", "seen"]);
    let start = start::CASES.into_iter().map(Case::Start);
    let cases: Vec<_> = start.chain(midway::CASES.into_iter().map(Case::Midway)).collect();
    for engine in Engine::ALL {
        for &case in &cases {
            eprintln!("  {engine}: {}", case.name());
            // The server's handle says what is wrong by panicking.
            let round = runtime.spawn(case.run(engine));
            let seen = runtime.block_on(round).unwrap_or_else(|panicked| Err(panicked.into()));
            tally.count(seen.is_ok());
            let (held, words) = match seen {
                Ok(words) => ("yes", words),
                Err(error) => ("NO", format!("{error:#}")),
            };
            table.row(vec![engine.to_string(), case.name().to_owned(), held.to_owned(), words]);
        }
    }
    table.print();
    Ok(tally)
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Start(case) => case.name,
            Self::Midway(case) => case.name,
        }
    }

    async fn run(self, engine: Engine) -> Seen {
        match self {
            Self::Start(case) => case.run(engine).await,
            Self::Midway(case) => case.run(engine).await,
        }
    }
}
