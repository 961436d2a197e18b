//! The server's resident memory: what it was before anything misbehaved, and whether it comes back to it.
//!
//! It never comes back to the byte. Slots of the pool keep what a call has touched, up to a bound; the allocator keeps pages;
//! the store's cache fills up to its size; each delivery that a case leaves is counted in memory. So there are two baselines: one
//! is taken once, behind a warm-up that has done all of that, and holds for the whole run, so that what leaks a little in every
//! case is over its allowance in the end; the other is taken before each case and allows less, so that it is known which it was.
//!
//! The peak while a case runs is bounded too: by what its calls may have, and not by what they ask for.

use std::time::{Duration, Instant};

use cofferdam_tests::Running;

const MIB: u64 = 1024 * 1024;

/// How far above the baseline of a run the server may stay: some ten thousand dead letters, what is left of the 64 MiB of the
/// store's cache, and of the 1 MiB that each of some 70 slots of the pool may keep, when the warm-up is over.
const RUN_ALLOWANCE_BYTES: u64 = 96 * MIB;

/// The same for one case: a few hundred dead letters, slots of the pool that were not used before, and pages of the allocator. What
/// a burst of calls leaves for good is over it if each leaves 1 MiB.
const CASE_ALLOWANCE_BYTES: u64 = 32 * MIB;

/// How much more it may have at the end of the last cycle than at the end of the first: each leaves some ten thousand dead letters
/// behind.
const GROWTH_BYTES: u64 = 48 * MIB;

/// What a call may have in the host beside what its policy allows: what is in one crossing, before it is looked at, which is
/// `host_call_bytes` by default.
const CROSSING_BYTES: u64 = 16 * MIB;

/// How long it may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Baseline {
    bytes: u64,
    allowance_bytes: u64,
    /// When it was taken.
    before: &'static str,
    /// Whether the peak counts from then on, which it does for root only.
    peak_counts: bool,
}

impl Baseline {
    /// As it is now, for a whole run.
    pub(crate) fn of_run(server: &Running) -> Self {
        Self {
            bytes: server.resident_bytes(),
            allowance_bytes: RUN_ALLOWANCE_BYTES,
            before: "the run",
            peak_counts: false,
        }
    }

    /// As it is now, for one case. The peak counts from now on.
    pub(crate) fn of_case(server: &Running) -> Self {
        let peak_counts = server.forget_peak();
        Self {
            peak_counts,
            bytes: server.resident_bytes(),
            allowance_bytes: CASE_ALLOWANCE_BYTES,
            before: "the case",
        }
    }

    /// What it was.
    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }

    /// Waits until the server is back, and says what it has then; a sentence if it does not come back.
    pub(crate) async fn back(self, server: &Running) -> (u64, Option<String>) {
        let began = Instant::now();
        loop {
            let now = server.resident_bytes();
            if now <= self.bytes + self.allowance_bytes {
                return (now, None);
            }
            if began.elapsed() > BACK_WITHIN {
                let fault = format!(
                    "the server still has {} MiB resident, {} before {}; {} more are allowed",
                    mib(now),
                    mib(self.bytes),
                    self.before,
                    mib(self.allowance_bytes)
                );
                return (now, Some(fault));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The most that the server had since, and a sentence if that is more than so many calls at once with so much memory each
    /// account for.
    pub(crate) fn peak(self, server: &Running, calls: usize, memory_bytes: u32) -> (u64, Option<String>) {
        let peak = server.resident_peak_bytes();
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        let theirs = calls.saturating_mul(u64::from(memory_bytes) + CROSSING_BYTES);
        let allowed = RUN_ALLOWANCE_BYTES.saturating_add(theirs);
        let is_over = self.peak_counts && peak > self.bytes.saturating_add(allowed);
        let fault = is_over.then(|| {
            format!(
                "the server had {} MiB resident, {} before {}; {} more are what its calls may have",
                mib(peak),
                mib(self.bytes),
                self.before,
                mib(allowed)
            )
        });
        (peak, fault)
    }
}

/// Of what the server had at the end of each cycle: whether the same again took more, and what is wrong then. One cycle says
/// nothing about that.
pub(crate) fn grown(ends: &[u64]) -> Option<Result<(), String>> {
    let [first, .., last] = ends else { return None };
    let list: Vec<_> = ends.iter().map(|bytes| mib(*bytes).to_string()).collect();
    println!("resident at the end of each cycle, in MiB: {}", list.join(", "));
    if *last <= first + GROWTH_BYTES {
        return Some(Ok(()));
    }
    Some(Err(format!(
        "the server has grown from {} MiB to {} MiB in {} cycles; {} are allowed",
        mib(*first),
        mib(*last),
        ends.len(),
        mib(GROWTH_BYTES)
    )))
}

/// Whole mebibytes.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes / MIB
}
