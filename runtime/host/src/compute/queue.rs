//! Whose turn it is to compute: fair by lane, and in the order of coming within one.
//!
//! A lane is charged the processor time that its turns have used, and the one that was charged least goes first. So a lane with
//! thirty calls gets what a lane with one call gets, and a lane whose turns are short is soon there again. One that comes after
//! a rest begins level with the lane that is being served: nobody saves up, and nobody is held to what is long past.
//!
//! Nothing here knows a clock or a thread: it is told the time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The name of a lane in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(pub(crate) u64);

/// What a turn is taken to use while it is under way, so that two threads do not both take the same lane for the least charged.
const TURN_ESTIMATE_US: u64 = 10_000;

/// Lanes without work that may be remembered before they are looked through.
const RESTING_MAX: usize = 64;

/// What waits for a turn.
#[derive(Debug)]
pub(crate) struct FairQueue<J> {
    lanes: HashMap<LaneId, Lane<J>>,
    /// Lanes with something that waits, by what they are charged.
    order: BTreeSet<(u64, LaneId)>,
    /// What the lane that was served last was charged before its turn: where a lane that comes begins.
    level: u64,
    /// Turns under way.
    running: usize,
}

#[derive(Debug)]
struct Lane<J> {
    waiting: VecDeque<Waiting<J>>,
    running: usize,
    /// Microseconds of processor time, from the level at which it came.
    charged: u64,
    /// Since when it waits with nothing of it being served; its neighbours are what it waits for.
    held_since: Option<Instant>,
    held: Duration,
}

#[derive(Debug)]
struct Waiting<J> {
    job: J,
    /// What its lane had been held up when it came.
    held_before: Duration,
}

/// The right to compute.
#[derive(Debug)]
pub(crate) struct Turn<J> {
    pub(crate) lane: LaneId,
    pub(crate) job: J,
    /// How long it has waited because of other lanes, as opposed to other calls of its own.
    pub(crate) held_up: Duration,
}

impl<J> Default for FairQueue<J> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            order: BTreeSet::new(),
            level: 0,
            running: 0,
        }
    }
}

impl<J> FairQueue<J> {
    /// Puts a job behind the others of its lane.
    pub(crate) fn push(&mut self, id: LaneId, job: J, now: Instant) {
        let level = self.level;
        let lane = self.lanes.entry(id).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            running: 0,
            charged: level,
            held_since: None,
            held: Duration::ZERO,
        });
        if lane.waiting.is_empty() {
            if lane.running == 0 {
                lane.charged = lane.charged.max(level);
                lane.held_since = Some(now);
            }
            self.order.insert((lane.charged, id));
        }
        let held_before = lane.held_up(now);
        lane.waiting.push_back(Waiting { job, held_before });
    }

    /// The next turn. It is to be [ended](Self::end).
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Turn<J>> {
        let (charged, id) = self.order.pop_first()?;
        let lane = self.lanes.get_mut(&id)?;
        let Waiting { job, held_before } = lane.waiting.pop_front()?;
        self.level = self.level.max(charged);
        lane.held = lane.held_up(now);
        lane.held_since = None;
        lane.running += 1;
        self.running += 1;
        lane.charged = lane.charged.saturating_add(TURN_ESTIMATE_US);
        if !lane.waiting.is_empty() {
            self.order.insert((lane.charged, id));
        }
        Some(Turn {
            lane: id,
            job,
            held_up: lane.held.saturating_sub(held_before),
        })
    }

    /// A turn is over, and has used this much processor time. What its job wants further has been pushed before.
    pub(crate) fn end(&mut self, id: LaneId, used: Duration, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let waits = self.order.remove(&(lane.charged, id));
        let used = u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
        lane.charged = lane.charged.saturating_sub(TURN_ESTIMATE_US).saturating_add(used);
        lane.running = lane.running.saturating_sub(1);
        self.running = self.running.saturating_sub(1);
        if waits {
            self.order.insert((lane.charged, id));
            if lane.running == 0 {
                lane.held_since = Some(now);
            }
        }
        if self.running == 0 && self.order.is_empty() {
            // Nobody competes, so nobody owes anybody.
            self.lanes.clear();
            self.level = 0;
        } else if self.lanes.len() > self.order.len() + self.running + RESTING_MAX {
            let level = self.level;
            self.lanes
                .retain(|_, lane| lane.running > 0 || !lane.waiting.is_empty() || lane.charged > level);
        }
    }

    /// Whether a lane other than this one waits.
    pub(crate) fn another_waits(&self, id: LaneId) -> bool {
        self.order.iter().take(2).any(|(_, waiting)| *waiting != id)
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }
}

impl<J> Lane<J> {
    fn held_up(&self, now: Instant) -> Duration {
        let present = self.held_since.map(|since| now.saturating_duration_since(since));
        self.held + present.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
