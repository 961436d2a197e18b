//! Instances that are kept between calls, where a connection's policy asks for it.
//!
//! An instance belongs to one lane, one connector and one version of its connection from its making to its end; nobody else is
//! ever handed it. It is kept only after a call that ended well and left nothing open, so that a fault, a trap and a call that was
//! given up end it. Between calls it holds nothing of the last one but what the guest itself remembers.
//!
//! All together they are bounded in number, since each holds a slot of the pool, and the one that was not used for longest goes
//! first. A lane may have a quarter of them, so that it cannot take its neighbours' away. One that nobody has used for [`IDLE`] goes when somebody next looks, which the ticker does all the time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::Digest;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::compute::queue::LaneId;
use crate::imports::Guest;
use crate::slots::Version;

/// One lane may keep this part of them.
const SHARE: usize = 4;

/// How long an instance is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// Who may be handed an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) lane: LaneId,
    pub(crate) connector: Digest,
    /// Of the connection: another after every change of its settings, its grant and its policy.
    pub(crate) version: Version,
}

/// An instance, and how much it has served.
pub(crate) struct Alive {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Instance,
    pub(crate) calls: u32,
}

/// Those that are kept.
pub(crate) struct Keeper<T = Alive> {
    max: usize,
    /// In the order of their last use.
    kept: Mutex<VecDeque<Kept<T>>>,
}

struct Kept<T> {
    owner: Owner,
    since: Instant,
    alive: T,
}

impl<T> Keeper<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            kept: Mutex::default(),
        }
    }

    // Whatever panics, the list is whole between two changes.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of this owner's: the one that was used last, which is most likely still in the processor's caches. What the lane has
    /// kept under another version, or of another connector, is of no use to anybody any more and ends.
    pub(crate) fn take(&self, owner: &Owner, now: Instant) -> Option<T> {
        let mut kept = self.lock();
        let stale = extract(&mut kept, |kept| {
            kept.owner.lane == owner.lane && kept.owner != *owner || is_idle(kept, now)
        });
        let at = kept.iter().rposition(|kept| kept.owner == *owner);
        let taken = at.and_then(|at| kept.remove(at));
        drop(kept);
        drop(stale);
        taken.map(|kept| kept.alive)
    }

    /// Keeps one; another goes for it if there are too many, of the lane or of all.
    pub(crate) fn keep(&self, owner: Owner, alive: T, now: Instant) {
        let mut kept = self.lock();
        kept.push_back(Kept {
            owner,
            since: now,
            alive,
        });
        let is_of_lane = |kept: &Kept<T>| kept.owner.lane == owner.lane;
        let gone = if kept.iter().filter(|kept| is_of_lane(kept)).count() > self.max.div_ceil(SHARE) {
            let oldest = kept.iter().position(is_of_lane);
            oldest.and_then(|at| kept.remove(at))
        } else if kept.len() > self.max {
            kept.pop_front()
        } else {
            None
        };
        drop(kept);
        drop(gone);
    }

    /// Ends what a lane has kept.
    pub(crate) fn forget(&self, lane: LaneId) {
        let gone = extract(&mut self.lock(), |kept| kept.owner.lane == lane);
        drop(gone);
    }

    /// Ends one that nobody uses, if there is one: it takes a while to take an instance down.
    pub(crate) fn sweep(&self, now: Instant) {
        let gone = self.lock().pop_front_if(|kept| is_idle(kept, now));
        drop(gone);
    }

    /// How many may be kept.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

fn is_idle<T>(kept: &Kept<T>, now: Instant) -> bool {
    now.saturating_duration_since(kept.since) >= IDLE
}

/// Takes out what is to be dropped without the lock.
fn extract<T>(kept: &mut VecDeque<Kept<T>>, is_gone: impl Fn(&Kept<T>) -> bool) -> Vec<Kept<T>> {
    let mut gone = Vec::new();
    for at in (0..kept.len()).rev() {
        if is_gone(&kept[at]) {
            gone.extend(kept.remove(at));
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use cofferdam_domain::Timestamp;

    use super::*;

    fn owner(lane: u64, connector: u8, revision: u64) -> Owner {
        Owner {
            lane: LaneId(lane),
            connector: Digest::of(&[connector]),
            version: Version {
                revision,
                changed_at: Timestamp::ZERO,
            },
        }
    }

    #[test]
    fn nobody_is_handed_what_is_anothers() {
        let (keeper, now) = (Keeper::new(10), Instant::now());
        let mine = owner(1, 1, 1);
        for (other, stays) in [(owner(2, 1, 1), true), (owner(1, 2, 1), false), (owner(1, 1, 2), false)] {
            keeper.keep(other, "theirs", now);
            assert_eq!(keeper.take(&mine, now), None, "{other:?}");
            assert_eq!(
                keeper.take(&other, now).is_some(),
                stays,
                "{other:?}: a lane's own of before a change ends"
            );
        }
        let mut made_again = mine;
        made_again.version.changed_at = Timestamp::ZERO.after(Duration::from_millis(1));
        keeper.keep(mine, "of the one that was deleted", now);
        assert_eq!(keeper.take(&made_again, now), None);
        keeper.keep(mine, "mine", now);
        assert_eq!(keeper.take(&mine, now), Some("mine"));
        assert_eq!(keeper.take(&mine, now), None, "nor is anything handed out twice");
    }

    #[test]
    fn the_least_recently_used_goes_when_there_are_too_many() {
        let (keeper, now) = (Keeper::new(2), Instant::now());
        for lane in 1..=3 {
            keeper.keep(owner(lane, 1, 1), lane, now);
        }
        let kept: Vec<_> = (1..=3)
            .filter_map(|lane| keeper.take(&owner(lane, 1, 1), now))
            .collect();
        assert_eq!(kept, [2, 3]);
        let none = Keeper::new(0);
        none.keep(owner(1, 1, 1), 1, now);
        assert_eq!(none.len(), 0);
    }

    #[test]
    fn a_lane_that_keeps_much_takes_nothing_from_its_neighbour() {
        let (keeper, now) = (Keeper::new(8), Instant::now());
        // All are taken; its own quarter is the latest of them.
        for lane in [1, 3, 4, 5, 6, 7, 2, 2] {
            keeper.keep(owner(lane, 1, 1), 0, now);
        }
        for number in 1..=10 {
            keeper.keep(owner(2, 1, 1), number, now);
        }
        let of = |lane| std::iter::from_fn(|| keeper.take(&owner(lane, 1, 1), now)).collect::<Vec<_>>();
        assert_eq!((of(1), of(2)), (vec![0], vec![10, 9]));
    }

    #[test]
    fn what_nobody_uses_and_what_a_lane_leaves_ends() {
        let (keeper, began) = (Keeper::new(10), Instant::now());
        keeper.keep(owner(1, 1, 1), 1, began);
        keeper.keep(owner(2, 1, 1), 2, began + IDLE / 2);
        keeper.sweep(began + IDLE - Duration::from_millis(1));
        assert_eq!(keeper.len(), 2);
        keeper.sweep(began + IDLE);
        assert_eq!(keeper.len(), 1);
        assert_eq!(keeper.take(&owner(2, 1, 1), began + 2 * IDLE), None);
        keeper.keep(owner(3, 1, 1), 3, began);
        keeper.keep(owner(4, 1, 1), 4, began);
        keeper.forget(LaneId(3));
        assert_eq!(keeper.take(&owner(3, 1, 1), began), None);
        assert_eq!(keeper.take(&owner(4, 1, 1), began), Some(4));
    }
}
