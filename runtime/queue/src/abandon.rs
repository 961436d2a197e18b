//! Abandoning a lane: what waits in it becomes dead letters, in steps of bounded size.
//!
//! Each step is whole, so a crash leaves some deliveries dead and the rest waiting; who abandons goes on until nothing is
//! left.

use std::collections::HashSet;

use cofferdam_domain::classify::Failure;
use cofferdam_domain::{ConnectionName, DeliveryId, DeliveryState, Timestamp, WorkspaceName};
use cofferdam_store::Scan;

use crate::error::QueueError;
use crate::keys::{self, LaneIndex, OrderEntry};
use crate::step::{STEP_TRIES, Step, Stepped, is_behind};
use crate::store_queue::StoreQueue;

/// Most deliveries that one step turns into dead letters.
const STEP_DELIVERIES_MAX: usize = 128;

/// Deliveries that cannot be read behind which one call still looks for others.
const DAMAGED_MAX: usize = 1024;

/// Entries of the order index that one step looks through for those that wait behind others.
const ORDER_ENTRIES_MAX: usize = 1024;

impl StoreQueue {
    pub(crate) async fn turn_dead(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
        failure: &Failure,
        max: usize,
    ) -> Result<usize, QueueError> {
        let mut turned = 0;
        let mut damaged: HashSet<DeliveryId> = HashSet::new();
        let mut conflicts = 0;
        while turned < max {
            let at_once = STEP_DELIVERIES_MAX.min(max - turned);
            let mut step = Step::default();
            let waiting = self.waiting(&mut step, workspace, connection, at_once + damaged.len())?;
            let (mut here, damaged_before) = (0, damaged.len());
            for id in waiting {
                if damaged.contains(&id) {
                    continue;
                }
                let found = match self.found(workspace, id) {
                    Ok(Some(found)) => found,
                    Ok(None) => continue,
                    // The start counts it as waiting, and the one before it in its order takes it out of the way.
                    Err(error) if error.is_damage() => {
                        tracing::error!(
                            %workspace, %connection, delivery = %id,
                            error = &error as &dyn std::error::Error,
                            "a delivery cannot be read; it is not abandoned"
                        );
                        damaged.insert(id);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if matches!(found.delivery.state, DeliveryState::Pending { .. }) {
                    self.stage_dead(&mut step, found, failure.clone(), now)?;
                    here += 1;
                }
            }
            if step.is_empty() {
                if damaged.len() > damaged_before && damaged.len() < DAMAGED_MAX {
                    // Others may wait behind those.
                    continue;
                }
                return Ok(turned);
            }
            match self.commit(step).await? {
                Stepped::Done => turned += here,
                Stepped::Conflict if conflicts < STEP_TRIES => conflicts += 1,
                Stepped::Conflict => return Err(QueueError::Contended("abandon a lane")),
            }
        }
        Ok(turned)
    }

    /// Deliveries that wait in the lane, at most `max`: first those that wait behind others, then those that are listed as
    /// due. Entries of the due index that lie are removed with the step.
    fn waiting(
        &self,
        step: &mut Step,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        max: usize,
    ) -> Result<Vec<DeliveryId>, QueueError> {
        let mut waiting = Vec::with_capacity(max);
        // Behind first: a step that took those whose turn it is would only list the next ones as due.
        // Only so far: where every key has one delivery nobody waits behind another, and there is no end to looking for one.
        let mut scan = Scan::prefix(keys::ordered(workspace, connection), max);
        let mut examined = 0;
        while waiting.len() < max && examined < ORDER_ENTRIES_MAX {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { break };
            examined += page.len();
            scan = scan.after(last.clone());
            let behind = page.iter().filter(|(_, value)| is_behind(value));
            let entries = behind.filter_map(|(key, _)| OrderEntry::read(key).ok());
            let room = max - waiting.len();
            waiting.extend(entries.map(|entry| entry.delivery).take(room));
        }
        let listed = Scan::prefix(LaneIndex::Due.of(workspace, connection), max - waiting.len());
        for (key, _) in self.store.scan(&listed)? {
            let Some(entry) = self.entry(step, LaneIndex::Due, &key) else {
                continue;
            };
            if let Some(found) = self.listed(step, LaneIndex::Due, &entry)? {
                waiting.push(found.delivery.id);
            }
        }
        Ok(waiting)
    }
}
