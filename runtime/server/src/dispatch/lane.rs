//! One connection's lane: takes what is due, as much at once as its core allows, and sleeps otherwise.
//!
//! It decides nothing: how much may begin, and what an outcome means for the rest, is `cofferdam_domain::lane::core`'s to say.

mod under_way;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::lane::core::{Allowance, Held, LanePolicy};
use cofferdam_domain::{Connection, ConnectionName, Timestamp, WorkspaceName};
use cofferdam_host::{Connector, DEADLINE_STRETCH_MAX, LaneSlots, Reuse, Slot, Version};
use cofferdam_queue::{LEASES_PER_CALL_MAX, LeaseTerms, Leased, Queue, QueueError, SettleError};
use tokio::sync::watch;

use self::under_way::UnderWay;
use super::Stop;
use super::attempt::Runner;
use super::pace::{Pace, attempt_of};
use super::{granted, version};
use crate::app::App;
use crate::clock::steady;
use crate::metrics;
use crate::problem::chain;
use crate::schedule::turn::Turns;

/// Signals wake a lane; this is the net under them.
const POLL: Duration = Duration::from_secs(30);

/// After the store has failed.
const STORE_FAULT_WAIT: Duration = Duration::from_secs(1);

/// After the head of the lane was due and could not be leased: another took it, or its record is being mended.
const STALE_HEAD_WAIT: Duration = Duration::from_millis(50);

/// A lease outlives its call's deadline, at its longest, by this much: the settle must fit in.
const LEASE_SLACK: Duration = Duration::from_secs(30);

/// One connection's lane.
pub(super) struct Lane {
    app: App,
    workspace: WorkspaceName,
    name: ConnectionName,
    stop: Stop,
    slots: LaneSlots,
    pace: Option<Pace>,
    /// The connection's version when it was last looked at.
    seen: Option<Version>,
    turns: Turns,
    queued: watch::Receiver<u64>,
    configured: watch::Receiver<u64>,
}

/// Everything that an attempt needs but the delivery.
struct Means {
    connection: Arc<Connection>,
    connector: Arc<Connector>,
    pace: Pace,
    slots: Vec<Slot>,
}

/// What the lane does next.
enum Next {
    /// There is work, and the means to do it.
    Lease(Means),
    /// There is work, and every slot is taken: until one is free, or a signal.
    WaitForSlot,
    /// Nothing until a signal, or this time.
    Wait(Duration),
}

impl Lane {
    pub(super) fn new(app: App, workspace: WorkspaceName, name: ConnectionName, stop: Stop) -> Self {
        let queued = app.queue.subscribe(&workspace, &name);
        let configured = app.connections.changed();
        let slots = app.engine.lane_slots();
        Self {
            slots,
            app,
            workspace,
            name,
            stop,
            pace: None,
            seen: None,
            turns: Turns::default(),
            queued,
            configured,
        }
    }

