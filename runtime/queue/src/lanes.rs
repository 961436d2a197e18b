//! What is known of each lane in memory: how much waits, who wants to hear of it, and what is being leased right now.
//!
//! Counts are built from the indexes at open and changed by commit hooks, so they follow the store exactly whether or not
//! the caller of a commit still waits. There is one entry for each connection that ever had a delivery or a subscriber.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, DeliveryState, WorkspaceName};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::standing::Standing;

/// How many deliveries of a lane stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Waiting, due or not.
    pub pending: u64,
    /// Under lease.
    pub in_flight: u64,
    /// Dead letters that nobody has replayed or discarded.
    pub dead: u64,
    /// Done.
    pub delivered: u64,
    /// Body bytes of what waits. An event that several lanes wait for counts in each.
    #[serde(default)]
    pub pending_bytes: u64,
}

/// A workspace and a connection of it.
pub(crate) type LaneName = (WorkspaceName, ConnectionName);

/// All lanes.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<LaneName, Arc<Lane>>>,
}

/// One lane.
pub(crate) struct Lane {
    depth: Mutex<Depth>,
    changes: watch::Sender<u64>,
    claimed: Mutex<HashSet<DeliveryId>>,
}

/// A delivery's way from one state to another; none for what is not there.
pub(crate) struct Move {
    pub(crate) lane: Arc<Lane>,
    pub(crate) from: Option<Standing>,
    pub(crate) to: Option<Standing>,
    /// Of the body; needed for what waits only.
    pub(crate) body_bytes: u64,
}

impl Lanes {
    /// The lane, made if it is new.
    pub(crate) fn lane(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let name = (workspace.clone(), connection.clone());
        Arc::clone(lanes.entry(name).or_insert_with(|| Arc::new(Lane::new())))
    }

    /// The lane's counts; zeros for one that nobody has heard of.
    pub(crate) fn depth(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Depth {
        let lanes = lock(&self.lanes);
        lanes
            .get(&(workspace.clone(), connection.clone()))
            .map_or_else(Depth::default, |lane| *lock(&lane.depth))
    }

    /// What waits in all lanes together.
    pub(crate) fn pending_total(&self) -> u64 {
        lock(&self.lanes).values().map(|lane| lock(&lane.depth).pending).sum()
    }

    /// Lanes with leases.
    pub(crate) fn in_flight(&self) -> Vec<LaneName> {
        let lanes = lock(&self.lanes);
        let leased = lanes.iter().filter(|(_, lane)| lock(&lane.depth).in_flight > 0);
        leased.map(|(name, _)| name.clone()).collect()
    }

    /// What the commit of a delivery's new state means for its lane.
    pub(crate) fn transition(&self, from: Option<&DeliveryState>, delivery: &Delivery) -> Move {
        Move {
            lane: self.lane(&delivery.workspace, &delivery.connection),
            from: from.map(Standing::of),
            to: Some(Standing::of(&delivery.state)),
            body_bytes: delivery.body_bytes,
        }
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            depth: Mutex::default(),
            changes: watch::Sender::new(0),
            claimed: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn signal(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// How many deliveries are being leased.
    pub(crate) fn claimed(&self) -> usize {
        lock(&self.claimed).len()
    }

    /// Whether somebody is leasing it.
    pub(crate) fn is_claimed(&self, delivery: DeliveryId) -> bool {
        lock(&self.claimed).contains(&delivery)
    }

    /// Keeps other callers from trying the same delivery; none if one already does.
    pub(crate) fn claim(self: &Arc<Self>, delivery: DeliveryId) -> Option<Claim> {
        let fresh = lock(&self.claimed).insert(delivery);
        fresh.then(|| Claim {
            lane: Arc::clone(self),
            delivery,
            taken: false,
        })
    }
}

impl Move {
    /// Counts the move, and tells the lane if something may be due.
    pub(crate) fn apply(&self) {
        let mut depth = lock(&self.lane.depth);
        if let Some(count) = self.from.and_then(|standing| count(standing, &mut depth)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.to.and_then(|standing| count(standing, &mut depth)) {
            *count += 1;
        }
        if self.from == Some(Standing::Pending) {
            depth.pending_bytes = depth.pending_bytes.saturating_sub(self.body_bytes);
        }
        if self.to == Some(Standing::Pending) {
            depth.pending_bytes = depth.pending_bytes.saturating_add(self.body_bytes);
        }
        drop(depth);
        if self.to == Some(Standing::Pending) {
            self.lane.signal();
        }
    }
}

fn count(standing: Standing, depth: &mut Depth) -> Option<&mut u64> {
    match standing {
        Standing::Pending => Some(&mut depth.pending),
        Standing::InFlight => Some(&mut depth.in_flight),
        Standing::Dead => Some(&mut depth.dead),
        Standing::Delivered => Some(&mut depth.delivered),
        Standing::Discarded => None,
    }
}

/// A delivery that its holder is leasing. The claim saves others a conflict; that two never lease one delivery is the
/// store's precondition's doing.
pub(crate) struct Claim {
    lane: Arc<Lane>,
    delivery: DeliveryId,
    taken: bool,
}

impl Claim {
    /// The lease is durable: nobody needs to look again.
    pub(crate) fn taken(mut self) {
        self.taken = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.lane.claimed).remove(&self.delivery);
        if !self.taken {
            self.lane.signal();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
