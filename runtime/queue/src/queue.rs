//! The flow of deliveries as everybody above sees it. Nothing here speaks of an embedded store, so that a queue of another
//! kind can take its place.

use std::future::Future;

use cofferdam_domain::classify::Failure;
use cofferdam_domain::{ConnectionName, Delivery, DeliveryId, LaneState, Timestamp, WorkspaceName};
use tokio::sync::watch;

use crate::accept::{Accept, Accepted};
use crate::error::{QueueError, ReplayError, SettleError};
use crate::lease::{LeaseTerms, Leased};
use crate::retention::{Retention, Retired};
use crate::settle::{Settled, Settlement};

/// Takes events in, hands deliveries out under leases, and records what became of them.
///
/// Every write is durable when its future ends. A future that is dropped may or may not have done its work; whatever was
/// done is whole, and is counted and signalled all the same.
pub trait Queue: Send + Sync {
    /// Makes the events and all their deliveries durable, together or not at all. Answers in the order of the requests.
    ///
    /// An event whose dedupe key was seen in the window of the first event with it, in the same workspace and from the same
    /// origin, is not taken again: the answer names the first one. Deliveries of one connection that share an order key are
    /// handed out one after the other, in the order of acceptance; one that becomes a dead letter frees the next.
    fn accept(
        &self,
        requests: Vec<Accept>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Accepted>, QueueError>> + Send;

    /// Takes the deliveries at the head of a lane that are due, at most `max` of them and [`LEASES_PER_CALL_MAX`], each
    /// with an attempt that is durable before this returns. Callers that race get different deliveries.
    ///
    /// A delivery whose event or body is missing or damaged becomes a dead letter of class data-quality, code
    /// `record-damaged`, and the others go on. One whose series is older than `terms.max_age` becomes one of code `expired`,
    /// of the class of its last failure or else `timeout`, and no attempt is made. Time in which a delivery was ready and nobody took it does not make its
    /// series older; see `cofferdam_domain::retry::series_at`.
    ///
    /// [`LEASES_PER_CALL_MAX`]: crate::LEASES_PER_CALL_MAX
    fn lease_many(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        terms: LeaseTerms,
    ) -> impl Future<Output = Result<Vec<Leased>, QueueError>> + Send;

    /// As [`Queue::lease_many`], for one.
    fn lease(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        terms: LeaseTerms,
    ) -> impl Future<Output = Result<Option<Leased>, QueueError>> + Send {
        async move {
            Ok(self
                .lease_many(workspace, connection, LeaseTerms { max: 1, ..terms })
                .await?
                .pop())
        }
    }

    /// When the head of the lane is due; none when nothing waits.
    fn next_due(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> impl Future<Output = Result<Option<Timestamp>, QueueError>> + Send;

    /// The delivery as it is now; none if there is no such one in this workspace.
    fn look_up(
        &self,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
    ) -> impl Future<Output = Result<Option<Delivery>, QueueError>> + Send;

    /// Moves the end of a lease that still stands.
    fn extend(&self, leased: &Leased, until: Timestamp) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Ends the attempt: its record, the delivery's new state, the lane's and everything it produced, together.
    fn settle(
        &self,
        leased: Leased,
        settlement: Settlement,
    ) -> impl Future<Output = Result<Settled, SettleError>> + Send;

    /// Gives a delivery back of which nothing has left. It costs no attempt, keeps its place, and the record of the attempt
    /// goes.
    fn release(&self, leased: Leased) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// Voids leases that have run out: the attempt is left without an end, and counted as an interruption instead of being
    /// charged. The delivery is due at once after the first interruption of its series, and after a growing wait from then
    /// on: it may be what kills the process. Answers how many; a lane that cannot be read is logged and does not keep the
    /// others.
    fn expire_leases(&self, now: Timestamp) -> impl Future<Output = Result<usize, QueueError>> + Send;

    /// What keeps the lane from moving, if anything.
    fn lane_state(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> impl Future<Output = Result<LaneState, QueueError>> + Send;

    /// Clears park, back-off and flag. Attempts that began until `now` still settle, but leave no effect on the lane.
    fn release_lane(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Begins a new series of attempts for a dead letter, under the same idempotency key and correlation id.
    fn replay(
        &self,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> impl Future<Output = Result<(), ReplayError>> + Send;

    /// Gives a dead letter up.
    fn discard(
        &self,
        workspace: &WorkspaceName,
        delivery: DeliveryId,
        now: Timestamp,
        by: &str,
    ) -> impl Future<Output = Result<(), ReplayError>> + Send;

    /// Turns at most `max` deliveries that wait in the lane, due or not, into dead letters of this failure. Those under lease
    /// stay. Answers how many; fewer than `max` means that nothing was left to turn.
    fn abandon(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
        failure: &Failure,
        max: usize,
    ) -> impl Future<Output = Result<usize, QueueError>> + Send;

    /// Forgets dedupe keys that have run out, a bounded number at a time. Answers how many.
    fn sweep(&self, now: Timestamp) -> impl Future<Output = Result<usize, QueueError>> + Send;

    /// Removes some of what has been done for long enough, or is more than may be kept. Never what waits, is under lease, or
    /// shares its event with such a delivery. Each call does a bounded amount of work in commits of bounded size; call it
    /// again, now or later, while [`Retired::more`] is set, and from time to time when it is not.
    fn retire(&self, now: Timestamp, retention: &Retention)
    -> impl Future<Output = Result<Retired, QueueError>> + Send;

    /// Changes whenever something may have become due in the lane, or the lane was released. No change is lost between
    /// two waits; several may be seen as one.
    fn subscribe(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> watch::Receiver<u64>;
}
