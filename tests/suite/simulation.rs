//! Simulation: accept → lanes → settle in simulated time, from a seed.
//!
//! What runs is the real thing: the queue over a store in memory, `domain`'s verdicts, retries and the core of each lane.
//! What is simulated is everything around it: time, destinations that fail, stall, limit, lie and recover, processes that are
//! killed or stopped, clocks that are set, settles that come too late, and people who edit, disable, release, replay and
//! discard. A judge ([`judge`]) follows each delivery by rules of its own and says which promise was broken: what was
//! acknowledged is there; nothing is tried before it is due, in a parked lane, before a Retry-After or the breaker's next probe
//! is over, twice at once, out of its order, or above its concurrency and rate; uncharged is not charged; one lease is valid at
//! a time; a destination that is well never waits for its neighbours. In the end everything that was acknowledged is delivered,
//! dead or discarded.
//!
//! The same seed is the same run, to the last step: what fails is repeated with `cargo xtask suite simulation --seed N`.
//!
//! What is not simulated: the guest, the gate, the store's engines and the executor (`crash` and `power-loss` have them), and
//! the server's own loop around the core, which [`lane`] stands in for.

mod agenda;
mod attempt;
mod bed;
mod clock;
mod destination;
mod judge;
mod lane;
mod scenario;
mod trace;
mod world;

use std::ops::Range;

use self::bed::Counts;
use self::world::World;
use crate::table::Table;
use crate::tally::Tally;

/// How a run went.
struct Played {
    counts: Counts,
    /// Of everything that happened.
    hash: u64,
    /// What was broken, and the last that happened before.
    broken: Option<(anyhow::Error, Vec<String>)>,
}

/// Every seed, once.
pub(crate) fn run(seeds: Range<u64>) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut tally = Tally::default();
    let mut all = Counts::default();
    let mut trace = 0_u64;
    for seed in seeds {
        let played = runtime.block_on(play(seed))?;
        tally.count(played.broken.is_none());
        all.add(&played.counts);
        trace = trace.rotate_left(1) ^ played.hash;
        if let Some((error, tail)) = played.broken {
            println!("seed {seed}: {error:#}");
            println!("  the last that happened:");
            tail.iter().for_each(|line| println!("  {line}"));
            println!("  once more: cargo xtask suite simulation --seed {seed}");
        }
    }
    let mut table = Table::new(&["what happened", "times"]);
    for (what, times) in all.rows() {
        table.row(vec![what.to_owned(), times.to_string()]);
    }
    // The same seeds have the same trace: a difference between two machines would be seen here.
    table.row(vec!["trace".to_owned(), format!("{trace:016x}")]);
    table.print();
    Ok(tally)
}

/// Plays the run of a seed.
async fn play(seed: u64) -> anyhow::Result<Played> {
    let mut world = World::new(seed).await?;
    let done = world.run().await;
    let tail = || world.bed.trace.tail().map(str::to_owned).collect();
    Ok(Played {
        counts: world.bed.counts,
        hash: world.bed.trace.hash(),
        broken: done.err().map(|error| (error, tail())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(seed: u64) -> Played {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(seed)).unwrap()
    }

    #[test]
    fn the_same_seed_is_the_same_run_and_another_seed_another() {
        for seed in 1..6 {
            let (first, second) = (played(seed), played(seed));
            assert_eq!((first.hash, first.counts), (second.hash, second.counts), "{seed}");
            assert_ne!(first.hash, played(seed + 1_000).hash, "{seed}");
        }
    }

    #[test]
    fn a_few_seeds_keep_every_promise_and_meet_every_kind_of_trouble() {
        let mut all = Counts::default();
        for seed in 1..=60 {
            let played = played(seed);
            assert!(played.broken.is_none(), "seed {seed}: {:?}", played.broken);
            all.add(&played.counts);
        }
        for (what, times) in all.rows() {
            assert!(times > 0, "{what}: never");
        }
    }
}
