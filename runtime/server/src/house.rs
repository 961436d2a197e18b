//! Housekeeping: leases that ran out are given back, dedupe keys that expired are forgotten, what retention no longer keeps is
//! retired, and how fast lanes drain is measured. Each in small steps, so that nobody who waits for the store waits for this.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::{ConnectionName, WorkspaceName};
use cofferdam_queue::Queue;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::{jumped_within, steady};
use crate::problem::chain;

/// How often the house is kept.
const PERIOD: Duration = Duration::from_secs(5);

/// Pages of expired dedupe keys that are forgotten each time.
const SWEEPS_MAX: usize = 64;

/// Steps of retention each time: with their pauses, about as long as a period.
const RETIRES_MAX: usize = 256;

/// No lease is longer: the longest deadline of a policy, and what a lane adds to it.
const LEASE_MAX: Duration = Duration::from_secs(360);

/// So long after the clock was set ahead nothing is forgotten: somebody may set it back.
const DOUBTFUL_CLOCK: Duration = Duration::from_secs(24 * 3600);

/// Between the end of one walk of retention through all there is and the beginning of the next.
const RETIRE_PERIOD: Duration = Duration::from_secs(60);

/// Between two steps of retention, so that what waits for the store goes first.
const RETIRE_PAUSE: Duration = Duration::from_millis(15);

/// How much the last period counts in the measure of how fast a lane drains, as a part of one.
const WEIGHT: f64 = 0.4;

/// What housekeeping knows.
#[derive(Default)]
pub(crate) struct House {
    drains: Mutex<HashMap<(WorkspaceName, ConnectionName), Drain>>,
}

/// How fast a lane drains.
#[derive(Clone, Copy, Debug)]
struct Drain {
    done: u64,
    at: Instant,
    per_s: Option<f64>,
}

impl Drain {
    /// A count that is lower than before was retired or recounted, and says nothing.
    fn next(self, done: u64, at: Instant) -> Self {
        let elapsed = at.saturating_duration_since(self.at).as_secs_f64();
        let Some(left) = done.checked_sub(self.done).filter(|_| elapsed > 0.0) else {
            return Self { done, at, ..self };
        };
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        let seen = left as f64 / elapsed;
        let per_s = match self.per_s {
            Some(before) => before + (seen - before) * WEIGHT,
            None => seen,
        };
        let per_s = Some(per_s);
        Self { done, at, per_s }
    }
}

impl House {
    /// Deliveries that leave a lane in a second; none if that is not known yet.
    pub(crate) fn drained_per_s(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Option<f64> {
        let key = (workspace.clone(), connection.clone());
        self.lock().get(&key)?.per_s
    }

    fn measure(&self, app: &App, at: Instant) {
        let connections = app.connections.all();
        let mut drains = self.lock();
        drains.retain(|(workspace, name), _| app.connections.get(workspace, name).is_some());
        for connection in connections {
            let depth = app.queue.depth(&connection.workspace, &connection.spec.name);
            let done = depth.delivered.saturating_add(depth.dead);
            let key = (connection.workspace.clone(), connection.spec.name.clone());
            let fresh = Drain { done, at, per_s: None };
            let next = drains.get(&key).map_or(fresh, |drain| drain.next(done, at));
            drains.insert(key, next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(WorkspaceName, ConnectionName), Drain>> {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the house until the server stops.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    let mut retire_at = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        app.house.measure(&app, Instant::now());
        // A jump of the clock ends no attempt: those that were under way settle within this time, and the rest is lost indeed.
        if !jumped_within(LEASE_MAX) {
            expire(&app).await;
        }
        if jumped_within(DOUBTFUL_CLOCK) {
            continue;
        }
        sweep(&app, &stop).await;
        if Instant::now() >= retire_at && retire(&app, &stop).await == Walked::Through {
            retire_at = Instant::now() + RETIRE_PERIOD;
        }
    }
}

async fn expire(app: &App) {
    match app.queue.expire_leases(steady()).await {
        Ok(expired) => {
            app.metrics.interrupted.inc_by(expired as u64);
        }
        Err(error) => tracing::error!(error = chain(&error), "leases that ran out could not be given back"),
    }
}

async fn sweep(app: &App, stop: &CancellationToken) {
    for _ in 0..SWEEPS_MAX {
        if stop.is_cancelled() {
            return;
        }
        match app.queue.sweep(steady()).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "expired dedupe keys could not be forgotten");
                return;
            }
        }
    }
}

/// How far retention came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walked {
    Through,
    PartOfTheWay,
}

async fn retire(app: &App, stop: &CancellationToken) -> Walked {
    for _ in 0..RETIRES_MAX {
        match app.queue.retire(steady(), &app.retention).await {
            Ok(retired) => {
                app.metrics.count_retired(&retired);
                if !retired.more {
                    return Walked::Through;
                }
            }
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "what retention no longer keeps could not be removed"
                );
                // Where it fails once it fails again: the next walk is soon enough to say so.
                return Walked::Through;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Walked::PartOfTheWay,
            () = tokio::time::sleep(RETIRE_PAUSE) => {}
        }
    }
    Walked::PartOfTheWay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_fast_a_lane_drains_is_a_moving_mean_that_a_recount_does_not_spoil() {
        let start = Instant::now();
        let after = |s: u64| start + Duration::from_secs(s);
        let first = Drain {
            done: 100,
            at: start,
            per_s: None,
        };
        let second = first.next(150, after(5));
        assert_eq!(second.per_s, Some(10.0));
        let third = second.next(150, after(10));
        assert_eq!(third.per_s, Some(6.0));
        let recounted = third.next(3, after(15));
        assert_eq!((recounted.per_s, recounted.done), (Some(6.0), 3));
        assert_eq!(third.next(200, after(10)).per_s, Some(6.0), "no time has passed");
    }
}
