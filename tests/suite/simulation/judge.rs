//! The judge: follows each delivery from the answers that everybody gets, by rules of its own, and says which promise was
//! broken. It shares nothing with the code under trial but its words.

mod course;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::{
    Delivery, DeliveryId, DeliveryState, FailureClass, LaneEffect, LaneState, Outcome, Policy, Timestamp,
};
use cofferdam_queue::{Leased, StoreQueue};

pub(super) use self::course::attempt_of;
use self::course::look_up;
use self::standing::Standing;
use super::scenario::NEIGHBOUR;

/// The most that a first attempt in the lane of a destination that is well waits for anything.
const NEIGHBOUR_WAIT_MAX_MS: u64 = 2_000;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Waiting,
    Leased { until: Timestamp },
    Delivered,
    Dead,
    Discarded,
}

impl Stand {
    fn is_undone(self) -> bool {
        match self {
            Self::Waiting | Self::Leased { .. } => true,
            Self::Delivered | Self::Dead | Self::Discarded => false,
        }
    }
}

/// A delivery as it must be.
#[derive(Debug)]
struct Owed {
    lane: usize,
    key: Option<u8>,
    /// Its place in the order of its key.
    place: u64,
    stand: Stand,
    due_at: Timestamp,
    generation: u64,
    runs: u32,
    charged: u32,
    interruptions: u32,
    faults: u32,
    /// When its series began, and for how long it stood ready since while its lane was closed.
    series_at: Timestamp,
    idle_ms: u64,
    /// For how long it stands ready in a lane that is closed now.
    closed_ms: u64,
    /// Since when it could have been tried first, as time really passes.
    ready_ms: u64,
    /// The destination has done what was asked.
    acted: bool,
}

/// A lease as it is taken.
pub(super) struct Ask<'a> {
    pub(super) lane: usize,
    pub(super) now: Timestamp,
    pub(super) passed_ms: u64,
    /// The lane's durable state when it was asked for.
    pub(super) state: &'a LaneState,
    pub(super) policy: &'a Policy,
    pub(super) leased: &'a [Leased],
}

/// An attempt's answer and what was made of it.
pub(super) struct Answer<'a> {
    pub(super) leased: &'a Leased,
    pub(super) class: Option<FailureClass>,
    /// The Retry-After that came with it, in milliseconds.
    pub(super) asked_ms: Option<u64>,
    pub(super) outcome: &'a Outcome,
    pub(super) effects: &'a [LaneEffect],
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
}

/// See the module.
pub(super) struct Judge {
    owed: BTreeMap<DeliveryId, Owed>,
    /// The undone deliveries of each key of a lane, in their order.
    in_order: BTreeMap<(usize, u8), BTreeSet<(u64, DeliveryId)>>,
    lanes: Vec<Standing>,
    places: u64,
    /// The clock was set in this run: nothing is said of ages any more.
    jumped: bool,
    jumped_ms: u64,
    started_ms: u64,
}

