//! Slots of incoming requests and descriptors, apart from those of lanes: who sends a request waits for its answer.
//!
//! As with lanes, each connection has one of its own, and more come from a pool of which it may hold a quarter. Requests to a
//! connection whose guest hangs wait behind each other, and behind nobody else's.
//!
//! A slot is taken before the call, as a lane takes one before it leases: no call begins that has no instance.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Permits, Reuse, SHARE, Slot};
use crate::compute::queue::LaneId;
use crate::weight::LaneWeight;

/// Requests of one connection that may wait for a slot; for what is over it there is none.
const WAITING_MAX: usize = 512;

/// One connection's way in. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Entrance {
    own: Arc<Semaphore>,
    share: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    weight: Arc<LaneWeight>,
    reuse: Reuse,
}

impl Entrance {
    /// One that has a share of these.
    pub(super) fn new(shared: &Arc<Semaphore>, shared_max: usize) -> Self {
        Self {
            own: Arc::new(Semaphore::new(1)),
            share: Arc::new(Semaphore::new((shared_max / SHARE).max(1))),
            shared: Arc::clone(shared),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            weight: Arc::new(LaneWeight::new()),
            reuse: Reuse::default(),
        }
    }

    /// The same one, for instances that are used again like this.
    #[must_use]
    pub fn reusing(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// The name of the lane that its calls are counted under.
    pub(crate) fn lane(&self) -> LaneId {
        self.weight.lane
    }

    /// Whether a request is on its way in or inside.
    pub fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.weight) > 1
    }

    /// A slot; none if there is none within the time, or if too many requests of the connection wait for one already: that
    /// is overload, and says nothing about the connector. Cancel-safe.
    pub async fn slot(&self, within: Duration) -> Option<Slot> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let own = Arc::clone(&self.own).acquire_owned();
        let shared = async {
            let share = Arc::clone(&self.share).acquire_owned().await?;
            Ok([share, Arc::clone(&self.shared).acquire_owned().await?])
        };
        let either = async {
            tokio::select! {
                biased;
                own = own => own.map(Permits::Own),
                shared = shared => shared.map(Permits::Shared),
            }
        };
        let permits = tokio::time::timeout(within, either).await.ok()?.ok()?;
        Some(Slot {
            _permits: permits,
            weight: Arc::clone(&self.weight),
            reuse: self.reuse,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Slots;
    use super::*;

    const NO_TIME: Duration = Duration::ZERO;
    const A_WHILE: Duration = Duration::from_secs(60);

    async fn fill(entrance: &Entrance) -> Vec<Slot> {
        let mut held = Vec::new();
        while let Some(slot) = entrance.slot(NO_TIME).await {
            held.push(slot);
            // Else the executor would make it wait, for having done so much in one turn.
            tokio::task::yield_now().await;
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_connections_hold_all_that_they_may_a_newcomer_has_one() {
        let slots = Slots::new(8);
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(fill(&slots.entrance()).await.len());
        }
        // Given back with the loop's turn: each has seen all of what one may hold.
        assert!(held.iter().all(|held| *held == 1 + 8), "{held:?}");
        let hostile: Vec<_> = (0..20).map(|_| slots.entrance()).collect();
        let mut held = Vec::new();
        for entrance in &hostile {
            held.push(fill(entrance).await);
        }
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 20 + 32);
        assert!(slots.entrance().slot(NO_TIME).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_whichever_is_free_first() {
        let slots = Slots::new(8);
        let entrance = slots.entrance();
        let mut held = fill(&entrance).await;
        for at in [held.len() - 1, 0] {
            let theirs = entrance.clone();
            let waiting = tokio::spawn(async move { theirs.slot(A_WHILE).await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            held.remove(at);
            held.insert(at, waiting.await.unwrap().unwrap());
        }
        assert!(entrance.is_in_use());
        drop(held);
        assert!(!entrance.is_in_use());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_nothing_along_and_what_waits_is_bounded() {
        let slots = Slots::new(8);
        let entrance = slots.entrance();
        let held = fill(&entrance).await;
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(entrance.slot(A_WHILE))).collect();
        for slot in &mut waiting {
            tokio::select! {
                biased;
                slot = slot => panic!("{slot:?}"),
                () = std::future::ready(()) => {}
            }
        }
        assert!(entrance.slot(A_WHILE).await.is_none(), "at once");
        drop(waiting);
        drop(held);
        assert_eq!(fill(&entrance).await.len(), 1 + 8);
    }
}
