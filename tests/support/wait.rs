//! Waiting for the thing itself.

use std::future::Future;
use std::time::{Duration, Instant};

/// The longest that anything is waited for; far above what it takes, so that a slow machine is no failure.
pub const BOUND: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(10);

/// Asks until there is an answer. Panics with `what` when there is none within [`BOUND`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            began.elapsed() < BOUND,
            "{what} did not happen within {} s",
            BOUND.as_secs()
        );
        tokio::time::sleep(STEP).await;
    }
}
