//! Budgets of upstreams in this process: whose turn it is to send, and what answers say about limits.
//!
//! A request waits for its turn at most [`TURN_WAIT_MAX`], since it holds a slot of the engine meanwhile; whoever would wait
//! longer is told so at once, and its lane backs off. All of it is in memory: a restart begins with full buckets and
//! without holds, and the first answer tells it anew.
//!
//! Time is the process's own, so that a wall clock that is set neither ends a hold nor makes it longer.

pub(crate) mod feedback;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::budget::{Budget, Entry, Hold, Limited, Limits, Standing, Ticket, Told, Turn as CoreTurn};
use cofferdam_domain::{ConnectionName, ShareName, Timestamp, UpstreamName, WorkspaceName};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Gate;
use super::record::Entry as Record;
use crate::exchange::{GuestRequest, GuestResponse, HttpError};
use crate::passport::{Passport, Route};

/// Longest wait for a turn. Half of the time that a request has at most, so that its answer still has a chance.
pub(crate) const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

/// Most budgets that are kept: one for each upstream that the most connections of a server can have. One that would be the
/// same anew makes room first, then the one that was used longest ago.
pub(crate) const BUDGETS_MAX: usize = 16 * 1024;

/// Names a budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetKey {
    /// One connection's for one upstream.
    Own(WorkspaceName, ConnectionName, UpstreamName),
    /// That of every upstream of the workspace whose grant names this share.
    Shared(WorkspaceName, ShareName),
}

impl BudgetKey {
    /// The budget of this upstream.
    pub fn new(
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        upstream: &UpstreamName,
        share: Option<&ShareName>,
    ) -> Self {
        match share {
            Some(share) => Self::Shared(workspace.clone(), share.clone()),
            None => Self::Own(workspace.clone(), connection.clone(), upstream.clone()),
        }
    }
}

/// All budgets of a gate.
pub(crate) struct Budgets {
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    budgets: HashMap<BudgetKey, (u64, Arc<Shared>)>,
    uses: u64,
}

/// One budget, and a bell for those who wait.
#[derive(Default)]
struct Shared {
    core: Mutex<Budget>,
    changed: Notify,
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Budget> {
        // Each change leaves the core whole.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// How a budget stands; none if nothing has used it lately.
    pub fn budget(&self, key: &BudgetKey) -> Option<Standing> {
        self.budgets.standing(key, (self.config.clock)())
    }

    /// Ends what an upstream has made a budget wait for.
    pub fn release_budget(&self, key: &BudgetKey) {
        self.budgets.release(key);
    }

    /// Waits for a request's turn.
    ///
    /// Dropped while it waits, it gives its place up.
    ///
    /// # Errors
    /// [`HttpError::RateLimited`] if it is not its turn in time.
    pub(super) async fn turn(
        &self,
        passport: &Passport,
        request: &GuestRequest,
        route: &Route,
        record: &Record,
    ) -> Result<Turn, HttpError> {
        let upstream = request.upstream.parse().expect("a granted upstream has a valid name");
        let share = route.share.as_ref();
        let key = BudgetKey::new(&passport.workspace, &passport.connection, &upstream, share);
        let patience = TURN_WAIT_MAX.min(passport.timeout(request.timeout, (self.config.clock)()) / 2);
        let waited = self.budgets.turn(key, route.limits, patience).await?;
        if waited.queued {
            record.note(|exchange| exchange.timings.turn_ms = Some(record.elapsed_ms()));
        }
        Ok(waited.turn)
    }
}

/// A turn, and whether it was waited for.
struct Waited {
    turn: Turn,
    queued: bool,
}

impl Budgets {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            open: Mutex::default(),
        }
    }

    async fn turn(&self, key: BudgetKey, limits: Limits, patience: Duration) -> Result<Waited, HttpError> {
        let shared = self.of(key);
        let entry = {
            let (mut core, now) = (shared.core(), self.now());
            core.configure(limits, now);
            core.enter(now, patience)
        };
        let queued = match entry.map_err(rate_limited)? {
            Entry::Go => false,
            Entry::Queued(ticket) => {
                let mut place = Place {
                    shared: &shared,
                    ticket: Some(ticket),
                };
                place.wait(self, patience).await.map_err(rate_limited)?;
                true
            }
        };
        let turn = Turn {
            shared,
            began: self.began,
        };
        Ok(Waited { turn, queued })
    }

    /// How a budget stands, in the wall's time, which is `wall` now; none if nothing has used it lately.
    fn standing(&self, key: &BudgetKey, wall: Timestamp) -> Option<Standing> {
        let shared = self.lock().budgets.get(key).map(|(_, shared)| Arc::clone(shared))?;
        let now = self.now();
        let standing = shared.core().standing(now);
        let shown = |at: Timestamp| {
            if at > now {
                wall.after(at.since(now))
            } else {
                let ago = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
                Timestamp::from_millis(wall.as_millis().saturating_sub(ago))
            }
        };
        Some(Standing {
            hold: standing.hold.map(|hold| Hold {
                until: shown(hold.until),
                ..hold
            }),
            upstream: standing.upstream.map(|told| Told {
                resets_at: told.resets_at.map(shown),
                at: shown(told.at),
                ..told
            }),
            ..standing
        })
    }

    fn release(&self, key: &BudgetKey) {
        let shared = self.lock().budgets.get(key).map(|(_, shared)| Arc::clone(shared));
        if let Some(shared) = shared {
            shared.core().release();
            shared.changed.notify_waiters();
        }
    }

    fn of(&self, key: BudgetKey) -> Arc<Shared> {
        let now = self.now();
        let mut open = self.lock();
        open.uses += 1;
        let uses = open.uses;
        if let Some((used, shared)) = open.budgets.get_mut(&key) {
            *used = uses;
            return Arc::clone(shared);
        }
        if open.budgets.len() >= BUDGETS_MAX {
            open.make_room(now);
        }
        let shared = Arc::new(Shared::default());
        open.budgets.insert(key, (uses, Arc::clone(&shared)));
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        since(self.began)
    }
}