    /// Runs until the server stops or the connection is deleted, and then until its attempts have settled.
    pub(super) async fn run(mut self) {
        let mut attempts = UnderWay::default();
        while !self.stop.begun.is_cancelled() {
            // Marked before looking, so that a change that comes while looking is seen by the wait.
            self.queued.mark_unchanged();
            self.configured.mark_unchanged();
            if attempts.is_empty() && self.app.connections.get(&self.workspace, &self.name).is_none() {
                // Deleted, and nothing is under way any more; one that is made again gets a lane of its own.
                break;
            }
            let turn = self.take_turn().await;
            let next = self.next().await.unwrap_or_else(|error| {
                tracing::error!(connection = %self.name, error = chain(&error), "the lane cannot read its queue");
                Next::Wait(STORE_FAULT_WAIT)
            });
            let (wait, for_slot) = match next {
                Next::Lease(means) => match self.lease(&means.connection, means.slots.len()).await {
                    Ok(leased) if leased.is_empty() => (STALE_HEAD_WAIT, false),
                    // The stop came while they were being leased.
                    Ok(leased) if self.stop.begun.is_cancelled() => {
                        for leased in leased {
                            give_back(&self.app, leased).await;
                        }
                        continue;
                    }
                    Ok(leased) => {
                        self.begin(means, leased, &mut attempts).await;
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
            // Cancel-safe, all of them: `changed`, `next`, `freed`, `cancelled` and `sleep` lose nothing when dropped.
            tokio::select! {
                () = self.stop.begun.cancelled() => {}
                _ = self.queued.changed() => {}
                _ = self.configured.changed() => {}
                Some(ended) = attempts.next() => self.end(ended),
                () = self.slots.freed(), if for_slot => {}
                () = tokio::time::sleep(wait.min(turn).max(Duration::from_millis(1))) => {}
            }
            while let Some(ended) = attempts.try_next() {
                self.end(ended);
            }
        }
        while attempts.next().await.is_some() {}
        self.forget_kept();
    }

    /// Ends the instances that are kept for it, by its deliveries and by its hook.
    fn forget_kept(&self) {
        let Self {
            app, workspace, name, ..
        } = self;
        app.engine.forget_kept(&self.slots);
        app.entrances.forget_kept(workspace, name, &app.engine);
    }

    /// Makes the poll that is due; how long the schedule need not be looked at again.
    async fn take_turn(&mut self) -> Duration {
        let connection = self.app.connections.get(&self.workspace, &self.name);
        let looked = self.turns.look(&self.app, connection.as_deref()).await;
        looked.unwrap_or_else(|error| {
            tracing::error!(connection = %self.name, error = chain(&error), "the schedule cannot be followed");
            STORE_FAULT_WAIT
        })
    }

    async fn next(&mut self) -> Result<Next, QueueError> {
        let Some(connection) = self.app.connections.get(&self.workspace, &self.name) else {
            return Ok(Next::Wait(POLL));
        };
        let found = Some(version(&connection));
        if self.seen != found {
            self.seen = found;
            self.forget_kept();
        }
        // Without the connector that was granted a lane waits, as if it were off: attempts would only be burnt.
        let (true, Ok(connector)) = (connection.enabled, granted(&self.app, &connection)) else {
            self.app.metrics.pace(&metrics::Lane::of(&connection), 0, false);
            return Ok(Next::Wait(POLL));
        };
        let state = self.app.queue.lane_state(&self.workspace, &self.name).await?;
        let mut policy = LanePolicy::from(&connection.spec.policy);
        if connection.spec.state.is_some() {
            // Each attempt sees what the one before has left.
            policy.concurrency = 1;
        }
        let pace = self.pace.get_or_insert_with(|| Pace::new(policy)).clone();
        let allowance = pace.allowance(policy, state);
        self.tell(&connection, &pace, allowance);
        let room = match allowance {
            Allowance::Room(room) => room.min(LEASES_PER_CALL_MAX),
            Allowance::Until(until, _) => return Ok(Next::Wait(wait_for(until, steady()))),
            Allowance::Signal(_) => return Ok(Next::Wait(POLL)),
        };
        let now = steady();
        match self.app.queue.next_due(&self.workspace, &self.name).await? {
            None => Ok(Next::Wait(POLL)),
            Some(due) if due > now => Ok(Next::Wait(wait_for(due, now))),
            Some(_) => {
                // Taken before the lease: neither lease nor deadline runs while a delivery waits for its turn.
                let slots: Vec<_> = std::iter::from_fn(|| self.slots.try_take()).take(room).collect();
                Ok(if slots.is_empty() {
                    Next::WaitForSlot
                } else {
                    Next::Lease(Means {
                        connection,
                        connector,
                        pace,
                        slots,
                    })
                })
            }
        }
    }

    async fn lease(&self, connection: &Connection, room: usize) -> Result<Vec<Leased>, QueueError> {
        let deadline = Duration::from_millis(connection.spec.policy.deadline_ms);
        let lease_for = deadline * DEADLINE_STRETCH_MAX + LEASE_SLACK;
        let terms = LeaseTerms {
            now: steady(),
            lease_for,
            max: room,
            max_age: Some(Duration::from_millis(connection.spec.policy.retry.max_age_ms)),
        };
        self.app.queue.lease_many(&self.workspace, &self.name, terms).await
    }

    /// Begins what was leased; what may not begin any more, because an outcome has come meanwhile, goes back uncharged.
    async fn begin(&self, means: Means, leased: Vec<Leased>, attempts: &mut UnderWay) {
        let Means {
            connection,
            connector,
            pace,
            slots,
        } = means;
        for (leased, slot) in leased.into_iter().zip(slots) {
            let attempt = attempt_of(&leased);
            if !pace.begin(attempt) {
                give_back(&self.app, leased).await;
                continue;
            }
            let slot = slot.reusing(Reuse {
                version: version(&connection),
                calls_max: connection.spec.policy.reuse_calls,
            });
            let runner = Runner {
                app: self.app.clone(),
                connection: Arc::clone(&connection),
                connector: Arc::clone(&connector),
                pace: pace.clone(),
                halt: self.stop.halt.clone(),
            };
            attempts.spawn(attempt, runner.run(leased, slot));
        }
    }

    fn end(&self, attempt: under_way::Ended) {
        if let Some(pace) = &self.pace {
            pace.end(attempt);
        }
    }

    fn tell(&self, connection: &Connection, pace: &Pace, allowance: Allowance) {
        let lane = metrics::Lane::of(connection);
        let limit = match allowance {
            Allowance::Room(_) | Allowance::Signal(Held::Full) | Allowance::Until(_, Held::Rate) => pace.limit(),
            Allowance::Signal(Held::Probe) => 1,
            Allowance::Signal(Held::Parked | Held::BackOff | Held::Breaker | Held::Rate)
            | Allowance::Until(_, Held::Full | Held::Parked | Held::BackOff | Held::Breaker | Held::Probe) => 0,
        };
        let open = matches!(
            allowance,
            Allowance::Until(_, Held::Breaker) | Allowance::Signal(Held::Probe)
        );
        self.app.metrics.pace(&lane, limit, open);
    }
}

/// Gives a delivery back of which nothing has left.
pub(super) async fn give_back(app: &App, leased: Leased) {
    let delivery = leased.delivery.id;
    match app.queue.release(leased).await {
        Ok(()) | Err(SettleError::Stale(_) | SettleError::KeptChanged(_)) => {}
        Err(SettleError::Queue(error)) => {
            tracing::error!(%delivery, error = chain(&error), "a lease could not be given back; it runs out by itself");
        }
    }
}

/// Bounded by the poll, so that a clock that jumps back does not put a lane to sleep.
fn wait_for(at: Timestamp, now: Timestamp) -> Duration {
    at.since(now).min(POLL)
}
