//! What the server and the queue do around the core, in memory: leases, settles that take their time, and a process that
//! may end at any moment. Everything it does is told to the model and the ledger.

mod audit;

use proptest::sample::Index;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::ledger::Account;
use super::model::Model;
use super::*;
use crate::classify::{Failure, Receipt};
use crate::delivery::{Delivery, DeliveryKind, DeliveryState};
use crate::id::EventId;
use crate::retry::{self, Outcome, RetryPolicy};

/// A week after the epoch, so that a clock can be set back.
const BEGINNING: u64 = 7 * 24 * HOUR;

/// An attempt that runs, whether or not its lease is still valid.
struct UnderWay {
    attempt: AttemptId,
    delivery: usize,
    generation: u64,
    started_at: Timestamp,
    decided: Option<Decided>,
}

struct Decided {
    at: Timestamp,
    end: End,
    outcome: Outcome,
    effects: Vec<LaneEffect>,
}

/// See the module.
pub(super) struct Bed {
    core: LaneCore,
    policy: LanePolicy,
    retry: RetryPolicy,
    state: LaneState,
    now: Timestamp,
    rng: StdRng,
    deliveries: Vec<Delivery>,
    under_way: Vec<UnderWay>,
    model: Model,
    ledger: Vec<Account>,
}

impl Bed {
    pub(super) fn new(policy: LanePolicy, seed: u64) -> Self {
        let now = Timestamp::from_millis(BEGINNING);
        let retry = RetryPolicy {
            schedule_ms: vec![0, 500, 5 * SECOND, 60 * SECOND, 600 * SECOND],
            max_age_ms: 26 * HOUR,
            faults_max: 2,
            interruptions_max: 3,
        };
        let mut bed = Self {
            core: LaneCore::new(policy, now),
            policy,
            retry,
            state: LaneState::default(),
            now,
            rng: StdRng::seed_from_u64(seed),
            deliveries: Vec::new(),
            under_way: Vec::new(),
            model: Model::new(policy, BEGINNING),
            ledger: Vec::new(),
        };
        bed.look();
        bed
    }

    pub(super) fn accept(&mut self) {
        let number = u64::try_from(self.deliveries.len()).unwrap();
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        self.deliveries.push(Delivery {
            id: DeliveryId::from_bytes(id),
            workspace: Default::default(),
            event: EventId::from_bytes(id),
            correlation_id: "c".parse().unwrap(),
            connection: "sink".parse().unwrap(),
            kind: DeliveryKind::Deliver,
            idempotency_key: "k".into(),
            accepted_at: self.now,
            series_at: self.now,
            state: DeliveryState::Pending { due_at: self.now },
            charged: 0,
            runs: 0,
            faults: 0,
            generation: 0,
            replays: 0,
            interventions: Vec::new(),
            last_failure: None,
            event_type: String::new(),
            order: None,
            interruptions: 0,
            body_bytes: 0,
        });
        self.ledger.push(Account::new(self.now.as_millis()));
    }

    pub(super) fn lease(&mut self, most: usize) {
        for _ in 0..most {
            let due = self
                .deliveries
                .iter()
                .enumerate()
                .filter_map(|(at, delivery)| Some((due_at(delivery)?, at)));
            let (Some((due_at, at)), Allowance::Room(_)) = (due.min(), self.look()) else {
                return;
            };
            if due_at > self.now {
                return;
            }
            self.begin(at, due_at);
        }
    }

    fn begin(&mut self, at: usize, due_at: Timestamp) {
        let ready_at = due_at.max(self.state.open_since());
        let delivery = &mut self.deliveries[at];
        delivery.series_at = retry::series_at(delivery, ready_at, self.now);
        delivery.state = DeliveryState::Leased { until: self.now };
        delivery.generation += 1;
        delivery.runs += 1;
        delivery.charged += 1;
        let attempt = (delivery.id, delivery.runs);
        self.under_way.push(UnderWay {
            attempt,
            delivery: at,
            generation: delivery.generation,
            started_at: self.now,
            decided: None,
        });
        self.ledger[at].began(self.now.as_millis(), delivery.runs, delivery.generation);
        self.model.began(attempt);
        self.tell(LaneEvent::Leased(attempt));
    }

    pub(super) fn decide(&mut self, index: Index, end: End) {
        let open: Vec<_> = (0..self.under_way.len())
            .filter(|at| self.under_way[*at].decided.is_none())
            .collect();
        if !open.is_empty() {
            self.decide_at(*index.get(&open), end);
        }
    }

    fn decide_at(&mut self, at: usize, end: End) {
        let UnderWay { attempt, delivery, .. } = self.under_way[at];
        let mut counted = self.deliveries[delivery].clone();
        let poisoned = retry::poisoned(&self.retry, &counted);
        let end = match &poisoned {
            Some(failure) => End {
                class: Some(failure.class),
                retry_after_ms: None,
            },
            None => end,
        };
        let verdict = match (poisoned, end.class) {
            (Some(failure), _) => Verdict::Failed(failure),
            (None, None) => Verdict::Delivered(Receipt::default()),
            (None, Some(class)) => Verdict::Failed(Failure {
                class,
                code: None,
                message: "m".into(),
                ambiguous: false,
                retry_after_ms: end.retry_after_ms,
            }),
        };
        counted.faults += u32::from(end.class == Some(FailureClass::ConnectorFault));
        let decision = retry::decide(&self.retry, &counted, &verdict, self.now, &mut self.rng);
        if self.is_valid(at) {
            let (now, series_at) = (self.now.as_millis(), counted.series_at.as_millis());
            self.ledger[delivery].judge(&self.retry, &decision, end, now, series_at);
        }
        let effects = self.tell(LaneEvent::Settled {
            attempt,
            verdict,
            effect: decision.lane,
        });
        self.model.settled(attempt, end, &effects);
        self.under_way[at].decided = Some(Decided {
            at: self.now,
            end,
            outcome: decision.outcome,
            effects,
        });
    }

