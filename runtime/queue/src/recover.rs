//! What is done about leases whose holder is gone, and counting what a former process left.

use cofferdam_domain::{DeliveryState, Timestamp};
use cofferdam_store::{Entry, Key, Keyspace, SCAN_RECORDS_MAX, Scan};

use crate::error::QueueError;
use crate::keys::{self, LaneEntry, LaneIndex};
use crate::lanes::Move;
use crate::standing::Standing;
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// Most leases that are voided in one batch.
const VOID_LEASES_MAX: usize = 256;

impl StoreQueue {
    /// Fills the counts of all lanes from the indexes.
    pub(crate) fn count(&self) -> Result<(), QueueError> {
        let listed = [
            (LaneIndex::Due, Standing::Pending),
            (LaneIndex::Lease, Standing::InFlight),
            (LaneIndex::Delivered, Standing::Delivered),
        ];
        for (index, standing) in listed {
            self.each_of(index.space(), |(key, _)| {
                let entry = index.read(&key)?;
                let lane = self.lanes.lane(&entry.workspace, &entry.connection);
                Move {
                    lane,
                    from: None,
                    to: Some(standing),
                }
                .apply();
                Ok(())
            })?;
        }
        self.each_of(Keyspace::Dead, |(key, connection)| {
            let (workspace, ..) = keys::read_dead(&key)?;
            let lane = self.lanes.lane(&workspace, &keys::name(&connection)?);
            Move {
                lane,
                from: None,
                to: Some(Standing::Dead),
            }
            .apply();
            Ok(())
        })
    }

    fn each_of(
        &self,
        space: Keyspace,
        mut each: impl FnMut(Entry) -> Result<(), QueueError>,
    ) -> Result<(), QueueError> {
        let mut scan = Scan::prefix(Key::of(space), SCAN_RECORDS_MAX);
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            scan = scan.after(last.clone());
            page.into_iter().try_for_each(&mut each)?;
        }
    }

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
                voided += usize::from(self.stage_void(&mut step, &LaneIndex::Lease.read(&key)?, now)?);
            }
            if self.commit(step).await? == Stepped::Conflict {
                return Err(QueueError::Contended("void the leases of the former process"));
            }
        }
    }

    /// Voids the leases of each lane that ended before `now`.
    pub(crate) async fn void_overdue(&self, now: Timestamp) -> Result<usize, QueueError> {
        let mut voided = 0;
        for (workspace, connection) in self.lanes.in_flight() {
            let lane = LaneIndex::Lease.of(&workspace, &connection);
            let overdue = Scan::prefix(lane.clone(), VOID_LEASES_MAX).until(lane.u64(now.as_millis()));
            for (key, _) in self.store.scan(&overdue)? {
                let mut step = Step::default();
                let void = self.stage_void(&mut step, &LaneIndex::Lease.read(&key)?, now)?;
                // A conflict means that its holder has settled or extended it just now.
                if self.commit(step).await? == Stepped::Done {
                    voided += usize::from(void);
                }
            }
        }
        Ok(voided)
    }

    /// Whether there is such a lease; an index entry that nothing stands behind is removed.
    fn stage_void(&self, step: &mut Step, entry: &LaneEntry, now: Timestamp) -> Result<bool, QueueError> {
        let found = self.found(&entry.workspace, entry.delivery)?;
        let lease = DeliveryState::Leased { until: entry.at };
        let Some(found) = found.filter(|found| found.delivery.state == lease) else {
            step.batch.delete(entry.key(LaneIndex::Lease));
            return Ok(false);
        };
        let mut delivery = found.delivery.clone();
        delivery.state = DeliveryState::Pending { due_at: now };
        step.change(&self.lanes, found, &delivery);
        Ok(true)
    }
}
