//! How long a guest has computed, as opposed to waited.
//!
//! Epoch ticks go on while a guest waits for a host call, so counting them would charge a guest for its upstream's
//! slowness. The time inside `poll` is what it computed, with the few microseconds that the host spends for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Shared between the polled call, which writes, and the epoch callback inside it, which reads.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    born: Instant,
    /// Microseconds of finished polls.
    spent_us: Arc<AtomicU64>,
    /// When the present poll began, in microseconds since `born`.
    poll_began_us: Arc<AtomicU64>,
}

/// The CPU budget is used up. Carried as a trap.
#[derive(Debug, thiserror::Error)]
#[error("computed for {} ms; {} ms are allowed", spent.as_millis(), max.as_millis())]
pub(crate) struct CpuExceeded {
    pub(crate) spent: Duration,
    pub(crate) max: Duration,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            spent_us: Arc::default(),
            poll_began_us: Arc::default(),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// From inside a poll: the finished polls and this one.
    pub(crate) fn spent(&self) -> Duration {
        let this_poll = self.now_us().saturating_sub(self.poll_began_us.load(Ordering::Relaxed));
        Duration::from_micros(self.spent_us.load(Ordering::Relaxed).saturating_add(this_poll))
    }

    /// Work that goes on beside the call, in a task of its own, and is charged to it.
    pub(crate) fn charged<F: Future>(&self, work: F) -> Charged<F> {
        Charged {
            meter: self.clone(),
            work: Box::pin(work),
        }
    }

    /// Runs `work` under this meter.
    pub(crate) fn metered<F: Future>(&self, work: F) -> Metered<F> {
        Metered {
            meter: self.clone(),
            work: Box::pin(work),
        }
    }
}

/// A future whose polls are timed.
pub(crate) struct Metered<F> {
    meter: Meter,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.now_us();
        self.meter.poll_began_us.store(began, Ordering::Relaxed);
        let polled = self.work.as_mut().poll(context);
        let took = self.meter.now_us().saturating_sub(began);
        self.meter.spent_us.fetch_add(took, Ordering::Relaxed);
        polled
    }
}

/// A future whose polls are added to what the call has spent, while those of the call itself go on.
pub(crate) struct Charged<F> {
    meter: Meter,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.now_us();
        let polled = self.work.as_mut().poll(context);
        let took = self.meter.now_us().saturating_sub(began);
        self.meter.spent_us.fetch_add(took, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_beside_the_call_is_charged_to_it() {
        let meter = Meter::new();
        let busy = Duration::from_millis(20);
        meter
            .charged(async {
                tokio::task::yield_now().await;
                let began = Instant::now();
                while began.elapsed() < busy {
                    std::hint::spin_loop();
                }
            })
            .await;
        let spent = Duration::from_micros(meter.spent_us.load(Ordering::Relaxed));
        assert!(spent >= busy, "{spent:?}");
    }
}
