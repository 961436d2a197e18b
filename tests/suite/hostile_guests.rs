//! Hostile guests: what a connector's code can try against the host that runs it, as data, on the real binary.
//!
//! A case is a guest, what it is told, and exactly what must come of every one of its calls; the tables are in [`cases`]. Each
//! has its lane as busy as a lane can be, beside a well-behaved connection at a steady rate. It passes only if
//! - every call ends in the class and the code that it must, in a sentence that names the number that was exceeded, or with the
//!   receipt that it must;
//! - every delivery of the neighbour arrives, once, as it was sent, and the 99th percentile of their times is no more than ten
//!   times that of alone, and half a second;
//! - the server's memory comes back to what it was before the case and before the first one, was never more than what the calls
//!   under way may have, and takes no more at the end of the last cycle than at the end of the first;
//! - the server is the same process, has not panicked, and ends well when it is told to.
//!
//! The neighbour's latency alone and beside is in the table. Files that are no connectors and WebAssembly at random are judged by
//! the neighbour, by the memory that is left behind them and by the server in the same way.

mod bed;
mod cases;
mod extent;
mod files;
mod guests;
mod memory;
mod neighbour;
mod round;
mod smith;

use std::ops::Range;

use crate::plan::Plan;
use crate::table::Table;
use crate::tally::Tally;
use bed::Bed;
use extent::Extent;
use memory::Baseline;

/// Rounds of all cases when none are asked for.
const CYCLES: u32 = 3;

/// Cases that are run before anything is measured: they touch all that a server keeps behind them. The pool keeps slots for
/// each component that used them, so there are several components.
const WARM_UP: [&str; 7] = [
    "looks-for-remains",
    "looks-for-anothers-remains",
    "grow",
    "grow-compiled",
    "look-around",
    "recurse",
    "big-request",
];

/// Every case, so many times, then files, then WebAssembly at random. `--seeds` asks for more of that alone.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Tally> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut came_to = CameTo::default();
        if let Some(seeds) = plan.seeds {
            came_to.add(smith::run(plan.seeds(seeds)?).await?);
        } else {
            let cycles = plan.cycles(CYCLES)?;
            let count = cycles.end - cycles.start;
            let extent = Extent::of(count);
            let seeds = cycles.start..cycles.start + count * u64::from(extent.seeds);
            came_to.add(called(cycles.clone(), extent).await?);
            came_to.add(files::run(cycles.start, extent).await?);
            came_to.add(smith::run(seeds).await?);
        }
        for failure in &came_to.failures {
            println!("FAILED {failure}");
        }
        Ok(came_to.tally)
    })
}

/// Of all parts together.
#[derive(Default)]
struct CameTo {
    tally: Tally,
    failures: Vec<String>,
}

impl CameTo {
    fn add(&mut self, (tally, failures): (Tally, Vec<String>)) {
        self.tally.passed += tally.passed;
        self.tally.failed += tally.failed;
        self.failures.extend(failures);
    }
}

/// The cases, on one server from the first to the last.
async fn called(cycles: Range<u64>, extent: Extent) -> anyhow::Result<(Tally, Vec<String>)> {
    let cases = cases::all();
    let mut bed = Bed::start(&cases).await?;
    let problems = bed.server().api.connectors().await.problems;
    anyhow::ensure!(problems.is_empty(), "a case's connector does not load: {problems:#?}");
    for case in &cases {
        bed.connect(case).await;
    }
    for name in WARM_UP {
        let case = cases.iter().find(|case| case.name == name);
        let outcome = round::run(&bed, case.expect("it is one of them"), extent.events).await;
        eprintln!("  warming up: {}", outcome.row.join(", "));
    }
    bed.baseline = Baseline::of_run(bed.server());
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let mut ends = Vec::new();
    for cycle in cycles {
        let mut table = Table::new(&round::HEADING);
        for case in &cases {
            let outcome = round::run(&bed, case, extent.events).await;
            tally.count(outcome.faults.is_empty());
            eprintln!("  {}", outcome.row.join(", "));
            table.row(outcome.row);
            let faults = outcome.faults.into_iter();
            failures.extend(faults.map(|fault| format!("{} (cycle {cycle}): {fault}", case.name)));
        }
        println!("cycle {cycle}");
        table.print();
        ends.push(bed.server().resident_bytes());
    }
    if let Some(judged) = memory::grown(&ends) {
        tally.count(judged.is_ok());
        failures.extend(judged.err());
    }
    bed.stop().await?;
    Ok((tally, failures))
}
