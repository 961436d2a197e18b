//! A run: producers, the server's lanes over the real queue and the real core, destinations, a machine that fails, people;
//! one thing after the other, in simulated time.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_domain::clock::Jump;
use cofferdam_domain::event::Stamp;
use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::{DeliveryId, EventDraft, NewEvent, Origin, WorkspaceName};
use cofferdam_queue::{Accept, Bodies, Owed, Queue as _, StoreQueue};
use cofferdam_store::Store;
use cofferdam_vault::{KeySource, Vault, VaultKey};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::agenda::{Agenda, Item};
use super::bed::Bed;
use super::judge::Judge;
use super::lane::Lane;
use super::scenario::{Arrival, Mishap, Scenario};

/// How often the server looks for leases that have run out.
const TIDY_MS: u64 = 5_000;

/// The vault's key, in hex.
const VAULT_KEY: &str = "73696d756c6174696f6e73696d756c6174696f6e73696d756c6174696f6e7373";

/// Everything is done so long after the last trouble: the longest Retry-After that is believed, the longest schedule, and the
/// furthest that the clock is set back, several times.
const DRAIN_MAX_MS: u64 = 14 * 24 * 3_600_000;

/// Steps of one run: one that goes round in circles is stopped.
const STEPS_MAX: u64 = 2_000_000;

/// Everything there is.
pub(super) struct World {
    pub(super) bed: Bed,
    store: Store,
    lanes: Vec<Lane>,
    arrivals: Vec<Arrival>,
    mishaps: Vec<Mishap>,
    heal_at_ms: u64,
}

