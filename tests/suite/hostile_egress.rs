//! Hostile egress: what a connector's author, an upstream and a name server can try against the gate, as data.
//!
//! A case is what the guest asks, what stands around it, and exactly what must come of it; the tables are in [`themes`]. Each
//! one runs through every door: a real component in the real host asks the real gate, over real sockets, and reports what it
//! got to the byte. Besides what the case says, it passes only if
//! - no listener that is forbidden to it saw a connection;
//! - the credential reached its slot and nothing else, and only if the request was let through;
//! - no form of the credential is in what the guest got, in all of the guest's memory, in the record, in what the call told,
//!   or in anything that this process logged at the finest level;
//! - the host's record says the same as the guest was told.
//!
//! Whether a host is decided upon without any network act is shown by counting lookups and connections, not by a stopwatch.

mod bed;
mod case;
mod credential;
mod door;
mod judge;
mod names;
mod text;
mod themes;
mod tokens;
mod upstream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::logs::Logs;
use crate::needles::Needles;
use crate::plan::Plan;
use crate::table::Table;
use crate::tally::Tally;
use bed::Bed;
use case::Case;
use themes::Theme;

/// Cases under way at once: most of them wait for sockets.
const AT_ONCE_MAX: usize = 8;

/// The least that a whole run must hold.
const CASES_MIN: usize = 150;

/// Every case through every door.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Tally> {
    plan.no_rounds()?;
    let logs = Logs::keep()?;
    tokio::runtime::Runtime::new()?.block_on(all(logs))
}

/// What one theme came to.
struct Outcome {
    name: &'static str,
    cases: usize,
    /// Door by door.
    passed: Vec<usize>,
    took: Duration,
    failures: Vec<String>,
}

async fn all(logs: Logs) -> anyhow::Result<Tally> {
    let dir = tempfile::tempdir()?;
    let doors: Vec<Box<dyn door::Door>> = vec![Box::new(door::Contract), Box::new(door::WasiHttp)];
    let bed = Arc::new(Bed::new(dir.path(), doors).await?);
    let themes = themes::all();
    let cases: usize = themes.iter().map(|theme| theme.cases.len()).sum();
    anyhow::ensure!(cases >= CASES_MIN, "there are only {cases} cases");

    let names: Vec<_> = bed.doors().map(door::Door::name).collect();
    let mut table = Table::new(&[&["theme", "cases"][..], &names, &["time"]].concat());
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for theme in themes {
        let outcome = one(&bed, theme, &logs).await;
        let mut row = vec![outcome.name.to_owned(), outcome.cases.to_string()];
        row.extend(outcome.passed.iter().map(|passed| format!("{passed} passed")));
        row.push(format!("{:.1} s", outcome.took.as_secs_f64()));
        table.row(row);
        let passed: usize = outcome.passed.iter().sum();
        let failed = outcome.cases * names.len() - passed;
        tally.passed += u32::try_from(passed)?;
        tally.failed += u32::try_from(failed)?;
        failures.extend(outcome.failures);
    }
    table.print();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!("{cases} cases, each through {} doors", names.len());
    Ok(tally)
}

/// Runs a theme's cases, and then looks at what was logged meanwhile.
async fn one(bed: &Arc<Bed>, theme: Theme, logs: &Logs) -> Outcome {
    let began = Instant::now();
    let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let doors = bed.doors().count();
    let mut running = JoinSet::new();
    let cases = theme.cases.len();
    for case in theme.cases {
        for door in 0..doors {
            let (bed, case, room) = (Arc::clone(bed), case.clone(), Arc::clone(&room));
            running.spawn(async move {
                let _turn = room.acquire_owned().await;
                (door, judged(&bed, &case, door).await)
            });
        }
    }
    let mut outcome = Outcome {
        name: theme.name,
        cases,
        passed: vec![0; doors],
        took: Duration::ZERO,
        failures: Vec::new(),
    };
    let mut needles = Needles::default();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((door, judged)) => {
                outcome.passed[door] += usize::from(judged.failures.is_empty());
                outcome.failures.extend(
                    judged
                        .failures
                        .iter()
                        .map(|failure| format!("{}: {failure}", theme.name)),
                );
                needles.join(&judged.needles);
            }
            Err(panicked) => outcome
                .failures
                .push(format!("{}: a case panicked: {panicked}", theme.name)),
        }
    }
    if let Some(found) = needles.find(&logs.take()) {
        // Which case it was of cannot be told, so all of the theme count as failed.
        outcome.failures.push(format!("{}: {found} was logged", theme.name));
        outcome.passed.fill(0);
    }
    outcome.took = began.elapsed();
    outcome.failures.sort();
    outcome
}

/// What one case through one door came to, and what must not have been logged.
struct Judged {
    failures: Vec<String>,
    needles: Needles,
}

async fn judged(bed: &Bed, case: &Case, door: usize) -> Judged {
    let name = bed.doors().nth(door).map_or("", door::Door::name);
    match bed.run(case, door).await {
        Ok(ran) => {
            let door = bed.doors().nth(door).expect("it has just been used");
            let faults = judge::faults(case, &ran, door);
            Judged {
                failures: faults
                    .iter()
                    .map(|fault| format!("{} ({name}): {fault}", case.name))
                    .collect(),
                needles: ran.credential.needles(),
            }
        }
        Err(error) => Judged {
            failures: vec![format!("{} ({name}): {error:#}", case.name)],
            needles: Needles::default(),
        },
    }
}