impl Open {
    fn make_room(&mut self, now: Timestamp) {
        let idle = |shared: &Shared| shared.core().is_idle(now);
        let first = self
            .budgets
            .iter()
            .min_by_key(|(_, (used, shared))| (!idle(shared), *used));
        if let Some(first) = first.map(|(key, _)| key.clone()) {
            self.budgets.remove(&first);
        }
    }
}

/// Milliseconds of the process's own time.
fn since(began: Instant) -> Timestamp {
    Timestamp::ZERO.after(began.elapsed())
}

fn rate_limited(limited: Limited) -> HttpError {
    HttpError::RateLimited { wait: limited.wait }
}

/// A place in a queue, given up when it is dropped.
struct Place<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl Place<'_> {
    async fn wait(&mut self, budgets: &Budgets, patience: Duration) -> Result<(), Limited> {
        let deadline = budgets.now().after(patience);
        while let Some(ticket) = self.ticket {
            // Listens before it asks, so that a change in between is heard.
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = budgets.now();
            let turn = self.shared.core().ask(ticket, now, deadline);
            let until = match turn {
                Ok(CoreTurn::Go) => {
                    self.ticket = None;
                    // The next in the queue is first now.
                    self.shared.changed.notify_waiters();
                    return Ok(());
                }
                Ok(CoreTurn::Wait(until)) => until.unwrap_or(deadline).min(deadline),
                Err(limited) => return Err(limited),
            };
            // Both are cancel-safe. A timer may be early by what was cut off of a millisecond.
            let sleep = tokio::time::sleep(until.since(now).max(Duration::from_millis(1)));
            tokio::select! {
                () = changed => {}
                () = sleep => {}
            }
        }
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.core().leave(ticket);
            self.shared.changed.notify_waiters();
        }
    }
}

/// The right to send one request. It is given back when it is dropped.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    began: Instant,
}

impl Turn {
    /// Takes in what an answer says about limits. Hands back how long its sender asks to wait with this request, in
    /// milliseconds, if it refused it for that.
    pub(crate) fn hear(&self, response: &GuestResponse, wall: Timestamp) -> Option<u64> {
        let feedback = feedback::read(response.status, &response.headers, wall);
        // A wait begins no earlier than it was heard of, so what is cut off of a millisecond is added here.
        let elapsed = self.began.elapsed();
        let cut_off = Duration::from_millis(u64::from(!elapsed.subsec_nanos().is_multiple_of(1_000_000)));
        self.shared
            .core()
            .hear(feedback.heard, since(self.began).after(cut_off));
        if feedback.heard.hold.is_some() {
            self.shared.changed.notify_waiters();
        }
        feedback.retry_after_ms
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.core().end();
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
