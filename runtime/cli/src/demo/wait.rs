//! Waiting for something to be so: asked again and again, within a bound.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How long anything in the demo may take before it counts as failed.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often is asked.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// The first answer that is one.
pub(super) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if began.elapsed() >= WAIT_MAX {
            bail!("waited {} s in vain for {what}", WAIT_MAX.as_secs());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// In whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