impl Judge {
    /// Of so many lanes.
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            owed: BTreeMap::new(),
            in_order: BTreeMap::new(),
            lanes: (0..lanes).map(|_| Standing::default()).collect(),
            places: 0,
            jumped: false,
            jumped_ms: 0,
            started_ms: 0,
        }
    }

    /// The queue has acknowledged it.
    pub(super) fn accepted(
        &mut self,
        id: DeliveryId,
        lane: usize,
        key: Option<u8>,
        due_at: Timestamp,
        now: Timestamp,
        passed_ms: u64,
    ) {
        self.places += 1;
        let owed = Owed {
            lane,
            key,
            place: self.places,
            stand: Stand::Waiting,
            due_at,
            generation: 0,
            runs: 0,
            charged: 0,
            interruptions: 0,
            faults: 0,
            series_at: now,
            idle_ms: 0,
            closed_ms: 0,
            ready_ms: passed_ms,
            acted: false,
        };
        if let Some(key) = key {
            self.in_order.entry((lane, key)).or_default().insert((owed.place, id));
        }
        self.owed.insert(id, owed);
    }

    /// A lane has leased; nothing has been done about it yet.
    pub(super) async fn asked(&mut self, queue: &StoreQueue, ask: &Ask<'_>) -> anyhow::Result<()> {
        self.find_expired(queue, ask).await?;
        if ask.leased.is_empty() {
            return Ok(());
        }
        for leased in ask.leased {
            self.leased(leased, ask)?;
        }
        let attempts: Vec<_> = ask.leased.iter().map(attempt_of).collect();
        let lane = &mut self.lanes[ask.lane];
        lane.ramps_to(ask.policy.concurrency);
        lane.asks(&attempts, ask.state, ask.policy, ask.now)
    }

    fn leased(&mut self, leased: &Leased, ask: &Ask<'_>) -> anyhow::Result<()> {
        let (delivery, attempt) = (&leased.delivery, &leased.attempt);
        let id = delivery.id;
        let Some(owed) = self.owed.get_mut(&id) else {
            anyhow::bail!("{id} is leased, and was never accepted");
        };
        let is = format!("{id} in lane {}", owed.lane);
        anyhow::ensure!(owed.lane == ask.lane, "{is} is leased from lane {}", ask.lane);
        anyhow::ensure!(
            owed.stand == Stand::Waiting,
            "{is} is leased while it is {:?}",
            owed.stand
        );
        let early = owed.due_at.since(ask.now).as_millis();
        anyhow::ensure!(early == 0, "{is} is leased {early} ms before it is due");
        anyhow::ensure!(
            delivery.generation > owed.generation,
            "the generation of {is} does not rise"
        );
        anyhow::ensure!(attempt.run > owed.runs, "the run of {is} does not rise");
        let number = owed.charged + 1;
        anyhow::ensure!(
            attempt.number == number && delivery.charged == number,
            "{is} is charged {} attempts where {number} is right",
            attempt.number
        );
        if let Some(key) = owed.key {
            let first = self.in_order.get(&(owed.lane, key)).and_then(BTreeSet::first);
            anyhow::ensure!(
                first.is_some_and(|(_, first)| *first == id),
                "{is} is leased before {first:?}, which is the first of key {key}"
            );
        }
        let undisturbed = owed.ready_ms >= self.jumped_ms.max(self.started_ms);
        if owed.lane == NEIGHBOUR && attempt.run == 1 && undisturbed {
            let waited = ask.passed_ms - owed.ready_ms;
            anyhow::ensure!(
                waited <= NEIGHBOUR_WAIT_MAX_MS,
                "{is} waited {waited} ms beside others in trouble"
            );
        }
        owed.generation = delivery.generation;
        owed.runs = attempt.run;
        owed.charged = number;
        let DeliveryState::Leased { until } = delivery.state else {
            anyhow::bail!("{is} is handed out as {:?}", delivery.state);
        };
        owed.stand = Stand::Leased { until };
        Ok(())
    }

    /// The lease makes dead letters of what is too old, without a word.
    async fn find_expired(&mut self, queue: &StoreQueue, ask: &Ask<'_>) -> anyhow::Result<()> {
        let max_age_ms = u128::from(ask.policy.retry.max_age_ms);
        let old = self.owed.iter().filter(|(_, owed)| {
            owed.lane == ask.lane
                && owed.stand == Stand::Waiting
                && ask.now.since(owed.series_at).as_millis() > max_age_ms
        });
        let old: Vec<DeliveryId> = old.map(|(id, _)| *id).collect();
        for id in old {
            let found = look_up(queue, id).await?;
            if let DeliveryState::Dead { .. } = found.state {
                let owed = &self.owed[&id];
                let age_ms = ask
                    .now
                    .since(owed.series_at)
                    .as_millis()
                    .saturating_sub(owed.idle_ms.into());
                anyhow::ensure!(
                    self.jumped || age_ms > max_age_ms,
                    "{id} is given up as too old, and is {age_ms} ms old without the time in which it was ready and its lane closed"
                );
                self.done(id, Stand::Dead);
            }
        }
        Ok(())
    }

    /// An attempt begins.
    pub(super) fn begins(&mut self, lane: usize, policy: &Policy, now: Timestamp) -> anyhow::Result<()> {
        self.lanes[lane].begins(policy.rate, now)
    }

    /// The destination has done what an attempt asked for.
    pub(super) fn acted(&mut self, id: DeliveryId) {
        if let Some(owed) = self.owed.get_mut(&id) {
            owed.acted = true;
        }
    }

    /// An attempt has come to its verdict: the table of outcomes, and what follows for the lane.
    pub(super) fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        let id = answer.leased.delivery.id;
        let Some(owed) = self.owed.get(&id) else {
            anyhow::bail!("{id} is answered, and was never accepted");
        };
        let said = format!("{id}: {:?} is followed by {:?}", answer.class, answer.outcome);
        let not_before = answer.asked_ms.unwrap_or(0).min(24 * 3_600_000) + answer.now.as_millis();
        let right = match (answer.class, answer.outcome) {
            (None, Outcome::Delivered) | (Some(FailureClass::Auth), Outcome::Parked) => true,
            (Some(FailureClass::RateLimited), Outcome::Retry { due_at, charged }) => {
                !charged && due_at.as_millis() >= not_before
            }
            (
                Some(
                    FailureClass::Dependency
                    | FailureClass::Transport
                    | FailureClass::Timeout
                    | FailureClass::ConnectorFault,
                ),
                Outcome::Retry { due_at, charged },
            ) => *charged && due_at.as_millis() >= not_before,
            (Some(class), Outcome::Dead) => self.may_die(class, owed, answer),
            (Some(_), Outcome::Delivered | Outcome::Retry { .. } | Outcome::Parked)
            | (None, Outcome::Retry { .. } | Outcome::Parked | Outcome::Dead) => false,
        };
        anyhow::ensure!(right, "{said}, which is not what the table says");
        let attempt = attempt_of(answer.leased);
        self.lanes[owed.lane].answered(attempt, answer.class, answer.asked_ms, answer.effects, answer.now)
    }

    /// Whether a delivery may become a dead letter by a failure of this class.
    fn may_die(&self, class: FailureClass, owed: &Owed, answer: &Answer<'_>) -> bool {
        let retry = &answer.policy.retry;
        let used_up = answer.leased.delivery.charged as usize >= retry.schedule_ms.len();
        let longest = retry.schedule_ms.iter().copied().max().unwrap_or(0).max(60_000);
        let longest = u128::from(longest.max(answer.asked_ms.unwrap_or(0).min(24 * 3_600_000)));
        let age = answer.now.since(owed.series_at).as_millis() + longest * 5 / 4;
        let too_old = self.jumped || age > u128::from(retry.max_age_ms);
        match class {
            FailureClass::Auth => false,
            FailureClass::RateLimited => too_old,
            FailureClass::Dependency | FailureClass::Transport | FailureClass::Timeout => used_up || too_old,
            FailureClass::ConnectorFault => {
                let poison = answer.leased.delivery.interruptions >= retry.interruptions_max;
                used_up || too_old || poison || owed.faults + 1 >= retry.faults_max
            }
            FailureClass::Schema
            | FailureClass::Gone
            | FailureClass::Configuration
            | FailureClass::Policy
            | FailureClass::DataQuality => true,
        }
    }

    /// A settle has reached the store, and this is what it said; none if it refused it as of an old lease.
    pub(super) fn written(
        &mut self,
        leased: &Leased,
        class: Option<FailureClass>,
        outcome: &Outcome,
        settled: Option<&Delivery>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let id = leased.delivery.id;
        let Some(owed) = self.owed.get_mut(&id) else {
            anyhow::bail!("{id} is settled, and was never accepted");
        };
        let holds = matches!(owed.stand, Stand::Leased { .. }) && owed.generation == leased.delivery.generation;
        anyhow::ensure!(
            holds == settled.is_some(),
            "the settle of {id} with generation {} is {}; the present one is {} and {:?}",
            leased.delivery.generation,
            if settled.is_some() { "taken" } else { "refused" },
            owed.generation,
            owed.stand
        );
        let Some(settled) = settled else { return Ok(()) };
        if class == Some(FailureClass::ConnectorFault) {
            owed.faults += 1;
        }
        let (stand, due_at, charged) = match outcome {
            Outcome::Delivered => (Stand::Delivered, now, true),
            Outcome::Retry { due_at, charged } => (Stand::Waiting, *due_at, *charged),
            Outcome::Parked => (Stand::Waiting, now, false),
            Outcome::Dead => (Stand::Dead, now, true),
        };
        anyhow::ensure!(
            stand != Stand::Delivered || owed.acted,
            "{id} counts as delivered, and its destination knows nothing of it"
        );
        owed.due_at = due_at;
        owed.charged -= u32::from(!charged);
        if stand.is_undone() {
            owed.stand = stand;
        } else {
            self.done(id, stand);
        }
        self.holds_as(settled)?;
        Ok(())
    }

    /// An attempt is over.
    pub(super) fn ended(&mut self, lane: usize, attempt: AttemptId, durable: bool, now: Timestamp) {
        self.lanes[lane].ends(attempt, durable, now);
    }
}
