//! The compute threads: where a call goes on that turns out to compute.
//!
//! A call begins on the executor, where it costs nothing to begin. What is found computing there is moved: from then on it is
//! polled here, by a few threads of a lower priority, which the kernel takes the processor from as soon as anything else of this
//! process wants it. Timers, sockets and tasks of a moved call are still the executor's; only its own steps are made here, the
//! last one included, so that taking down what it has grown is nobody else's work either.
//!
//! Turns are [fair by lane](queue). One ends when its guest waits for something, at an epoch tick, or a little after somebody of
//! another lane has come while every thread is taken.

pub(crate) mod queue;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use async_task::Runnable;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tracing::Instrument;

use self::queue::{FairQueue, LaneId, Turn};
use crate::meter::{Meter, thread_time};
use crate::weight::LaneWeight;

/// What a call may compute on the executor over all of its polls.
const EXECUTOR_MAX: Duration = Duration::from_millis(2);

/// A poll on the executor that has computed for so long when an epoch tick comes ends there.
const EXECUTOR_POLL_MAX: Duration = Duration::from_millis(1);

/// A turn ends at the first epoch tick after so long, so that a deadline and a cancellation are seen.
const TURN: Duration = Duration::from_millis(5);

/// A turn lasts at least so long, whoever waits: changing over costs too.
const TURN_MIN: Duration = Duration::from_millis(1);

/// Added to the niceness of the compute threads: a tenth of the weight of everything else, so that a processor which something
/// outside keeps busy still leaves them some.
const NICENESS: i32 = 10;

/// As nice as Linux lets a thread be.
const NICENESS_MAX: i32 = 19;

/// A call, from its beginning to its end. Its type is hidden, since whoever awaits a call would be of that type too, and their
/// crates take minutes to compile for it.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How the threads are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeUse {
    /// Threads that there are.
    pub threads: usize,
    /// Calls that wait for a turn now.
    pub waiting: usize,
    /// Calls that were moved here, or began here, since the start.
    pub moved: u64,
    /// Turns that were taken since the start.
    pub turns: u64,
    /// What calls have waited for turns because of other lanes since the start, all together, in milliseconds.
    pub held_up_ms: u64,
}

/// The threads and their queue. They end when this is dropped and nothing waits any more.
pub(crate) struct Compute(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something waits, or it is over.
    wake: Condvar,
    /// Ends the turns under way at their next look: a tick before its time.
    tick: Box<dyn Fn() + Send + Sync>,
    threads: usize,
    moved: AtomicU64,
    turns: AtomicU64,
    held_up_us: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: FairQueue<Runnable<Job>>,
    under_way: Vec<(LaneId, Instant)>,
    closed: bool,
}

/// What a thread needs to know of a call that it polls.
struct Job {
    lane: LaneId,
    meter: Meter,
    runtime: Handle,
}

impl Compute {
    /// Starts the threads: one less than there are processors, and one at least.
    pub(crate) fn start(tick: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let processors = available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_threads((processors - 1).max(1), tick)
    }