impl World {
    /// The world of a seed, before anything happens.
    pub(super) async fn new(seed: u64) -> anyhow::Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng);
        let mut agenda = Agenda::default();
        agenda.put(scenario.heal_at_ms, Item::Heal);
        let (mut arrivals, mut mishaps) = (Vec::new(), Vec::new());
        for (at_ms, arrival) in scenario.arrivals {
            agenda.put(at_ms, Item::Arrive(arrivals.len()));
            arrivals.push(arrival);
        }
        for (at_ms, mishap) in scenario.mishaps {
            agenda.put(at_ms, Item::Mishap(mishaps.len()));
            mishaps.push(mishap);
        }
        let mut world = Self {
            bed: Bed::new(rng, agenda, Judge::new(scenario.lanes.len()), scenario.slow_settles),
            lanes: Vec::new(),
            store: Store::in_memory(),
            arrivals,
            mishaps,
            heal_at_ms: scenario.heal_at_ms,
        };
        let plans = scenario.lanes.into_iter().enumerate();
        world.lanes = plans.map(|(number, plan)| Lane::new(number, plan)).collect();
        world.start().await?;
        Ok(world)
    }

    /// Everything, to the end.
    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let mut steps = 0;
        while let Some((at_ms, item)) = self.bed.agenda.next() {
            steps += 1;
            self.pass_to(at_ms);
            let late = self.bed.clock.passed_ms > self.heal_at_ms + DRAIN_MAX_MS || steps > STEPS_MAX;
            anyhow::ensure!(
                !late,
                "not done long after the last trouble: {:?}",
                self.bed.judge.undone().collect::<Vec<_>>()
            );
            self.step(item).await?;
            self.run_lanes().await?;
            if self.bed.healed && self.bed.queue.is_some() && self.bed.judge.undone().next().is_none() {
                break;
            }
        }
        let Some(queue) = &self.bed.queue else {
            anyhow::bail!("the process was never started again")
        };
        [
            self.bed.counts.delivered,
            self.bed.counts.dead,
            self.bed.counts.discarded,
        ] = self.bed.judge.finished(queue).await?;
        Ok(())
    }

    /// Time passes, and the process sees it.
    fn pass_to(&mut self, at_ms: u64) {
        let before_ms = self.bed.clock.passed_ms;
        let jump = self.bed.clock.pass_to(at_ms);
        let now = self.bed.clock.now();
        self.bed.judge.time_passed(self.bed.clock.passed_ms - before_ms, now);
        match jump {
            Some(Jump::Ahead(_)) if self.bed.queue.is_some() => {
                self.bed.judge.jump_was_seen();
                for lane in &mut self.lanes {
                    lane.clock_jumped(now, &mut self.bed.rng);
                }
            }
            Some(Jump::Ahead(_) | Jump::Back(_)) | None => {}
        }
    }

    async fn step(&mut self, item: Item) -> anyhow::Result<()> {
        match item {
            Item::Arrive(number) => self.arrive(number).await,
            Item::Mishap(number) => self.suffer(number).await,
            Item::Start => self.start().await,
            Item::Enable(lane) => {
                self.bed.note(format!("lane {lane} is turned on"));
                self.lanes[lane].set_enabled(true);
                Ok(())
            }
            Item::Release(lane) => self.release(lane).await,
            Item::Judge(id) => self.decide(id).await,
            Item::Wake { lane, sleep } => {
                self.lanes[lane].wakes(sleep);
                Ok(())
            }
            Item::Leased { lane, process } if process == self.bed.process => {
                self.lanes[lane].has_leased(&mut self.bed).await
            }
            Item::Answered { attempt, process } if process == self.bed.process => self.of_attempt(attempt, false).await,
            Item::Written { attempt, process } if process == self.bed.process => self.of_attempt(attempt, true).await,
            Item::Tidy { process } if process == self.bed.process => self.tidy().await,
            Item::Leased { .. } | Item::Answered { .. } | Item::Written { .. } | Item::Tidy { .. } => Ok(()),
            Item::Heal => self.heal().await,
        }
    }

    async fn of_attempt(&mut self, attempt: AttemptId, written: bool) -> anyhow::Result<()> {
        let Some(lane) = self.bed.attempts.get(&attempt).map(|attempt| attempt.lane) else {
            return Ok(());
        };
        if written {
            self.lanes[lane].settle_is_written(&mut self.bed, attempt).await
        } else {
            self.lanes[lane].is_answered(&mut self.bed, attempt)
        }
    }

    /// Lets every lane do what it can.
    async fn run_lanes(&mut self) -> anyhow::Result<()> {
        for lane in 0..self.lanes.len() {
            if self.bed.queue.is_some() && self.lanes[lane].is_awake() {
                self.lanes[lane].look(&mut self.bed).await?;
            }
            let runs = self.bed.queue.is_some() && self.lanes[lane].enabled;
            self.bed.judge.lane_runs(lane, runs);
        }
        Ok(())
    }

    async fn arrive(&mut self, number: usize) -> anyhow::Result<()> {
        if self.bed.queue.is_none() {
            // The producer sees no answer, and comes again.
            self.bed
                .agenda
                .put(self.bed.clock.passed_ms + 1_000, Item::Arrive(number));
            return Ok(());
        }
        let new = self.event(number)?;
        let id = new.event.id;
        let arrival = &self.arrivals[number];
        let (to, key, twice) = (arrival.lanes.clone(), arrival.key, arrival.twice);
        let fan_out = to.iter().map(|&lane| {
            let plan = &self.lanes[lane].plan;
            let mut owed = Owed::deliver(plan.name.clone(), plan.first_wait());
            owed.order_key = plan.ordered.then(|| format!("key-{key}"));
            owed
        });
        let accept = Accept::new(new, fan_out.collect());
        let Some(queue) = &self.bed.queue else { return Ok(()) };
        let now = self.bed.clock.now();
        let accepted = queue.accept(vec![accept.clone()], now).await?.remove(0);
        anyhow::ensure!(
            !accepted.duplicate && accepted.event_id == id,
            "event {number} is new, and called a duplicate"
        );
        anyhow::ensure!(
            accepted.deliveries.len() == to.len(),
            "event {number} is not owed to all of its fan-out"
        );
        if twice {
            let again = Accept {
                new: self.event(number)?,
                ..accept
            };
            let Some(queue) = &self.bed.queue else { return Ok(()) };
            let second = queue.accept(vec![again], now).await?.remove(0);
            anyhow::ensure!(
                second.duplicate && second.event_id == id,
                "event {number} is taken in twice"
            );
        }
        for (&lane, &delivery) in to.iter().zip(&accepted.deliveries) {
            let plan = &self.lanes[lane].plan;
            let (key, due_at) = (plan.ordered.then_some(key), now.after(plan.first_wait()));
            self.bed
                .judge
                .accepted(delivery, lane, key, due_at, now, self.bed.clock.passed_ms);
            self.bed.note(format!("{delivery} is owed to lane {lane}, key {key:?}"));
            self.bed.counts.acknowledged += 1;
        }
        Ok(())
    }

    fn event(&mut self, number: usize) -> anyhow::Result<NewEvent> {
        let draft = EventDraft {
            kind: "com.example.made".to_owned(),
            source: "/simulation".to_owned(),
            subject: None,
            time: None,
            data_content_type: "application/json".to_owned(),
            data_schema: None,
            extensions: BTreeMap::new(),
            data: format!("{{\"number\":{number}}}").into_bytes(),
            dedupe_key: Some(number.to_string()),
        };
        let stamp = Stamp {
            workspace: WorkspaceName::default(),
            origin: Origin::Api("simulation".to_owned()),
            correlation_id: None,
            trace: None,
            received_at: self.bed.clock.now(),
            body_bytes_max: 1 << 20,
        };
        Ok(draft.stamp(stamp, &mut self.bed.rng)?)
    }

    async fn suffer(&mut self, number: usize) -> anyhow::Result<()> {
        let mishap = self.mishaps[number].clone();
        self.bed.note(format!("{mishap:?}"));
        match mishap {
            Mishap::Kill(down_ms) => self.kill(down_ms),
            Mishap::Stop(down_ms) if self.bed.queue.is_some() => {
                for lane in &mut self.lanes {
                    lane.drain(&mut self.bed).await?;
                }
                let left = self.bed.judge.any_leased();
                anyhow::ensure!(
                    left.is_none(),
                    "a process that was asked to stop leaves the lease of {left:?} behind"
                );
                self.kill(down_ms);
            }
            Mishap::Stop(_) => {}
            Mishap::Jump(by_ms) => {
                self.bed.clock.set_by(by_ms);
                self.bed.counts.jumps += 1;
                self.bed.judge.clock_was_set(self.bed.clock.passed_ms);
            }
            Mishap::Edit(lane, policy) => self.lanes[lane].set_policy(*policy),
            Mishap::Disable(lane, for_ms) => {
                self.lanes[lane].set_enabled(false);
                self.bed
                    .agenda
                    .put(self.bed.clock.passed_ms + for_ms, Item::Enable(lane));
            }
            Mishap::Release(lane) => self.release(lane).await?,
        }
        Ok(())
    }

    /// The process is gone, and everything that was only in its memory.
    fn kill(&mut self, down_ms: u64) {
        if self.bed.queue.take().is_none() {
            return;
        }
        self.bed.process += 1;
        self.bed.attempts.clear();
        self.bed.judge.stopped();
        self.lanes.iter_mut().for_each(Lane::forget);
        self.bed.counts.restarts += 1;
        self.bed.agenda.put(self.bed.clock.passed_ms + down_ms, Item::Start);
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.bed.clock.restart();
        let (now, passed_ms) = (self.bed.clock.now(), self.bed.clock.passed_ms);
        let rng = StdRng::from_rng(&mut self.bed.rng);
        let key = VaultKey::load(KeySource::Env(VAULT_KEY.to_owned()))?;
        // Its nonces and keys are the one thing that does not come from the seed; nothing is decided by them.
        let vault = Vault::open(self.store.clone(), key).await?;
        let bodies = Bodies::Sealed(Arc::new(vault.body_keys()));
        let queue = StoreQueue::open_with(self.store.clone(), bodies, now, rng).await?;
        self.bed.judge.started(&queue, now, passed_ms).await?;
        for lane in &mut self.lanes {
            lane.start(&queue, now);
        }
        self.bed.queue = Some(queue);
        self.bed.note(format!("process {} runs", self.bed.process));
        self.bed.agenda.put(
            passed_ms + TIDY_MS,
            Item::Tidy {
                process: self.bed.process,
            },
        );
        Ok(())
    }

    async fn tidy(&mut self) -> anyhow::Result<()> {
        let (now, passed_ms) = (self.bed.clock.now(), self.bed.clock.passed_ms);
        let Some(queue) = &self.bed.queue else { return Ok(()) };
        let voided = queue.expire_leases(now).await?;
        self.bed.judge.voided(queue, now).await?;
        self.bed.counts.interrupted += voided as u64;
        // Once nothing goes wrong any more leases end by themselves; the pace only saves steps.
        let pace_ms = if self.bed.healed { TIDY_MS * 60 } else { TIDY_MS };
        self.bed.agenda.put(
            passed_ms + pace_ms,
            Item::Tidy {
                process: self.bed.process,
            },
        );
        Ok(())
    }

    async fn release(&mut self, lane: usize) -> anyhow::Result<()> {
        let now = self.bed.clock.now();
        let Some(queue) = &self.bed.queue else {
            self.bed
                .agenda
                .put(self.bed.clock.passed_ms + 1_000, Item::Release(lane));
            return Ok(());
        };
        queue
            .release_lane(&WorkspaceName::default(), &self.lanes[lane].plan.name, now)
            .await?;
        self.bed.judge.lane_released(lane, now);
        self.bed.note(format!("lane {lane} is released"));
        Ok(())
    }

    /// A person looks at a dead letter.
    async fn decide(&mut self, id: DeliveryId) -> anyhow::Result<()> {
        let now = self.bed.clock.now();
        let Some(queue) = self.bed.queue.as_ref().filter(|_| self.bed.judge.is_dead(id)) else {
            return Ok(());
        };
        let workspace = WorkspaceName::default();
        if self.bed.rng.random_bool(0.6) {
            queue.replay(&workspace, id, now, "somebody").await?;
            self.bed.judge.replayed(id, now)?;
            self.bed.counts.replayed += 1;
            self.bed.note(format!("{id} is replayed"));
        } else {
            queue.discard(&workspace, id, now, "somebody").await?;
            self.bed.judge.discarded(id)?;
            self.bed.note(format!("{id} is discarded"));
        }
        Ok(())
    }

    /// Nothing goes wrong any more: destinations are well, connections on, and what parked a lane is put right.
    async fn heal(&mut self) -> anyhow::Result<()> {
        self.bed.note("all is well from now on");
        self.bed.healed = true;
        for lane in 0..self.lanes.len() {
            self.lanes[lane].heal();
            self.release(lane).await?;
        }
        Ok(())
    }
}
