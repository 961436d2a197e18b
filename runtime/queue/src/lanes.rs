//! What is known of each lane in memory: how much waits, who wants to hear of it, and what is being leased right now.
//!
//! Counts are built from the indexes at open and changed by commit hooks, so they follow the store exactly whether or not
//! the caller of a commit still waits. There is one entry for each connection that ever had a delivery or a subscriber.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, Timestamp, WorkspaceName};
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
    totals: Arc<Totals>,
}

/// What waits in all lanes together. Producers are judged by it, so reading it costs nothing.
#[derive(Default)]
struct Totals {
    pending: AtomicU64,
    pending_bytes: AtomicU64,
}

/// One lane.
pub(crate) struct Lane {
    counts: Mutex<Counts>,
    totals: Arc<Totals>,
    changes: watch::Sender<u64>,
    claimed: Mutex<HashSet<DeliveryId>>,
}

#[derive(Default)]
struct Counts {
    depth: Depth,
    /// When the head is due, as last seen; never later than the truth.
    head: Option<Timestamp>,
    /// How often something was listed as due: who has read the lane meanwhile has not seen that.
    listed: u64,
    /// Nothing is noted as delivered before this; see `tally.rs`.
    tallied_until: Timestamp,
    /// When its tally was last looked at.
    tally_looked_at: Option<Timestamp>,
}

/// A delivery's way from one state to another; none for what is not there.
pub(crate) struct Move {
    pub(crate) lane: Arc<Lane>,
    pub(crate) from: Option<Standing>,
    pub(crate) to: Option<Standing>,
    /// Of the body; needed for what waits only.
    pub(crate) body_bytes: u64,
    /// Set when the move lists it as due then: whoever waits for the lane is told.
    pub(crate) due_at: Option<Timestamp>,
}

/// How far the lane was known when somebody began to read it.
#[derive(Clone, Copy)]
pub(crate) struct Glance(u64);

impl Lanes {
    /// The lane, made if it is new.
    pub(crate) fn lane(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let name = (workspace.clone(), connection.clone());
        Arc::clone(lanes.entry(name).or_insert_with(|| Arc::new(Lane::new(&self.totals))))
    }

