//! What is done about leases whose holder is gone: at the start about all of them, later about those that have run out.

use std::time::Duration;

use cofferdam_domain::{ConnectionName, DeliveryState, Timestamp, WorkspaceName, retry};
use cofferdam_store::{Key, Keyspace, Scan};

use crate::error::QueueError;
use crate::keys::LaneIndex;
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// Most leases that are voided in one batch.
const VOID_LEASES_MAX: usize = 256;

/// The wait after an interruption doubles up to 2⁸ s.
const INTERRUPTION_DOUBLINGS_MAX: u32 = 8;

/// How long a delivery waits whose attempt ended with its process or its lease. The first interruption of a series costs no
/// wait, so that a restart delivers promptly; a delivery that was interrupted before may be what ends the process again and
/// again, and others must get their turn meanwhile.
fn wait_after_interruption(interruptions: u32) -> Duration {
    match interruptions {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1 << more.min(INTERRUPTION_DOUBLINGS_MAX)),
    }
}

impl StoreQueue {
    /// Voids every lease there is: at open, none of their holders is alive.
    pub(crate) async fn recover(&self, now: Timestamp) -> Result<usize, QueueError> {
        let mut voided = 0;
        loop {
            let scan = Scan::prefix(Key::of(Keyspace::Lease), VOID_LEASES_MAX);
            let page = self.store.scan(&scan)?;
            if page.is_empty() {
                return Ok(voided);
            }
            let mut step = Step::default();
            for (key, _) in page {
                voided += usize::from(self.stage_void(&mut step, &key, now)?);
            }
            if self.commit(step).await? == Stepped::Conflict {
                return Err(QueueError::Contended("void the leases of the former process"));
            }
        }
    }

    /// Voids the leases of each lane that ended before `now`. A lane in which that fails is logged and tried at the next call.
    pub(crate) async fn void_overdue(&self, now: Timestamp) -> Result<usize, QueueError> {
        let mut voided = 0;
        for (workspace, connection) in self.lanes.in_flight() {
            match self.void_overdue_of(&workspace, &connection, now).await {
                Ok(here) => voided += here,
                Err(error) => tracing::error!(
                    %workspace,
                    %connection,
                    error = &error as &dyn std::error::Error,
                    "leases of the lane that ran out could not be voided"
                ),
            }
        }
        self.refresh_heads();
        Ok(voided)
    }

    /// Lanes that nobody leases from would otherwise only remember what was their head.
    fn refresh_heads(&self) {
        for (workspace, connection) in self.lanes.waiting() {
            if let Err(error) = self.head_of_lane(&workspace, &connection) {
                tracing::error!(
                    %workspace,
                    %connection,
                    error = &error as &dyn std::error::Error,
                    "the head of the lane cannot be read"
                );
            }
        }
    }

    async fn void_overdue_of(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<usize, QueueError> {
        let mut voided = 0;
        let lane = LaneIndex::Lease.of(workspace, connection);
        let overdue = Scan::prefix(lane.clone(), VOID_LEASES_MAX).until(lane.u64(now.as_millis()));
        for (key, _) in self.store.scan(&overdue)? {
            let mut step = Step::default();
            let void = self.stage_void(&mut step, &key, now)?;
            // A conflict means that its holder has settled or extended it just now.
            if self.commit(step).await? == Stepped::Done {
                voided += usize::from(void);
            }
        }
        Ok(voided)
    }

    /// Whether there is such a lease; an index entry that nothing stands behind is removed.
    fn stage_void(&self, step: &mut Step, key: &[u8], now: Timestamp) -> Result<bool, QueueError> {
        let Some(entry) = self.entry(step, LaneIndex::Lease, key) else {
            return Ok(false);
        };
        let Some(found) = self.listed(step, LaneIndex::Lease, &entry)? else {
            return Ok(false);
        };
        let mut delivery = found.delivery.clone();
        // Past its end the lease was nobody's: the process may have been down for days.
        delivery.series_at = retry::series_at(&delivery, entry.at, now);
        // The host's trouble, not the destination's: it does not use up the schedule.
        delivery.charged = delivery.charged.saturating_sub(1);
        delivery.interruptions = delivery.interruptions.saturating_add(1);
        delivery.state = DeliveryState::Pending {
            due_at: now.after(wait_after_interruption(delivery.interruptions)),
        };
        step.change(&self.lanes, found, &delivery);
        Ok(true)
    }
}
