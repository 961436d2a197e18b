//! The start: counting what waits behind others, and putting right what damage has left without a turn.

use std::collections::BTreeSet;

use cofferdam_domain::{ConnectionName, Timestamp, WorkspaceName};
use cofferdam_store::{Key, Keyspace, SCAN_RECORDS_MAX, Scan};

use crate::error::QueueError;
use crate::keys::OrderEntry;
use crate::lanes::Move;
use crate::standing::Standing;
use crate::step::{STEP_TRIES, Step, Stepped, is_behind, ordered_bytes};
use crate::store_queue::StoreQueue;

/// An order key of a lane.
pub(crate) type OrderKey = (WorkspaceName, ConnectionName, String);

impl StoreQueue {
    /// Counts what waits behind others, and finds the highest place. Answers the keys in which something does.
    pub(crate) fn count_ordered(&self, now: Timestamp) -> Result<BTreeSet<OrderKey>, QueueError> {
        let mut scan = Scan::prefix(Key::of(Keyspace::Order), SCAN_RECORDS_MAX);
        let mut highest = 0;
        let mut keys = BTreeSet::new();
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { break };
            scan = scan.after(last.clone());
            for (key, value) in page {
                let Ok(entry) = OrderEntry::read(&key) else {
                    tracing::error!(key = %key.escape_ascii(), "an order entry cannot be read; it is not counted");
                    continue;
                };
                highest = highest.max(entry.place);
                if is_behind(&value) {
                    Move {
                        lane: self.lanes.lane(&entry.workspace, &entry.connection),
                        from: None,
                        to: Some(Standing::Pending),
                        body_bytes: ordered_bytes(&value),
                        due_at: None,
                    }
                    .apply();
                    keys.insert((entry.workspace, entry.connection, entry.order_key));
                }
            }
        }
        self.places.raise(highest, now);
        Ok(keys)
    }

    /// Gives the turn to the first of each key that nobody holds. Nothing but damage makes that necessary.
    pub(crate) async fn repair_order(&self, keys: BTreeSet<OrderKey>) -> Result<(), QueueError> {
        for (workspace, connection, order_key) in keys {
            self.repair_key(&workspace, &connection, &order_key).await?;
        }
        Ok(())
    }

    async fn repair_key(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        order_key: &str,
    ) -> Result<(), QueueError> {
        for _ in 0..STEP_TRIES {
            let mut step = Step::default();
            let key = self.read_turn(&mut step, workspace, connection, order_key)?;
            self.elect_if_vacant(&mut step, &key)?;
            if step.is_empty() {
                return Ok(());
            }
            tracing::warn!(%workspace, %connection, order_key, "an order had nobody whose turn it was; its first goes on");
            if self.commit(step).await? == Stepped::Done {
                return Ok(());
            }
        }
        Err(QueueError::Contended("repair an order"))
    }
}
