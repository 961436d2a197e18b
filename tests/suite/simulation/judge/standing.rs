//! What stands against a lane, worked out from the answers alone: the judge's own view, kept apart from the core's.

use std::collections::BTreeMap;

use cofferdam_domain::connection::Rate;
use cofferdam_domain::lane::breaker::Word;
use cofferdam_domain::lane::core::AttemptId;
use cofferdam_domain::{FailureClass, LaneEffect, LaneState, Policy, Timestamp};

/// The longest Retry-After that is believed: a day.
const BELIEVED_MS: u64 = 24 * 3_600_000;

/// A settle becomes durable at most so long after its verdict.
const LATE_MAX_MS: u128 = 10 * 60_000;

/// What an attempt's answer means for its lane.
#[derive(Clone, Copy, Debug, Default)]
struct Means {
    back_off_until: Timestamp,
    parks: bool,
}

impl Means {
    fn and(self, other: Self) -> Self {
        Self {
            back_off_until: self.back_off_until.max(other.back_off_until),
            parks: self.parks || other.parks,
        }
    }
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Its place in the order of everything that happened to the lane.
    asked: u64,
    asked_at: Timestamp,
    /// It has opened the breaker, and that is not durable yet.
    opens: bool,
    probe: bool,
    /// Known once it is answered, and certain once that is durable.
    means: Means,
}

/// A lane as the judge sees it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Counts what happens to the lane.
    events: u64,
    runs: BTreeMap<AttemptId, Run>,
    durable: Means,
    /// Attempts that were asked for until then mean nothing any more: a person has released the lane.
    released_at: Option<Timestamp>,
    /// Attempts that were asked for before this say nothing of ramp and breaker.
    era: u64,
    /// Answers since the ramp began.
    ramp: Option<u32>,
    /// When attempts began under the present rate.
    begun: Vec<Timestamp>,
    rate: Option<Rate>,
    runs_at_all: bool,
    waits_until: Timestamp,
}

impl Standing {
    /// Holds a lease of so many against everything that stands, as it begins.
    pub(super) fn asks(
        &mut self,
        attempts: &[AttemptId],
        state: &LaneState,
        policy: &Policy,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        self.events += 1;
        let all = self.runs.values().fold(self.durable, |all, run| all.and(run.means));
        anyhow::ensure!(!all.parks && state.parked.is_none(), "an attempt in a parked lane");
        let wait = all.back_off_until.since(now).as_millis();
        anyhow::ensure!(
            wait == 0 || wait > BELIEVED_MS.into(),
            "an attempt {wait} ms before the end of the back-off that was asked for"
        );
        let under_way = self.runs.len() + attempts.len();
        anyhow::ensure!(
            under_way <= policy.concurrency.into(),
            "{under_way} attempts under way where {} may be",
            policy.concurrency
        );
        let tripped = state.tripped.as_ref().filter(|_| policy.breaker.failures > 0);
        if let Some(tripped) = tripped {
            let wait = tripped.until.since(now).as_millis();
            let longest = u128::from(policy.breaker.open_max_ms) * 5 / 4;
            anyhow::ensure!(
                wait == 0 || wait > longest,
                "an attempt {wait} ms before the breaker's probe"
            );
            let probing = self.runs.values().filter(|run| run.probe).count() + attempts.len();
            anyhow::ensure!(probing == 1, "{probing} probes at once");
        } else if let Some(answers) = self.ramp
            // A breaker that opened before, and whose opening is still being written, makes its own probe.
            && !self.runs.values().any(|run| run.opens)
        {
            let most = 1_usize << answers.min(16);
            anyhow::ensure!(
                under_way <= most,
                "{under_way} attempts under way after {answers} answers since the destination recovered"
            );
        }
        for attempt in attempts {
            let run = Run {
                asked: self.events,
                asked_at: now,
                opens: false,
                probe: tripped.is_some(),
                means: Means::default(),
            };
            self.runs.insert(*attempt, run);
        }
        Ok(())
    }

