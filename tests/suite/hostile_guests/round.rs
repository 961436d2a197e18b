//! One case: the neighbour alone, then beside it, and the verdict.
//!
//! Calls go off in bursts of more than a lane may have under way, so that the lane is as busy as it can be, until the neighbour
//! has had its events beside them.

use cofferdam_domain::classify::Failure;

use super::bed::Bed;
use super::cases::{Case, Expected};
use super::memory::{Baseline, mib};

/// Calls of one burst: more than one lane's share of the default `host.calls`, which is a quarter of 128 and one.
pub(crate) const BURST: usize = 36;

/// What a case came to.
pub(crate) struct Outcome {
    pub(crate) row: Vec<String>,
    pub(crate) faults: Vec<String>,
}

/// The table's columns.
pub(crate) const HEADING: [&str; 9] = [
    "guest",
    "came to",
    "calls",
    "p99 alone",
    "beside",
    "ratio",
    "memory before",
    "most",
    "after",
];

/// Runs it once: so many of the neighbour's events are in the span alone and, at least, in that beside the case.
pub(crate) async fn run(bed: &Bed, case: &Case, events: usize) -> Outcome {
    let quiet = bed.neighbour.mark();
    bed.neighbour.pass(events).await;
    let before = Baseline::of_case(bed.server());
    let (dead_before, delivered_before) = bed.counted(case).await;

    let beside = bed.neighbour.mark();
    let mut sent = Vec::new();
    while bed.neighbour.mark() < beside + events {
        sent.extend(bed.send(case, BURST).await);
        bed.ended(case).await;
    }
    let end = bed.neighbour.mark();

    let alone = bed.neighbour.heard(quiet..beside).await;
    let beside = bed.neighbour.heard(beside..end).await;
    let (dead, delivered) = bed.counted(case).await;
    let (dead, delivered) = (dead - dead_before, delivered - delivered_before);
    let failures = bed.failures(case, usize::try_from(dead).unwrap_or(usize::MAX)).await;
    let (most_bytes, too_much) = before.peak(bed.server(), BURST, case.limits.memory_bytes);
    let (_, not_back_to_case) = before.back(bed.server()).await;
    let (after_bytes, not_back_to_run) = bed.baseline.back(bed.server()).await;

    let mut faults = judged(case, sent.len(), &failures, delivered);
    if let Expected::Delivered {
        summary: Some(expected),
    } = case.expected
    {
        let receipts = bed.summaries(&sent).await;
        let other = |found: &&Option<String>| !found.as_deref().is_some_and(|found| found.contains(expected));
        let wrong: Vec<_> = receipts.iter().filter(other).collect();
        if let Some(found) = wrong.first() {
            faults.push(format!(
                "of {} receipts {} say something else than {expected:?}: {found:?}",
                sent.len(),
                wrong.len()
            ));
        }
    }
    faults.extend(beside.disturbed(&alone));
    faults.extend([too_much, not_back_to_case, not_back_to_run].into_iter().flatten());
    faults.extend(bed.faults().await);
    faults.extend(alone.faults.iter().chain(&beside.faults).cloned());
    Outcome {
        row: vec![
            case.name.clone(),
            came_to(&failures, delivered),
            sent.len().to_string(),
            format!("{:.1} ms", alone.p99_ms()),
            format!("{:.1} ms", beside.p99_ms()),
            format!("{:.1}", beside.p99_ms() / alone.p99_ms()),
            format!("{} MiB", mib(before.bytes())),
            format!("{} MiB", mib(most_bytes)),
            format!("{} MiB", mib(after_bytes)),
        ],
        faults,
    }
}

/// Every call, and each exactly as it must.
fn judged(case: &Case, calls: usize, failures: &[Failure], delivered: u64) -> Vec<String> {
    let ended = failures.len() as u64 + delivered;
    let mut faults = Vec::new();
    if ended != calls as u64 {
        faults.push(format!("{calls} calls, of which {ended} came to an end"));
    }
    match case.expected {
        Expected::Ended => {}
        Expected::Delivered { .. } => {
            faults.extend(failures.first().map(|failure| format!("failed: {}", told(failure))));
        }
        Expected::Failed { class, code, says } => {
            if delivered > 0 {
                faults.push(format!("{delivered} calls were taken for deliveries"));
            }
            let as_expected = |failure: &&Failure| {
                let found = failure.code.as_deref().unwrap_or_default();
                failure.class == class && found == code && says.iter().all(|part| failure.message.contains(part))
            };
            let other = failures.iter().find(|failure| !as_expected(failure));
            faults.extend(other.map(|failure| format!("{} instead of {class} {code} with {says:?}", told(failure))));
        }
    }
    faults
}

fn told(failure: &Failure) -> String {
    let code = failure.code.as_deref().unwrap_or_default();
    format!("{} {code} ({})", failure.class, failure.message)
}

/// Every outcome that there was.
pub(crate) fn came_to(failures: &[Failure], delivered: u64) -> String {
    let mut kinds: Vec<_> = failures
        .iter()
        .map(|failure| format!("{} {}", failure.class, failure.code.as_deref().unwrap_or_default()))
        .collect();
    if delivered > 0 {
        kinds.push("delivered".to_owned());
    }
    kinds.sort();
    kinds.dedup();
    kinds.join(", ")
}
