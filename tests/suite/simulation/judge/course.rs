//! What happens to deliveries apart from their attempts: leases that run out, processes that end, clocks that are set, and
//! people.

use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::{Delivery, DeliveryId, DeliveryState, Timestamp, WorkspaceName};
use cofferdam_queue::{Leased, Queue as _, StoreQueue};

use super::super::clock::millis;
use super::super::scenario::NEIGHBOUR;
use super::standing::Standing;
use super::{Judge, Owed, Stand};

/// The longest that an interrupted delivery waits.
const INTERRUPTED_WAIT_MAX_MS: u128 = 256_000;

/// A lane that is closed for no longer than this, between two waits of its destination's, may age what it holds.
const SHORT_CLOSURE_MS: u64 = 6 * 60_000;

impl Judge {
    /// A delivery was given back: nothing of its attempt has left.
    pub(in crate::simulation) fn given_back(&mut self, leased: &Leased, taken: bool) -> anyhow::Result<()> {
        let id = leased.delivery.id;
        let owed = self.known(id)?;
        let holds = matches!(owed.stand, Stand::Leased { .. }) && owed.generation == leased.delivery.generation;
        anyhow::ensure!(
            holds == taken,
            "{id} is given back: {taken}, and its lease is present: {holds}"
        );
        if taken {
            owed.stand = Stand::Waiting;
            owed.charged -= 1;
            owed.due_at = leased.attempt.started_at;
        }
        Ok(())
    }

    /// Leases that had run out by now were voided.
    pub(in crate::simulation) async fn voided(&mut self, queue: &StoreQueue, now: Timestamp) -> anyhow::Result<()> {
        let over = |owed: &Owed| matches!(owed.stand, Stand::Leased { until } if until < now);
        self.void(queue, over, now).await
    }

    /// A process has ended, in whatever way.
    pub(in crate::simulation) fn stopped(&mut self) {
        self.lanes.iter_mut().for_each(Standing::forgets);
    }

    /// The next process has opened the queue: no lease stands, and everything else is as it was.
    pub(in crate::simulation) async fn started(
        &mut self,
        queue: &StoreQueue,
        now: Timestamp,
        passed_ms: u64,
    ) -> anyhow::Result<()> {
        self.started_ms = passed_ms;
        self.void(queue, |owed| matches!(owed.stand, Stand::Leased { .. }), now)
            .await?;
        let undone: Vec<_> = self.undone().collect();
        for id in undone {
            let found = look_up(queue, id).await?;
            self.holds_as(&found)?;
        }
        Ok(())
    }

    /// Whether a lease stands.
    pub(in crate::simulation) fn any_leased(&self) -> Option<DeliveryId> {
        let leased = |owed: &Owed| matches!(owed.stand, Stand::Leased { .. });
        self.owed.iter().find(|(_, owed)| leased(owed)).map(|(id, _)| *id)
    }

    async fn void(&mut self, queue: &StoreQueue, which: impl Fn(&Owed) -> bool, now: Timestamp) -> anyhow::Result<()> {
        let void: Vec<_> = self
            .owed
            .iter()
            .filter(|(_, owed)| which(owed))
            .map(|(id, _)| *id)
            .collect();
        for id in void {
            let found = look_up(queue, id).await?;
            let DeliveryState::Pending { due_at } = found.state else {
                anyhow::bail!("the lease of {id} is void, and it is {:?}", found.state);
            };
            let wait = due_at.since(now).as_millis();
            anyhow::ensure!(
                wait <= INTERRUPTED_WAIT_MAX_MS,
                "{id} was interrupted, and waits {wait} ms"
            );
            let owed = self.known(id)?;
            owed.stand = Stand::Waiting;
            owed.due_at = due_at;
            owed.interruptions += 1;
            owed.charged -= 1;
            self.holds_as(&found)?;
        }
        Ok(())
    }

    /// The clock was set.
    pub(in crate::simulation) fn clock_was_set(&mut self, passed_ms: u64) {
        self.jumped = true;
        self.jumped_ms = passed_ms;
        self.lanes.iter_mut().for_each(Standing::clock_was_set);
    }

    /// A lane was released.
    pub(in crate::simulation) fn lane_released(&mut self, lane: usize, now: Timestamp) {
        self.lanes[lane].is_released(now);
    }

    /// Whether anything is tried in the lane as far as connection and process are concerned.
    pub(in crate::simulation) fn lane_runs(&mut self, lane: usize, runs: bool) {
        self.lanes[lane].runs_at_all(runs);
    }

    /// The process has seen that its clock jumped ahead.
    pub(in crate::simulation) fn jump_was_seen(&mut self) {
        self.lanes.iter_mut().for_each(Standing::jump_was_seen);
    }

    /// So much has passed until now. What stood ready meanwhile in a closed lane has not aged.
    pub(in crate::simulation) fn time_passed(&mut self, ms: u64, now: Timestamp) {
        for owed in self.owed.values_mut().filter(|owed| owed.stand == Stand::Waiting) {
            let lane = &self.lanes[owed.lane];
            if lane.is_closed() {
                owed.closed_ms += millis(now.since(owed.due_at.max(lane.waits_until()))).min(ms);
            } else {
                if owed.closed_ms > SHORT_CLOSURE_MS {
                    owed.idle_ms += owed.closed_ms;
                }
                owed.closed_ms = 0;
            }
        }
    }