    fn with_threads(threads: usize, tick: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let compute = Self(Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            tick: Box::new(tick),
            threads,
            moved: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            held_up_us: AtomicU64::new(0),
        }));
        for _ in 0..threads {
            let shared = Arc::clone(&compute.0);
            std::thread::Builder::new()
                .name("cofferdam-guest".to_owned())
                .spawn(move || shared.serve())?;
        }
        Ok(compute)
    }

    /// Runs a call: here if its lane is heavy or as soon as it turns out to compute, and on the executor until then.
    /// Cancel-safe: dropping the future ends the call, where it is.
    pub(crate) async fn carry<T: Send + 'static>(&self, weight: &LaneWeight, meter: &Meter, mut work: Work<T>) -> T {
        if !weight.is_heavy() {
            let ended = std::future::poll_fn(|context| match meter.poll(work.as_mut(), context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if meter.finished() > EXECUTOR_MAX => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(ended) = ended.await {
                weight.note(meter.finished());
                return ended;
            }
            weight.note_moved();
        }
        let ended = self.run(weight.lane, meter, work).await;
        weight.note(meter.finished());
        ended
    }

    fn run<T: Send + 'static>(
        &self,
        lane: LaneId,
        meter: &Meter,
        mut work: Work<T>,
    ) -> impl Future<Output = T> + use<T> {
        meter.moves(EXECUTOR_MAX);
        self.0.moved.fetch_add(1, Ordering::Relaxed);
        let job = Job {
            lane,
            meter: meter.clone(),
            runtime: Handle::current(),
        };
        let (shared, metered) = (Arc::clone(&self.0), meter.clone());
        let polled = std::future::poll_fn(move |context| metered.poll(work.as_mut(), context)).in_current_span();
        let (runnable, task) = async_task::Builder::new()
            .propagate_panic(true)
            .metadata(job)
            .spawn(move |_| polled, move |runnable| shared.push(runnable));
        runnable.schedule();
        task
    }

    /// From inside a poll, at an epoch tick: whether the call is to give way now.
    pub(crate) fn gives_way(&self, lane: LaneId, meter: &Meter) -> bool {
        let computed = meter.this_poll();
        if !meter.has_moved() {
            return computed >= EXECUTOR_POLL_MAX;
        }
        computed >= TURN || computed >= TURN_MIN && self.0.lock().queue.another_waits(lane)
    }

    /// How the threads are used.
    pub(crate) fn usage(&self) -> ComputeUse {
        ComputeUse {
            threads: self.0.threads,
            waiting: self.0.lock().queue.len(),
            moved: self.0.moved.load(Ordering::Relaxed),
            turns: self.0.turns.load(Ordering::Relaxed),
            held_up_ms: self.0.held_up_us.load(Ordering::Relaxed) / 1000,
        }
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    // What is under the lock is whole between any two of its calls, so a panic elsewhere has left it so.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, runnable: Runnable<Job>) {
        let (lane, now) = (runnable.metadata().lane, Instant::now());
        let mut state = self.lock();
        state.queue.push(lane, runnable, now);
        let taken = state.under_way.len() >= self.threads;
        let over =
            |(other, began): &(LaneId, Instant)| *other != lane && now.saturating_duration_since(*began) >= TURN_MIN;
        let presses = taken && state.under_way.iter().any(over);
        drop(state);
        if presses {
            (self.tick)();
        } else if !taken {
            self.wake.notify_one();
        }
    }

    fn pop(&self) -> Option<Turn<Runnable<Job>>> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(turn) = state.queue.pop(now) {
                state.under_way.push((turn.lane, now));
                return Some(turn);
            }
            if state.closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, lane: LaneId, used: Duration) {
        let mut state = self.lock();
        let at = state.under_way.iter().position(|(other, _)| *other == lane);
        at.map(|at| state.under_way.swap_remove(at));
        state.queue.end(lane, used, Instant::now());
    }

    /// One thread's life.
    fn serve(&self) {
        if let Err(error) = step_back() {
            tracing::warn!(%error, "guests that compute cannot be given a lower priority; neighbours may notice them");
        }
        while let Some(Turn { lane, job, held_up }) = self.pop() {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let held_up_us = u64::try_from(held_up.as_micros()).unwrap_or(u64::MAX);
            self.held_up_us.fetch_add(held_up_us, Ordering::Relaxed);
            job.metadata().meter.was_kept(held_up);
            let (runtime, began) = (job.metadata().runtime.clone(), thread_time());
            // A call that panics is answered to whoever waits for it; what panics here is what it leaves when it is dropped.
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let _entered = runtime.enter();
                job.run();
            }));
            if polled.is_err() {
                tracing::error!("a call panicked while it was being taken down");
            }
            self.end(lane, thread_time().saturating_sub(began));
        }
    }
}

/// Lowers the priority of this thread, which on Linux has one of its own.
fn step_back() -> rustix::io::Result<()> {
    let niceness = rustix::process::getpriority_process(None)?;
    rustix::process::setpriority_process(None, (niceness + NICENESS).min(NICENESS_MAX))
}

#[cfg(test)]
mod tests;
