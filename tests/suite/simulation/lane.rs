//! A lane as the server runs one: it asks the core, leases, calls, and settles. Nothing is decided here; what the server's
//! lane and runner do around the core is done here in the same order, in simulated time.

use std::time::Duration;

use cofferdam_domain::classify::classify;
use cofferdam_domain::lane::core::{Allowance, AttemptId, LaneCore, LaneEvent, LanePolicy};
use cofferdam_domain::retry::{self, Decision};
use cofferdam_domain::{ExchangeResult, Policy, Timestamp, Verdict, WorkspaceName};
use cofferdam_queue::{LEASES_PER_CALL_MAX, LeaseTerms, Leased, Queue as _, StoreQueue};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::agenda::Item;
use super::attempt::{Attempt, NO_CALL, exchange, give_back, seen, settlement, write};
use super::bed::Bed;
use super::clock::millis;
use super::destination::Reply;
use super::judge::{Answer, Ask, attempt_of};
use super::scenario::{LanePlan, NEIGHBOUR};

/// The server's numbers.
const POLL: Duration = Duration::from_secs(30);
const STALE_HEAD_WAIT: Duration = Duration::from_millis(50);
const LEASE_SLACK: Duration = Duration::from_secs(30);

/// The longest that a commit takes on a disk that works.
const COMMIT_MS_MAX: u64 = 25;

/// A lane, and its connection.
pub(super) struct Lane {
    pub(super) plan: LanePlan,
    pub(super) enabled: bool,
    number: usize,
    core: LaneCore,
    queued: Option<watch::Receiver<u64>>,
    /// Leased, but not yet known to be durable.
    leasing: Option<Vec<Leased>>,
    /// Are over, and the core is told so before the lane's state is read again.
    ended: Vec<AttemptId>,
    awake: bool,
    sleeps: u64,
}

impl Lane {
    /// The lane of this number; no process runs it yet.
    pub(super) fn new(number: usize, plan: LanePlan) -> Self {
        let core = LaneCore::new(LanePolicy::from(&plan.policy), Timestamp::ZERO);
        Self {
            plan,
            enabled: true,
            number,
            core,
            queued: None,
            leasing: None,
            ended: Vec::new(),
            awake: false,
            sleeps: 0,
        }
    }

    /// A process begins to run it.
    pub(super) fn start(&mut self, queue: &StoreQueue, now: Timestamp) {
        self.core = LaneCore::new(LanePolicy::from(&self.plan.policy), now);
        self.queued = Some(queue.subscribe(&WorkspaceName::default(), &self.plan.name));
        self.awake = true;
    }

    /// The process is gone.
    pub(super) fn forget(&mut self) {
        self.queued = None;
        self.leasing = None;
        self.ended.clear();
        self.sleeps += 1;
    }