    /// An attempt begins, under this rate.
    pub(super) fn begins(&mut self, rate: Option<Rate>, now: Timestamp) -> anyhow::Result<()> {
        if self.rate != rate {
            self.rate = rate;
            self.begun.clear();
        }
        let Some(rate) = rate else { return Ok(()) };
        self.begun.push(now);
        for (first, from) in self.begun.iter().enumerate() {
            let span_ms = now.since(*from).as_millis();
            let most = u128::from(rate.burst.unwrap_or(rate.count))
                + span_ms * u128::from(rate.count) / u128::from(rate.per_ms);
            let here = self.begun.len() - first;
            anyhow::ensure!(
                here as u128 <= most + 1,
                "{here} attempts began in {span_ms} ms at a rate of {rate:?}"
            );
        }
        Ok(())
    }

    /// An attempt was answered: what that means from now on, durable or not.
    pub(super) fn answered(
        &mut self,
        attempt: AttemptId,
        class: Option<FailureClass>,
        asked_ms: Option<u64>,
        effects: &[LaneEffect],
        now: Timestamp,
    ) -> anyhow::Result<()> {
        self.events += 1;
        let Some(run) = self.runs.get_mut(&attempt) else {
            return Ok(());
        };
        let asked_ms = asked_ms.unwrap_or(0).min(BELIEVED_MS);
        run.means = Means {
            back_off_until: match class {
                Some(FailureClass::RateLimited) => Timestamp::from_millis(now.as_millis() + asked_ms),
                _ => Timestamp::ZERO,
            },
            parks: class == Some(FailureClass::Auth),
        };
        let of_this_era = run.asked > self.era;
        for effect in effects {
            match effect {
                LaneEffect::Trip { until, .. } => {
                    run.opens = true;
                    self.waits_until = self.waits_until.max(*until);
                    anyhow::ensure!(
                        of_this_era,
                        "an attempt that was under way when the breaker opened opens it again"
                    );
                    self.era = self.events;
                }
                LaneEffect::Recover => {
                    self.era = self.events;
                    self.ramp = Some(0);
                    return Ok(());
                }
                LaneEffect::BackOff { until } => self.waits_until = self.waits_until.max(*until),
                LaneEffect::None | LaneEffect::Park { .. } | LaneEffect::Flag { .. } => {}
            }
        }
        if Word::of(class) == Word::Answers
            && let Some(answers) = &mut self.ramp
        {
            *answers += 1;
        }
        Ok(())
    }

    /// An attempt is over; its settle is durable or it never will be.
    pub(super) fn ends(&mut self, attempt: AttemptId, durable: bool, now: Timestamp) {
        self.events += 1;
        // A release by a clock that was far ahead of this one says nothing of attempts by this one.
        let outdates = |run: &Run| {
            let released = self
                .released_at
                .filter(|released| released.since(now).as_millis() <= LATE_MAX_MS);
            released.is_some_and(|released| released >= run.asked_at)
        };
        if let Some(run) = self.runs.remove(&attempt)
            && durable
            && !outdates(&run)
        {
            self.durable = self.durable.and(run.means);
        }
    }

    /// What is under way is no longer held against the lane's ramp once all of the policy's concurrency is reached.
    pub(super) fn ramps_to(&mut self, concurrency: u16) {
        if self
            .ramp
            .is_some_and(|answers| 1_u32 << answers.min(16) >= concurrency.into())
        {
            self.ramp = None;
        }
    }

    /// A person releases the lane.
    pub(super) fn is_released(&mut self, now: Timestamp) {
        self.events += 1;
        self.released_at = Some(now);
        self.era = self.events;
        self.durable = Means::default();
        for run in self.runs.values_mut() {
            run.means = Means::default();
        }
    }

    /// The process is gone, and with it everything that was not durable.
    pub(super) fn forgets(&mut self) {
        self.runs.clear();
        self.begun.clear();
        self.ramp = None;
    }

    /// The clock was set.
    pub(super) fn clock_was_set(&mut self) {
        self.begun.clear();
    }

    /// The process has seen its clock jump ahead.
    pub(super) fn jump_was_seen(&mut self) {
        self.events += 1;
        self.era = self.events;
    }

    /// Whether the lane tries nothing for reasons of ours: off, parked, or no process.
    pub(super) fn is_closed(&self) -> bool {
        self.durable.parks || !self.runs_at_all
    }

    /// The connection is on and a process runs it, or not.
    pub(super) fn runs_at_all(&mut self, runs: bool) {
        self.runs_at_all = runs;
    }

    /// The latest end of a wait that any answer has asked for or made necessary.
    pub(super) fn waits_until(&self) -> Timestamp {
        self.waits_until
    }
}
