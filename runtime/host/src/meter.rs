//! How long a call has computed, as opposed to waited, and where it does so.
//!
//! Epoch ticks go on while a guest waits for a host call, so counting them would charge a guest for its upstream's slowness.
//! The time inside `poll` is what it computed, with the few microseconds that the host spends for it. On the executor that is
//! measured by the wall: polls are short there, and asking the kernel costs as much as a small host call. On the compute threads, which everything else interrupts, it is measured by the
//! thread's own processor time, and what the wall shows beyond that is time in which the call was kept from computing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Shared between the polled call, which writes, and what looks from inside it: the epoch callback, the deadline.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    born: Instant,
    /// Microseconds of finished polls.
    spent_us: AtomicU64,
    /// Microseconds of work beside the call, by the processor time of whoever did it.
    beside_us: AtomicU64,
    /// When the present poll began, by the clock that it is measured by.
    poll_began_us: AtomicU64,
    /// Whether the call is on the compute threads; from then on it stays there.
    moved: AtomicBool,
    /// Microseconds in which it could have computed and was not let.
    kept_us: AtomicU64,
}

/// The CPU budget is used up. Carried as a trap.
#[derive(Debug, thiserror::Error)]
#[error("computed for {} ms; {} ms are allowed", spent.as_millis(), max.as_millis())]
pub(crate) struct CpuExceeded {
    pub(crate) spent: Duration,
    pub(crate) max: Duration,
}

/// The processor time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Reading {
            born: Instant::now(),
            spent_us: AtomicU64::new(0),
            beside_us: AtomicU64::new(0),
            poll_began_us: AtomicU64::new(0),
            moved: AtomicBool::new(false),
            kept_us: AtomicU64::new(0),
        }))
    }

    /// When the call was born.
    pub(crate) fn born(&self) -> Instant {
        self.0.born
    }

    fn wall_us(&self) -> u64 {
        micros(self.0.born.elapsed())
    }

    /// By the clock of where the call is polled. To be asked on the thread that polls it.
    fn now_us(&self) -> u64 {
        if self.has_moved() {
            micros(thread_time())
        } else {
            self.wall_us()
        }
    }

    /// From inside a poll: how long this one has computed.
    pub(crate) fn this_poll(&self) -> Duration {
        let began = self.0.poll_began_us.load(Ordering::Relaxed);
        Duration::from_micros(self.now_us().saturating_sub(began))
    }

    /// From inside a poll: the finished polls and this one.
    pub(crate) fn spent(&self) -> Duration {
        self.finished().saturating_add(self.this_poll())
    }

    /// What of [`spent`](Self::spent) is certain. On the executor the wall may show what others took.
    pub(crate) fn proven(&self) -> Duration {
        if self.has_moved() { self.spent() } else { self.beside() }
    }

    /// Between polls: everything.
    pub(crate) fn finished(&self) -> Duration {
        self.beside()
            .saturating_add(Duration::from_micros(self.0.spent_us.load(Ordering::Relaxed)))
    }

    fn beside(&self) -> Duration {
        Duration::from_micros(self.0.beside_us.load(Ordering::Relaxed))
    }

    /// Whether the call is on the compute threads.
    pub(crate) fn has_moved(&self) -> bool {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// Between polls: from the next one on the call is on the compute threads. What the wall showed on the executor may be time in
    /// which others had the processor; more than `computed_max` of it is not held against the call.
    pub(crate) fn moves(&self, computed_max: Duration) {
        self.0.spent_us.fetch_min(micros(computed_max), Ordering::Relaxed);
        self.0.moved.store(true, Ordering::Relaxed);
    }

    /// How long the call could have computed and was not let: others had the turn, or the processor.
    pub(crate) fn kept_waiting(&self) -> Duration {
        Duration::from_micros(self.0.kept_us.load(Ordering::Relaxed))
    }

    /// It was kept waiting for so long before its turn.
    pub(crate) fn was_kept(&self, held_up: Duration) {
        self.0.kept_us.fetch_add(micros(held_up), Ordering::Relaxed);
    }

    /// Polls the call.
    pub(crate) fn poll<F: Future + ?Sized>(&self, work: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        let moved = self.has_moved();
        let wall = if moved { self.wall_us() } else { 0 };
        let began = self.now_us();
        self.0.poll_began_us.store(began, Ordering::Relaxed);
        let polled = work.poll(context);
        let took = self.now_us().saturating_sub(began);
        self.0.spent_us.fetch_add(took, Ordering::Relaxed);
        if moved {
            let passed = self.wall_us().saturating_sub(wall);
            self.0.kept_us.fetch_add(passed.saturating_sub(took), Ordering::Relaxed);
        }
        polled
    }

    /// Work that goes on beside the call, in a task of its own on the executor, and is charged to it.
    pub(crate) fn charged<F: Future>(&self, work: F) -> Charged<F> {
        Charged {
            meter: self.clone(),
            work: Box::pin(work),
        }
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
        let began = thread_time();
        let polled = self.work.as_mut().poll(context);
        let took = thread_time().saturating_sub(began);
        self.meter.0.beside_us.fetch_add(micros(took), Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_millis(20);

    /// Uses the processor for so long, however often it is interrupted.
    fn compute(time: Duration) {
        let began = thread_time();
        while thread_time() - began < time {
            std::hint::spin_loop();
        }
    }

    fn poll_once<F: Future>(meter: &Meter, work: F) -> Poll<F::Output> {
        meter.poll(std::pin::pin!(work), &mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn work_beside_the_call_is_charged_to_it() {
        let meter = Meter::new();
        meter
            .charged(async {
                tokio::task::yield_now().await;
                compute(BUSY);
            })
            .await;
        assert!(meter.proven() >= BUSY && meter.finished() >= BUSY, "{meter:?}");
        meter.moves(Duration::ZERO);
        assert!(meter.finished() >= BUSY, "it is certain");
    }

    #[test]
    fn what_a_call_computes_is_counted_from_inside_and_when_the_poll_is_over() {
        for moved in [false, true] {
            let meter = Meter::new();
            if moved {
                meter.moves(Duration::MAX);
            }
            let within = poll_once(&meter, async {
                compute(BUSY);
                meter.spent()
            });
            let Poll::Ready(within) = within else {
                panic!("it waits for nothing")
            };
            assert!(within >= BUSY && meter.finished() >= within, "{within:?} {meter:?}");
        }
    }

    #[test]
    fn on_the_compute_threads_time_without_the_processor_is_not_computed_but_kept() {
        let meter = Meter::new();
        meter.moves(Duration::MAX);
        // It is without the processor until the other is done, as a thread that is interrupted is.
        _ = poll_once(&meter, async { std::thread::spawn(|| compute(BUSY)).join().is_ok() });
        assert!(meter.finished() < BUSY, "{meter:?}");
        assert!(meter.kept_waiting() >= BUSY / 2, "{meter:?}");
        meter.was_kept(BUSY);
        assert!(meter.kept_waiting() >= BUSY + BUSY / 2, "{meter:?}");
    }

    #[test]
    fn of_what_the_wall_showed_on_the_executor_no_more_is_held_against_a_call_than_it_can_have_computed_there() {
        let meter = Meter::new();
        _ = poll_once(&meter, async { compute(BUSY) });
        assert_eq!(meter.proven(), Duration::ZERO);
        meter.moves(BUSY / 4);
        assert_eq!(meter.finished(), BUSY / 4);
    }
}