    pub(super) fn write(&mut self, index: Index) {
        let decided: Vec<_> = (0..self.under_way.len())
            .filter(|at| self.under_way[*at].decided.is_some())
            .collect();
        if !decided.is_empty() {
            self.write_at(*index.get(&decided));
        }
    }

    fn write_at(&mut self, at: usize) {
        let valid = self.is_valid(at);
        let ended = self.under_way.remove(at);
        let decided = ended.decided.expect("only what is decided is written");
        // A settle under a lease that is not valid any more is refused as a whole.
        if valid {
            let delivery = &mut self.deliveries[ended.delivery];
            delivery.faults += u32::from(decided.end.class == Some(FailureClass::ConnectorFault));
            delivery.state = match decided.outcome {
                Outcome::Delivered => DeliveryState::Delivered {
                    at: self.now,
                    receipt: Receipt::default(),
                },
                Outcome::Dead => DeliveryState::Dead {
                    at: self.now,
                    class: decided.end.class.expect("what is dead has failed"),
                },
                Outcome::Parked => {
                    delivery.charged -= 1;
                    DeliveryState::Pending { due_at: self.now }
                }
                Outcome::Retry { due_at, charged } => {
                    delivery.charged -= u32::from(!charged);
                    DeliveryState::Pending { due_at }
                }
            };
            self.ledger[ended.delivery].settled(decided.end, &decided.outcome, self.now.as_millis());
            if !self.state.outdates(ended.started_at, decided.at) {
                let state = std::mem::take(&mut self.state);
                self.state = decided
                    .effects
                    .iter()
                    .fold(state, |state, effect| state.after(effect, decided.at));
            }
        }
        self.model.ended(ended.attempt, valid);
        self.tell(LaneEvent::Ended(ended.attempt));
        self.look();
    }

    pub(super) fn lose(&mut self, index: Index) {
        self.expire(index);
        if !self.under_way.is_empty() {
            let ended = self.under_way.remove(index.index(self.under_way.len()));
            self.model.ended(ended.attempt, false);
            self.tell(LaneEvent::Ended(ended.attempt));
            self.look();
        }
    }

    pub(super) fn expire(&mut self, index: Index) {
        if !self.under_way.is_empty() {
            let at = index.index(self.under_way.len());
            if self.is_valid(at) {
                self.come_back(self.under_way[at].delivery, true);
            }
        }
    }

    pub(super) fn give_back(&mut self, index: Index) {
        let open: Vec<_> = (0..self.under_way.len())
            .filter(|at| self.under_way[*at].decided.is_none() && self.is_valid(*at))
            .collect();
        if !open.is_empty() {
            let given = self.under_way.remove(*index.get(&open));
            self.come_back(given.delivery, false);
            self.model.given_back(given.attempt);
            self.tell(LaneEvent::GivenBack(given.attempt));
        }
    }

    fn come_back(&mut self, at: usize, interrupted: bool) {
        let delivery = &mut self.deliveries[at];
        delivery.charged -= 1;
        delivery.interruptions += u32::from(interrupted);
        delivery.state = DeliveryState::Pending { due_at: self.now };
        self.ledger[at].came_back(self.now.as_millis(), interrupted);
    }

    pub(super) fn release(&mut self) {
        self.state = LaneState::released(self.now);
        self.model.released();
        self.look();
    }

    pub(super) fn configure(&mut self, policy: LanePolicy) {
        self.policy = policy;
        self.model.configured(policy);
        self.look();
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now = Timestamp::from_millis(self.now.as_millis() + ms);
        self.model.time_is(self.now.as_millis());
    }

    pub(super) fn jump_ahead(&mut self, ms: u64) {
        self.pass(ms);
        self.model.jumped();
        self.tell(LaneEvent::ClockJumped);
    }

    pub(super) fn set_back(&mut self, ms: u64) {
        self.now = Timestamp::from_millis(self.now.as_millis().saturating_sub(ms));
        self.model.time_is(self.now.as_millis());
    }

    pub(super) fn restart(&mut self, ms: u64) {
        for at in 0..self.under_way.len() {
            if self.is_valid(at) {
                self.come_back(self.under_way[at].delivery, true);
            }
        }
        self.under_way.clear();
        self.pass(ms);
        self.model.restarted();
        self.core = LaneCore::new(self.policy, self.now);
        self.look();
    }

    /// What a lane does before it leases.
    fn look(&mut self) -> Allowance {
        self.tell(LaneEvent::Configured(self.policy));
        self.tell(LaneEvent::Observed(self.state.clone()));
        let allowance = self.core.allowance(self.now);
        self.model.judge(allowance, self.core.limit());
        allowance
    }

    fn tell(&mut self, event: LaneEvent) -> Vec<LaneEffect> {
        self.core.step(event, self.now, &mut self.rng)
    }

    fn is_valid(&self, at: usize) -> bool {
        let run = &self.under_way[at];
        let delivery = &self.deliveries[run.delivery];
        matches!(delivery.state, DeliveryState::Leased { .. }) && delivery.generation == run.generation
    }
}

fn due_at(delivery: &Delivery) -> Option<Timestamp> {
    match delivery.state {
        DeliveryState::Pending { due_at } => Some(due_at),
        DeliveryState::Leased { .. }
        | DeliveryState::Delivered { .. }
        | DeliveryState::Dead { .. }
        | DeliveryState::Discarded { .. } => None,
    }
}