    /// The connection is turned on or off.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.awake = true;
    }

    /// The connection gets another policy.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.plan.policy = policy;
        self.awake = true;
    }

    /// Its destination is well from now on, and it is on.
    pub(super) fn heal(&mut self) {
        self.plan.destination.heal();
        self.set_enabled(true);
    }

    /// Its sleep is over.
    pub(super) fn wakes(&mut self, sleep: u64) {
        self.awake |= sleep == self.sleeps;
    }

    /// Whether it has to look what there is to do.
    pub(super) fn is_awake(&self) -> bool {
        let signalled = self
            .queued
            .as_ref()
            .is_some_and(|queued| queued.has_changed().unwrap_or(false));
        self.leasing.is_none() && (self.awake || signalled)
    }

    /// The dispatcher has seen the clock jump ahead.
    pub(super) fn clock_jumped(&mut self, now: Timestamp, rng: &mut StdRng) {
        self.core.step(LaneEvent::ClockJumped, now, rng);
        self.awake = true;
    }

    /// Leases what may be leased, or goes to sleep.
    pub(super) async fn look(&mut self, bed: &mut Bed) -> anyhow::Result<()> {
        // Marked before looking, so that a change that comes while looking is seen afterwards.
        if let Some(queued) = &mut self.queued {
            queued.mark_unchanged();
        }
        self.awake = false;
        let Some(queue) = bed.queue.clone().filter(|_| self.enabled) else {
            return Ok(());
        };
        let now = bed.clock.now();
        let (workspace, name) = (WorkspaceName::default(), &self.plan.name);
        for attempt in self.ended.drain(..) {
            self.core.step(LaneEvent::Ended(attempt), now, &mut bed.rng);
        }
        let configured = LaneEvent::Configured(LanePolicy::from(&self.plan.policy));
        self.core.step(configured, now, &mut bed.rng);
        let state = queue.lane_state(&workspace, name).await?;
        self.core.step(LaneEvent::Observed(state.clone()), now, &mut bed.rng);
        let room = match self.core.allowance(now) {
            Allowance::Room(room) => room,
            Allowance::Until(until, _) => {
                self.sleep(until.since(now), bed);
                return Ok(());
            }
            Allowance::Signal(_) => {
                self.sleep(POLL, bed);
                return Ok(());
            }
        };
        match queue.next_due(&workspace, name).await? {
            None => self.sleep(POLL, bed),
            Some(due) if due > now => self.sleep(due.since(now), bed),
            Some(_) => {
                let policy = &self.plan.policy;
                let terms = LeaseTerms {
                    now,
                    lease_for: Duration::from_millis(policy.deadline_ms) + LEASE_SLACK,
                    max: room.min(LEASES_PER_CALL_MAX),
                    max_age: Some(Duration::from_millis(policy.retry.max_age_ms)),
                };
                let leased = queue.lease_many(&workspace, name, terms).await?;
                anyhow::ensure!(
                    leased.len() <= terms.max,
                    "{} are leased where {} may be",
                    leased.len(),
                    terms.max
                );
                let ask = Ask {
                    lane: self.number,
                    now,
                    passed_ms: bed.clock.passed_ms,
                    state: &state,
                    policy,
                    leased: &leased,
                };
                bed.judge.asked(&queue, &ask).await?;
                if leased.is_empty() {
                    self.sleep(STALE_HEAD_WAIT, bed);
                    return Ok(());
                }
                bed.note(format!("lane {} leases {}", self.number, leased.len()));
                self.leasing = Some(leased);
                let durable_at = bed.clock.passed_ms + bed.rng.random_range(0..=COMMIT_MS_MAX);
                let item = Item::Leased {
                    lane: self.number,
                    process: bed.process,
                };
                bed.agenda.put(durable_at, item);
            }
        }
        Ok(())
    }

    fn sleep(&mut self, wait: Duration, bed: &mut Bed) {
        self.sleeps += 1;
        // Bounded by the poll, so that a clock that is set back puts no lane to sleep; it is not, once all is well.
        let wait = if bed.healed { wait } else { wait.min(POLL) };
        let item = Item::Wake {
            lane: self.number,
            sleep: self.sleeps,
        };
        bed.agenda.put(bed.clock.passed_ms + millis(wait).max(1), item);
    }

    /// What it has leased is durable: the attempts begin.
    pub(super) async fn has_leased(&mut self, bed: &mut Bed) -> anyhow::Result<()> {
        let Some(queue) = bed.queue.clone() else { return Ok(()) };
        let now = bed.clock.now();
        self.awake = true;
        for leased in self.leasing.take().unwrap_or_default() {
            let attempt = attempt_of(&leased);
            // An outcome may have come while the lease was being written.
            if !matches!(self.core.allowance(now), Allowance::Room(_)) {
                give_back(bed, &queue, leased).await?;
                bed.judge.ended(self.number, attempt, false, now);
                continue;
            }
            self.core.step(LaneEvent::Leased(attempt), now, &mut bed.rng);
            bed.judge.begins(self.number, &self.plan.policy, now)?;
            bed.counts.attempts += 1;
            let id = leased.delivery.id;
            if let Some(poison) = retry::poisoned(&self.plan.policy.retry, &leased.delivery) {
                bed.note(format!("{id} is poison"));
                let verdict = Verdict::Failed(poison);
                bed.attempts.insert(attempt, Attempt::new(self.number, leased, NO_CALL));
                self.settle(bed, attempt, verdict)?;
                continue;
            }
            let deadline_ms = self.plan.policy.deadline_ms;
            let call = self
                .plan
                .destination
                .call(bed.clock.passed_ms, deadline_ms, &mut bed.rng);
            bed.note(format!("{id} run {} in lane {}: {call:?}", attempt.1, self.number));
            if call.acts {
                bed.judge.acted(id);
            }
            let process = bed.process;
            bed.agenda
                .put(bed.clock.passed_ms + call.takes_ms, Item::Answered { attempt, process });
            bed.attempts.insert(attempt, Attempt::new(self.number, leased, call));
        }
        Ok(())
    }

    /// A call has ended.
    pub(super) fn is_answered(&mut self, bed: &mut Bed, attempt: AttemptId) -> anyhow::Result<()> {
        let Some(under_way) = bed.attempts.get(&attempt) else {
            return Ok(());
        };
        let (result, trail) = seen(under_way, bed.clock.now())?;
        let verdict = classify(result, &trail);
        self.settle(bed, attempt, verdict)
    }

    /// Decides what follows, and begins to write it.
    fn settle(&mut self, bed: &mut Bed, attempt: AttemptId, verdict: Verdict) -> anyhow::Result<()> {
        let now = bed.clock.now();
        let Some(under_way) = bed.attempts.get_mut(&attempt) else {
            return Ok(());
        };
        let leased = &under_way.leased;
        let policy = &self.plan.policy;
        let counted = leased.delivery_after(&verdict);
        let Decision { outcome, lane } = retry::decide(&policy.retry, &counted, &verdict, now, &mut bed.rng);
        let settled = LaneEvent::Settled {
            attempt,
            verdict: verdict.clone(),
            effect: lane,
        };
        let effects = self.core.step(settled, now, &mut bed.rng);
        let (failure, receipt) = match verdict {
            Verdict::Delivered(receipt) => (None, Some(receipt)),
            Verdict::Failed(failure) => (Some(failure), None),
        };
        let class = failure.as_ref().map(|failure| failure.class);
        let asked_ms = match under_way.call.reply {
            Reply::Status(_, asked_ms) => asked_ms,
            Reply::Silence | Reply::Unreachable | Reply::Trap => None,
        };
        bed.judge.answered(&Answer {
            leased,
            class,
            asked_ms,
            outcome: &outcome,
            effects: &effects,
            policy,
            now,
        })?;
        let line = format!("{}: {class:?} → {outcome:?} {effects:?}", leased.delivery.id);
        bed.counts.of(class, &effects);
        under_way.settlement = Some(settlement(outcome, failure, receipt, effects, now));
        let slow = bed.slow_settles && self.number != NEIGHBOUR && !bed.healed && bed.rng.random_bool(0.02);
        let takes_ms = if slow {
            policy.deadline_ms + bed.rng.random_range(0..90_000)
        } else {
            bed.rng.random_range(0..=COMMIT_MS_MAX)
        };
        let process = bed.process;
        bed.agenda
            .put(bed.clock.passed_ms + takes_ms, Item::Written { attempt, process });
        bed.note(line);
        Ok(())
    }

    /// A settle reaches the store.
    pub(super) async fn settle_is_written(&mut self, bed: &mut Bed, attempt: AttemptId) -> anyhow::Result<()> {
        let Some(under_way) = bed.attempts.remove(&attempt) else {
            return Ok(());
        };
        let Some(settlement) = under_way.settlement else {
            anyhow::bail!("an attempt without an end is written");
        };
        let settled = write(bed, &under_way.leased, settlement).await?;
        let now = bed.clock.now();
        self.ended.push(attempt);
        bed.judge.ended(self.number, attempt, settled.is_some(), now);
        self.awake = true;
        Ok(())
    }

    /// The server stops: what is under way is settled, ended or given back.
    pub(super) async fn drain(&mut self, bed: &mut Bed) -> anyhow::Result<()> {
        let Some(queue) = bed.queue.clone() else { return Ok(()) };
        for leased in self.leasing.take().unwrap_or_default() {
            give_back(bed, &queue, leased).await?;
        }
        let here = bed.attempts.iter().filter(|(_, attempt)| attempt.lane == self.number);
        let here: Vec<_> = here.map(|(attempt, _)| *attempt).collect();
        for attempt in here {
            let Some(under_way) = bed.attempts.remove(&attempt) else {
                continue;
            };
            let now = bed.clock.now();
            if let Some(settlement) = under_way.settlement {
                let settled = write(bed, &under_way.leased, settlement).await?;
                bed.judge.ended(self.number, attempt, settled.is_some(), now);
                continue;
            }
            match under_way.call.reply {
                // Nothing of it leaves.
                Reply::Trap | Reply::Unreachable => give_back(bed, &queue, under_way.leased).await?,
                Reply::Status(..) | Reply::Silence => {
                    let trail = [exchange(
                        &under_way.leased,
                        ExchangeResult::InFlight { request_sent: true },
                        now,
                    )?];
                    let (failure, outcome) = retry::drained(&trail, now);
                    let settlement = settlement(outcome, Some(failure), None, Vec::new(), now);
                    write(bed, &under_way.leased, settlement).await?;
                }
            }
        }
        Ok(())
    }
}
