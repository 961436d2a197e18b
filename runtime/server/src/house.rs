//! Housekeeping: leases that ran out are given back, dedupe keys that expired are forgotten, what retention no longer keeps is
//! retired, and how fast lanes drain is measured. Each in small steps, so that nobody who waits for the store waits for this.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::{ConnectionName, WorkspaceName};
use cofferdam_queue::Queue;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::now;
use crate::problem::chain;

/// How often the house is kept.
const PERIOD: Duration = Duration::from_secs(5);

/// Pages of expired dedupe keys that are forgotten each time.
const SWEEPS_MAX: usize = 64;

/// How much the last period counts in the measure of how fast a lane drains, in percent.
const WEIGHT_PERCENT: f64 = 0.4;

/// What housekeeping knows.
#[derive(Default)]
pub(crate) struct House {
    drains: Mutex<HashMap<(WorkspaceName, ConnectionName), Drain>>,
    heads: Mutex<HashMap<(WorkspaceName, ConnectionName), cofferdam_domain::Timestamp>>,
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
            Some(before) => before + (seen - before) * WEIGHT_PERCENT,
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

    /// How long the head of a lane has been due, as last seen.
    pub(crate) fn lag(&self, _app: &App, workspace: &WorkspaceName, connection: &ConnectionName) -> Duration {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let head = heads.get(&(workspace.clone(), connection.clone()));
        head.map_or(Duration::ZERO, |due_at| now().since(*due_at))
    }

    /// Body bytes of what waits in all lanes together.
    pub(crate) fn pending_bytes_total(&self, app: &App) -> u64 {
        let connections = app.connections.all();
        let bytes = connections.iter().map(|connection| {
            app.queue
                .depth(&connection.workspace, &connection.spec.name)
                .pending_bytes
        });
        bytes.fold(0, u64::saturating_add)
    }

    async fn look(&self, app: &App) {
        let mut heads = HashMap::new();
        for connection in app.connections.all() {
            let (workspace, name) = (&connection.workspace, &connection.spec.name);
            if let Ok(Some(due_at)) = app.queue.next_due(workspace, name).await {
                heads.insert((workspace.clone(), name.clone()), due_at);
            }
        }
        *self.heads.lock().unwrap_or_else(PoisonError::into_inner) = heads;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(WorkspaceName, ConnectionName), Drain>> {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the house until the server stops.
pub(crate) async fn keep(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        app.house.measure(&app, Instant::now());
        app.house.look(&app).await;
        if let Err(error) = app.queue.expire_leases(now()).await {
            tracing::error!(error = chain(&error), "leases that ran out could not be given back");
        }
        sweep(&app, &stop).await;
    }
}

async fn sweep(app: &App, stop: &CancellationToken) {
    for _ in 0..SWEEPS_MAX {
        if stop.is_cancelled() {
            return;
        }
        match app.queue.sweep(now()).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "expired dedupe keys could not be forgotten");
                return;
            }
        }
    }
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