    /// A dead letter is tried again.
    pub(in crate::simulation) fn replayed(&mut self, id: DeliveryId, now: Timestamp) -> anyhow::Result<()> {
        self.places += 1;
        let place = self.places;
        let owed = self.known(id)?;
        anyhow::ensure!(owed.stand == Stand::Dead, "{id} is replayed, and was {:?}", owed.stand);
        owed.stand = Stand::Waiting;
        owed.due_at = now;
        owed.series_at = now;
        (owed.idle_ms, owed.closed_ms) = (0, 0);
        owed.place = place;
        (owed.charged, owed.faults, owed.interruptions) = (0, 0, 0);
        if let Some(key) = owed.key {
            let key = (owed.lane, key);
            self.in_order.entry(key).or_default().insert((place, id));
        }
        Ok(())
    }

    /// A dead letter is given up.
    pub(in crate::simulation) fn discarded(&mut self, id: DeliveryId) -> anyhow::Result<()> {
        let owed = self.known(id)?;
        anyhow::ensure!(owed.stand == Stand::Dead, "{id} is discarded, and was {:?}", owed.stand);
        owed.stand = Stand::Discarded;
        Ok(())
    }

    /// Whether it is a dead letter.
    pub(in crate::simulation) fn is_dead(&self, id: DeliveryId) -> bool {
        self.owed.get(&id).is_some_and(|owed| owed.stand == Stand::Dead)
    }

    /// Whose it is.
    pub(in crate::simulation) fn lane_of(&self, id: DeliveryId) -> usize {
        self.owed.get(&id).map_or(NEIGHBOUR, |owed| owed.lane)
    }

    /// What is neither delivered nor dead nor discarded.
    pub(in crate::simulation) fn undone(&self) -> impl Iterator<Item = DeliveryId> {
        let undone = self.owed.iter().filter(|(_, owed)| owed.stand.is_undone());
        undone.map(|(id, _)| *id)
    }

    /// The end: everything that was acknowledged is delivered, dead or discarded, in the queue too.
    pub(in crate::simulation) async fn finished(&self, queue: &StoreQueue) -> anyhow::Result<[u64; 3]> {
        let mut ends = [0; 3];
        for (id, owed) in &self.owed {
            self.holds_as(&look_up(queue, *id).await?)?;
            ends[match owed.stand {
                Stand::Delivered => 0,
                Stand::Dead => 1,
                Stand::Discarded => 2,
                Stand::Waiting | Stand::Leased { .. } => anyhow::bail!("{id} is neither delivered nor dead at the end"),
            }] += 1;
        }
        Ok(ends)
    }

    pub(super) fn done(&mut self, id: DeliveryId, stand: Stand) {
        let Some(owed) = self.owed.get_mut(&id) else { return };
        owed.stand = stand;
        if let Some(key) = owed.key
            && let Some(order) = self.in_order.get_mut(&(owed.lane, key))
        {
            order.remove(&(owed.place, id));
        }
    }

    /// Holds what the queue knows against what must be.
    pub(super) fn holds_as(&self, found: &Delivery) -> anyhow::Result<()> {
        let id = found.id;
        let Some(owed) = self.owed.get(&id) else {
            anyhow::bail!("{id} was never accepted");
        };
        let stands = match (owed.stand, &found.state) {
            (Stand::Waiting, DeliveryState::Pending { due_at }) => *due_at == owed.due_at,
            (Stand::Leased { until }, DeliveryState::Leased { until: found }) => until == *found,
            (Stand::Delivered, DeliveryState::Delivered { .. })
            | (Stand::Dead, DeliveryState::Dead { .. })
            | (Stand::Discarded, DeliveryState::Discarded { .. }) => true,
            (Stand::Waiting | Stand::Leased { .. } | Stand::Delivered | Stand::Dead | Stand::Discarded, _) => false,
        };
        let counts = |it: &Owed| (it.charged, it.runs, it.interruptions, it.faults, it.generation);
        let found_counts = (
            found.charged,
            found.runs,
            found.interruptions,
            found.faults,
            found.generation,
        );
        anyhow::ensure!(
            stands && (!owed.stand.is_undone() || counts(owed) == found_counts),
            "{id} must be {:?}, due {:?}, with {:?} (charged, runs, interruptions, faults, generation); it is {:?} with {found_counts:?}",
            owed.stand,
            owed.due_at,
            counts(owed),
            found.state
        );
        Ok(())
    }

    fn known(&mut self, id: DeliveryId) -> anyhow::Result<&mut Owed> {
        let owed = self.owed.get_mut(&id);
        owed.ok_or_else(|| anyhow::anyhow!("{id} was never accepted"))
    }
}

/// What the queue knows of a delivery that was acknowledged.
pub(super) async fn look_up(queue: &StoreQueue, id: DeliveryId) -> anyhow::Result<Delivery> {
    let found = queue.look_up(&WorkspaceName::default(), id).await?;
    found.ok_or_else(|| anyhow::anyhow!("{id} was acknowledged and is lost"))
}

/// The name of a lease's attempt.
pub(in crate::simulation) fn attempt_of(leased: &Leased) -> AttemptId {
    (leased.delivery.id, leased.attempt.run)
}
