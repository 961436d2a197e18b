//! The server's resident memory: what it was before anything misbehaved, and whether it comes back to it.
//!
//! It never comes back to the byte. Slots of the pool keep what a call has touched, up to a bound; the allocator keeps pages;
//! the store's cache fills up to its size; each delivery that a case leaves is counted in memory. The baseline is taken
//! once, behind a warm-up that has done all of that, and holds for the whole run: what leaks a little in every case is over the
//! allowance in the end.

use std::time::{Duration, Instant};

use cofferdam_tests::Running;

/// How far above the baseline the server may stay: what is left of the 400 MiB that the pool may keep in unused slots when the
/// warm-up is over, and of what the allocator keeps.
const ALLOWANCE_BYTES: u64 = 192 * 1024 * 1024;

/// How much more it may have at the end of the last cycle than at the end of the first: each leaves some ten thousand dead letters
/// behind.
const GROWTH_BYTES: u64 = 48 * 1024 * 1024;

/// How long it may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Baseline(u64);

impl Baseline {
    /// As it is now.
    pub(crate) fn of(server: &Running) -> Self {
        Self(server.resident_bytes())
    }

    /// Waits until the server is back, and says what it has then; a sentence if it does not come back.
    pub(crate) async fn back(self, server: &Running) -> (u64, Option<String>) {
        let began = Instant::now();
        loop {
            let now = server.resident_bytes();
            if now <= self.0 + ALLOWANCE_BYTES {
                return (now, None);
            }
            if began.elapsed() > BACK_WITHIN {
                let fault = format!(
                    "the server still has {} MiB resident, {} before it began; {} more are allowed",
                    mib(now),
                    mib(self.0),
                    mib(ALLOWANCE_BYTES)
                );
                return (now, Some(fault));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What is wrong with what the server had at the end of each cycle: the same again must not take more.
pub(crate) fn grown(ends: &[u64]) -> Option<String> {
    let (first, last) = (ends.first()?, ends.last()?);
    let list: Vec<_> = ends.iter().map(|bytes| mib(*bytes).to_string()).collect();
    println!("resident at the end of each cycle, in MiB: {}", list.join(", "));
    (*last > first + GROWTH_BYTES).then(|| {
        format!(
            "the server has grown from {} MiB to {} MiB in {} cycles; {} are allowed",
            mib(*first),
            mib(*last),
            ends.len(),
            mib(GROWTH_BYTES)
        )
    })
}

/// Whole mebibytes.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