    /// The lane's counts; zeros for one that nobody has heard of.
    pub(crate) fn depth(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Depth {
        self.known(workspace, connection)
            .map_or_else(Depth::default, |lane| lock(&lane.counts).depth)
    }

    /// How long the head of the lane has been due; zero for a lane in which nothing is.
    pub(crate) fn lag(&self, workspace: &WorkspaceName, connection: &ConnectionName, now: Timestamp) -> Duration {
        let head = self
            .known(workspace, connection)
            .and_then(|lane| lock(&lane.counts).head);
        head.map_or(Duration::ZERO, |due_at| now.since(due_at))
    }

    /// What waits in all lanes together.
    pub(crate) fn pending_total(&self) -> u64 {
        self.totals.pending.load(Ordering::Relaxed)
    }

    /// Body bytes of what waits in all lanes together.
    pub(crate) fn pending_bytes_total(&self) -> u64 {
        self.totals.pending_bytes.load(Ordering::Relaxed)
    }

    /// Each lane of the workspace that was ever heard of, with its counts, in the order of their names.
    pub(crate) fn of(&self, workspace: &WorkspaceName) -> Vec<(ConnectionName, Depth)> {
        let lanes = lock(&self.lanes);
        let ours = lanes.iter().filter(|((of, _), _)| of == workspace);
        let mut depths: Vec<_> = ours
            .map(|((_, connection), lane)| (connection.clone(), lock(&lane.counts).depth))
            .collect();
        drop(lanes);
        depths.sort_by(|(left, _), (right, _)| left.cmp(right));
        depths
    }

    /// Lanes with leases.
    pub(crate) fn in_flight(&self) -> Vec<LaneName> {
        self.those(|depth| depth.in_flight > 0)
    }

    /// Lanes in which something waits.
    pub(crate) fn waiting(&self) -> Vec<LaneName> {
        self.those(|depth| depth.pending > 0)
    }

    /// Lanes of which something was delivered.
    pub(crate) fn with_deliveries_done(&self) -> Vec<LaneName> {
        self.those(|depth| depth.delivered > 0)
    }

    /// What the commit of a delivery's new state means for its lane.
    pub(crate) fn transition(&self, from: Option<Standing>, delivery: &Delivery, due_at: Option<Timestamp>) -> Move {
        Move {
            lane: self.lane(&delivery.workspace, &delivery.connection),
            from,
            to: Some(Standing::of(&delivery.state)),
            body_bytes: delivery.body_bytes,
            due_at,
        }
    }

    fn known(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> Option<Arc<Lane>> {
        let lanes = lock(&self.lanes);
        lanes.get(&(workspace.clone(), connection.clone())).map(Arc::clone)
    }

    fn those(&self, which: impl Fn(&Depth) -> bool) -> Vec<LaneName> {
        let lanes = lock(&self.lanes);
        let chosen = lanes.iter().filter(|(_, lane)| which(&lock(&lane.counts).depth));
        chosen.map(|(name, _)| name.clone()).collect()
    }
}

impl Lane {
    fn new(totals: &Arc<Totals>) -> Self {
        Self {
            counts: Mutex::default(),
            totals: Arc::clone(totals),
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

    /// Taken before the lane's index is read; see [`Lane::saw_head`].
    pub(crate) fn glance(&self) -> Glance {
        Glance(lock(&self.counts).listed)
    }

    /// What the index said is its head. If something was listed since the glance, it may be before that head: then what is
    /// known stays, since it is no later than the truth.
    pub(crate) fn saw_head(&self, glance: Glance, head: Option<Timestamp>) {
        let mut counts = lock(&self.counts);
        if counts.listed == glance.0 {
            counts.head = head;
        }
    }

    /// The lane's tally is about to count what was delivered until then.
    pub(crate) fn tally_until(&self, until: Timestamp) {
        let mut counts = lock(&self.counts);
        counts.tallied_until = counts.tallied_until.max(until);
    }

    /// Whether the lane's tally was not looked at for so long, or the clock was set back; notes that it is now.
    pub(crate) fn may_tally(&self, now: Timestamp, period: Duration) -> bool {
        let mut counts = lock(&self.counts);
        let looked_at = counts.tally_looked_at;
        let may = looked_at.is_none_or(|at| now < at || now.since(at) >= period);
        if may {
            counts.tally_looked_at = Some(now);
        }
        may
    }

    /// The tally may be looked at again at once.
    pub(crate) fn tally_again(&self) {
        lock(&self.counts).tally_looked_at = None;
    }

    /// So many more deliveries that were delivered.
    pub(crate) fn count_delivered(&self, delivered: u64) {
        lock(&self.counts).depth.delivered += delivered;
    }

    /// When something that ends `now` is noted as delivered: never before the lane's tally.
    pub(crate) fn delivered_at(&self, now: Timestamp) -> Timestamp {
        lock(&self.counts).tallied_until.max(now)
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
        let was_pending = self.from == Some(Standing::Pending);
        let is_pending = self.to == Some(Standing::Pending);
        let mut counts = lock(&self.lane.counts);
        let depth = &mut counts.depth;
        if let Some(count) = self.from.and_then(|standing| count(standing, depth)) {
            // Counted down only if it was counted: an index may hold lies that nobody has counted.
            let counted = count.checked_sub(1);
            *count = counted.unwrap_or(0);
            if was_pending && counted.is_some() {
                let bytes = self.body_bytes.min(depth.pending_bytes);
                depth.pending_bytes -= bytes;
                self.lane.totals.pending.fetch_sub(1, Ordering::Relaxed);
                self.lane.totals.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        if let Some(count) = self.to.and_then(|standing| count(standing, depth)) {
            *count += 1;
            if is_pending {
                let bytes = self.body_bytes.min(u64::MAX - depth.pending_bytes);
                depth.pending_bytes += bytes;
                self.lane.totals.pending.fetch_add(1, Ordering::Relaxed);
                self.lane.totals.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        if depth.pending == 0 {
            counts.head = None;
        }
        if let Some(due_at) = self.due_at {
            counts.head = Some(counts.head.map_or(due_at, |head| head.min(due_at)));
            counts.listed += 1;
        }
        drop(counts);
        if self.due_at.is_some() {
            self.lane.signal();
        }
    }
}

const fn count(standing: Standing, depth: &mut Depth) -> Option<&mut u64> {
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
