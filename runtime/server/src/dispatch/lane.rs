//! One connection's lane: takes what is due, as much at once as its policy allows, and sleeps otherwise.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::{Connection, ConnectionName, Timestamp, WorkspaceName};
use cofferdam_host::{Connector, LaneSlots, Slot};
use cofferdam_queue::{LEASES_PER_CALL_MAX, LeaseTerms, Leased, Queue, QueueError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Runner;
use super::granted;
use crate::app::App;
use crate::clock::now;
use crate::problem::chain;

/// Signals wake a lane; this is the net under them.
const POLL: Duration = Duration::from_secs(30);

/// After the store has failed.
const STORE_FAULT_WAIT: Duration = Duration::from_secs(1);

/// After the head of the lane was due and could not be leased: another took it, or its record is being mended.
const STALE_HEAD_WAIT: Duration = Duration::from_millis(50);

/// A lease outlives its call's deadline by this much: the settle must fit in.
const LEASE_SLACK: Duration = Duration::from_secs(30);

/// One connection's lane.
pub(super) struct Lane {
    app: App,
    workspace: WorkspaceName,
    name: ConnectionName,
    stop: CancellationToken,
    slots: LaneSlots,
    queued: watch::Receiver<u64>,
    configured: watch::Receiver<u64>,
}

/// What the lane does next.
enum Next {
    /// There is work, and these slots to do it in.
    Lease(Arc<Connection>, Arc<Connector>, Vec<Slot>),
    /// There is work, and every slot is taken: until one is free, or a signal.
    WaitForSlot,
    /// Nothing until a signal, or this time.
    Wait(Duration),
}

impl Lane {
    pub(super) fn new(app: App, workspace: WorkspaceName, name: ConnectionName, stop: CancellationToken) -> Self {
        let queued = app.queue.subscribe(&workspace, &name);
        let configured = app.connections.changed();
        let slots = app.engine.lane_slots();
        Self {
            slots,
            app,
            workspace,
            name,
            stop,
            queued,
            configured,
        }
    }

    /// Runs until the server stops or the connection is deleted, and then until its attempts have settled.
    pub(super) async fn run(mut self) {
        let mut attempts = JoinSet::new();
        while !self.stop.is_cancelled() {
            // Marked before looking, so that a change that comes while looking is seen by the wait.
            self.queued.mark_unchanged();
            self.configured.mark_unchanged();
            if attempts.is_empty() && self.app.connections.get(&self.workspace, &self.name).is_none() {
                // Deleted, and nothing is under way any more; one that is made again gets a lane of its own.
                return;
            }
            let next = self.next(attempts.len()).await.unwrap_or_else(|error| {
                tracing::error!(connection = %self.name, error = chain(&error), "the lane cannot read its queue");
                Next::Wait(STORE_FAULT_WAIT)
            });
            let (wait, for_slot) = match next {
                Next::Lease(connection, connector, slots) => match self.lease(&connection, slots.len()).await {
                    Ok(leased) if leased.is_empty() => (STALE_HEAD_WAIT, false),
                    Ok(leased) => {
                        for (leased, slot) in leased.into_iter().zip(slots) {
                            let runner = Runner {
                                app: self.app.clone(),
                                connection: Arc::clone(&connection),
                                connector: Arc::clone(&connector),
                            };
                            attempts.spawn(runner.run(leased, slot));
                        }
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(connection = %self.name, error = chain(&error), "the lane cannot take its work");
                        (STORE_FAULT_WAIT, false)
                    }
                },
                Next::WaitForSlot => (POLL, true),
                Next::Wait(wait) => (wait, false),
            };
            // Cancel-safe, all of them: `changed`, `join_next`, `freed`, `cancelled` and `sleep` lose nothing when dropped.
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = self.queued.changed() => {}
                _ = self.configured.changed() => {}
                Some(_) = attempts.join_next() => {}
                () = self.slots.freed(), if for_slot => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
            while attempts.try_join_next().is_some() {}
        }
        while attempts.join_next().await.is_some() {}
    }

    async fn next(&self, in_flight: usize) -> Result<Next, QueueError> {
        let Some(connection) = self.app.connections.get(&self.workspace, &self.name) else {
            return Ok(Next::Wait(POLL));
        };
        // Without the connector that was granted a lane waits, as if it were off: attempts would only be burnt.
        let (true, Ok(connector)) = (connection.enabled, granted(&self.app, &connection)) else {
            return Ok(Next::Wait(POLL));
        };
        let room = usize::from(connection.spec.policy.concurrency)
            .saturating_sub(in_flight)
            .min(LEASES_PER_CALL_MAX);
        if room == 0 {
            return Ok(Next::Wait(POLL));
        }
        let now = now();
        let state = self.app.queue.lane_state(&self.workspace, &self.name).await?;
        if !state.is_open(now) {
            let until = state.back_off_until.filter(|_| state.parked.is_none());
            return Ok(Next::Wait(until.map_or(POLL, |until| wait_for(until, now))));
        }
        match self.app.queue.next_due(&self.workspace, &self.name).await? {
            None => Ok(Next::Wait(POLL)),
            Some(due) if due > now => Ok(Next::Wait(wait_for(due, now))),
            Some(_) => {
                // Taken before the lease: neither lease nor deadline runs while a delivery waits for its turn.
                let slots: Vec<_> = std::iter::from_fn(|| self.slots.try_take()).take(room).collect();
                Ok(if slots.is_empty() {
                    Next::WaitForSlot
                } else {
                    Next::Lease(connection, connector, slots)
                })
            }
        }
    }

    async fn lease(&self, connection: &Connection, room: usize) -> Result<Vec<Leased>, QueueError> {
        let lease_for = Duration::from_millis(connection.spec.policy.deadline_ms) + LEASE_SLACK;
        let terms = LeaseTerms {
            now: now(),
            lease_for,
            max: room,
            max_age: Some(Duration::from_millis(connection.spec.policy.retry.max_age_ms)),
        };
        self.app.queue.lease_many(&self.workspace, &self.name, terms).await
    }
}

/// Bounded by the poll, so that a clock that jumps back does not put a lane to sleep.
fn wait_for(at: Timestamp, now: Timestamp) -> Duration {
    at.since(now).min(POLL)
}
