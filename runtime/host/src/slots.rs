//! Who may run how much at once. A slot is the right to hold one instance of the pool.
//!
//! Each lane has one slot of its own, so whatever its neighbours do it always moves; more come from a pool that all lanes
//! share, of which one lane may hold a quarter. Slots are taken before a delivery is leased: nobody waits for one while a
//! lease or a deadline runs. [Incoming](incoming) requests and descriptors have slots apart, so that deliveries cannot hold them
//! up.

pub(crate) mod incoming;

use std::sync::Arc;

use cofferdam_domain::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::incoming::Entrance;
use crate::compute::queue::LaneId;
use crate::usage;
use crate::weight::LaneWeight;

/// Calls of `receive` and `describe` at once, beside the one that each connection has.
pub(crate) const INCOMING_SLOTS: u32 = 32;

/// One lane, or one connection's incoming requests, may hold this part of the shared slots.
const SHARE: usize = 4;

/// The right to hold one instance; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permits: Permits,
    /// What the calls of whoever holds it have been like.
    pub(crate) weight: Arc<LaneWeight>,
    /// Whether its instance may be one that has served before, and be kept.
    pub(crate) reuse: Reuse,
}

/// Which state of which making of a connection it is. One that is deleted and made again under its name has revision 1 again, and
/// another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Raised by every change of the connection's file.
    pub revision: u64,
    /// When file or toggle last changed.
    pub changed_at: Timestamp,
}

/// How instances are used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Of the connection: what was made under another is not used.
    pub version: Version,
    /// Calls that one instance may serve; a fresh one for each call if it is no more than one.
    pub calls_max: u32,
}

impl Slot {
    /// For an instance that is used again like this.
    #[must_use]
    pub fn reusing(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }
}

/// What it was taken from.
#[derive(Debug)]
enum Permits {
    Own(#[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit),
    Shared(#[expect(dead_code, reason = "given back when dropped")] [OwnedSemaphorePermit; 2]),
}

/// The slots of one lane.
#[derive(Clone, Debug)]
pub struct LaneSlots {
    own: Arc<Semaphore>,
    share: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    weight: Arc<LaneWeight>,
}

/// All slots of an engine. The semaphores are never closed.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    shared: Arc<Semaphore>,
    shared_max: usize,
    incoming: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new(shared_max: usize) -> Self {
        Self {
            shared: Arc::new(Semaphore::new(shared_max)),
            shared_max,
            incoming: Arc::new(Semaphore::new(INCOMING_SLOTS as usize)),
        }
    }

    pub(crate) fn lane(&self) -> LaneSlots {
        LaneSlots {
            own: Arc::new(Semaphore::new(1)),
            share: Arc::new(Semaphore::new((self.shared_max / SHARE).max(1))),
            shared: Arc::clone(&self.shared),
            weight: Arc::new(LaneWeight::new()),
        }
    }

    /// Those that lanes share, and those that incoming requests share.
    pub(crate) fn in_use(&self) -> (usage::Slots, usage::Slots) {
        let of = |max: usize, slots: &Semaphore| usage::Slots {
            max,
            in_use: max.saturating_sub(slots.available_permits()),
        };
        (
            of(self.shared_max, &self.shared),
            of(INCOMING_SLOTS as usize, &self.incoming),
        )
    }

    /// The way in of a connection's requests, or of a descriptor.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance::new(&self.incoming, INCOMING_SLOTS as usize)
    }
}

impl LaneSlots {
    /// A slot, if there is one now. A lane that holds none always gets its own.
    pub fn try_take(&self) -> Option<Slot> {
        if let Ok(own) = Arc::clone(&self.own).try_acquire_owned() {
            return Some(self.slot(Permits::Own(own)));
        }
        let share = Arc::clone(&self.share).try_acquire_owned().ok()?;
        let shared = Arc::clone(&self.shared).try_acquire_owned().ok()?;
        Some(self.slot(Permits::Shared([share, shared])))
    }

    fn slot(&self, permits: Permits) -> Slot {
        Slot {
            _permits: permits,
            weight: Arc::clone(&self.weight),
            reuse: Reuse::default(),
        }
    }

    /// The name of the lane that these are the slots of, to the host.
    pub(crate) fn lane(&self) -> LaneId {
        self.weight.lane
    }

    /// Waits until there may be a slot beyond the lane's own. Cancel-safe.
    pub async fn freed(&self) {
        let _share = self.share.acquire().await;
        let _shared = self.shared.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greedy_lane_gets_a_quarter_and_its_own_and_a_neighbour_always_gets_one() {
        let slots = Slots::new(8);
        let greedy = slots.lane();
        let held: Vec<_> = std::iter::from_fn(|| greedy.try_take()).collect();
        assert_eq!(held.len(), 1 + 2);
        let more: Vec<_> = (0..3).map(|_| slots.lane()).collect();
        let held_by_all: Vec<_> = more
            .iter()
            .flat_map(|lane| std::iter::from_fn(|| lane.try_take()))
            .collect();
        assert_eq!(held_by_all.len(), 3 * 3, "the shared ones are all taken now");
        let late = slots.lane();
        let own = late.try_take();
        assert!(own.is_some(), "a lane always has its own");
        assert!(late.try_take().is_none());
        drop(own);
        assert!(late.try_take().is_some());
    }
}
