//! The wall deadline of a call. Time in which the call was kept from computing by others is not the guest's fault: the deadline
//! moves on by it, to twice its length and no further.

use std::future::Future;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::meter::Meter;

/// By what factor waiting for others can lengthen a deadline. Leases have room for it.
pub const DEADLINE_STRETCH_MAX: u32 = 2;

/// The call did not end in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "did not end within {} ms{}",
    limit.as_millis(),
    if waited.is_zero() { String::new() } else { format!(" and the {} ms that others kept it waiting", waited.as_millis()) }
)]
pub(crate) struct Elapsed {
    limit: Duration,
    waited: Duration,
}

/// Runs `work` until its deadline. The result of the last moment counts.
pub(crate) async fn within<F: Future>(limit: Duration, meter: &Meter, work: F) -> Result<F::Output, Elapsed> {
    let began = Instant::now();
    let mut work = pin!(work);
    let mut over = pin!(sleep_until(began + limit));
    std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(ended));
        }
        loop {
            ready!(over.as_mut().poll(context));
            let waited = stretch(limit, meter.kept_waiting());
            let until = began + limit + waited;
            if over.deadline() >= until {
                return Poll::Ready(Err(Elapsed { limit, waited }));
            }
            over.as_mut().reset(until);
        }
    })
    .await
}

/// What of its waiting lengthens a deadline.
pub(crate) fn stretch(limit: Duration, waited: Duration) -> Duration {
    waited.min(limit * (DEADLINE_STRETCH_MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// When a call that never ends is ended, if it was kept waiting for so long after five seconds.
    async fn ended_after(kept: Duration) -> (Duration, Elapsed) {
        let (began, meter) = (Instant::now(), Meter::new());
        let kept_later = async {
            tokio::time::sleep(LIMIT / 2).await;
            meter.was_kept(kept);
            std::future::pending::<()>().await;
        };
        let elapsed = within(LIMIT, &meter, kept_later).await.unwrap_err();
        (began.elapsed(), elapsed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moves_on_by_what_others_took_and_no_further_than_its_own_length() {
        for (kept, waited) in [(0, 0), (1, 1), (9, 9), (10, 10), (11, 10), (1_000_000, 10)] {
            let waited = Duration::from_secs(waited);
            let (after, elapsed) = ended_after(Duration::from_secs(kept)).await;
            assert_eq!(elapsed, Elapsed { limit: LIMIT, waited });
            assert!(
                after >= LIMIT + waited && after < LIMIT + waited + Duration::from_millis(10),
                "{after:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_the_last_moment_counts() {
        let work = async {
            tokio::time::sleep(LIMIT).await;
            7
        };
        assert_eq!(within(LIMIT, &Meter::new(), work).await, Ok(7));
    }

    #[test]
    fn the_message_says_what_was_allowed_and_what_was_added() {
        let elapsed = |waited| Elapsed { limit: LIMIT, waited }.to_string();
        assert_eq!(elapsed(Duration::ZERO), "did not end within 10000 ms");
        assert_eq!(
            elapsed(Duration::from_millis(7)),
            "did not end within 10000 ms and the 7 ms that others kept it waiting"
        );
    }
}
