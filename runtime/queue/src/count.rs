//! Counting, at the start, what a former process left: from the indexes and their values, so that no delivery is read.
//!
//! It costs time for what waits, what is under lease and what is dead; what was delivered is counted from the tallies on
//! (`tally.rs`), and what waits behind others with the order (`order.rs`). An entry that cannot be read is counted nowhere.

use std::sync::Arc;

use cofferdam_domain::Timestamp;
use cofferdam_store::{Entry, Key, Keyspace, NotThisKey, SCAN_RECORDS_MAX, Scan};

use crate::error::QueueError;
use crate::keys::{self, LaneIndex};
use crate::lanes::{Lane, Move};
use crate::standing::Standing;
use crate::step::listed_bytes;
use crate::store_queue::StoreQueue;

/// What follows the lane in a key of a lane index: a time, and a delivery.
const TAIL_BYTES: usize = 24;

impl StoreQueue {
    /// Fills the counts of all lanes.
    pub(crate) fn count(&self) -> Result<(), QueueError> {
        self.count_index(LaneIndex::Due)?;
        self.count_index(LaneIndex::Lease)?;
        self.count_delivered()?;
        self.each_of(Keyspace::Dead, |(key, connection)| {
            let (workspace, ..) = keys::read_dead(key)?;
            Move {
                lane: self.lanes.lane(&workspace, &keys::name(connection)?),
                from: None,
                to: Some(Standing::Dead),
                body_bytes: 0,
                due_at: None,
            }
            .apply();
            Ok(())
        })
    }

    /// Entries of one lane follow each other, so its name is read once.
    fn count_index(&self, index: LaneIndex) -> Result<(), QueueError> {
        let mut present: Option<(Vec<u8>, Arc<Lane>)> = None;
        self.each_of(index.space(), |(key, value)| {
            let (of_lane, tail) = key.split_at(key.len().saturating_sub(TAIL_BYTES));
            let (lane, at) = match (&present, tail.first_chunk()) {
                (Some((same, lane)), Some(at)) if same == of_lane => {
                    (Arc::clone(lane), Timestamp::from_millis(u64::from_be_bytes(*at)))
                }
                _ => {
                    let entry = index.read(key)?;
                    let lane = self.lanes.lane(&entry.workspace, &entry.connection);
                    present = Some((of_lane.to_vec(), Arc::clone(&lane)));
                    (lane, entry.at)
                }
            };
            Move {
                lane,
                from: None,
                to: Some(index.standing()),
                body_bytes: listed_bytes(value),
                due_at: (index == LaneIndex::Due).then_some(at),
            }
            .apply();
            Ok(())
        })
    }

    /// The tallies, and what the index holds after them.
    fn count_delivered(&self) -> Result<(), QueueError> {
        let tallies = self.tallies()?;
        for ((workspace, connection), tally) in &tallies {
            let lane = self.lanes.lane(workspace, connection);
            lane.count_delivered(tally.delivered);
            lane.tally_until(tally.until);
        }
        let mut scan = Scan::prefix(Key::of(Keyspace::Delivered), SCAN_RECORDS_MAX);
        loop {
            let page = self.store.keys(&scan)?;
            let Some(last) = page.last() else { return Ok(()) };
            scan = scan.after(last.clone());
            for key in page {
                let Ok(entry) = LaneIndex::Delivered.read(&key) else {
                    tracing::error!(key = %key.escape_ascii(), "an index entry cannot be read; it is not counted");
                    continue;
                };
                let lane = (entry.workspace, entry.connection);
                if let Some(tally) = tallies.get(&lane).filter(|tally| entry.at < tally.until) {
                    // The tally has it, and everything else of its lane before that time.
                    let counted = LaneIndex::Delivered.of(&lane.0, &lane.1);
                    scan = scan.after(counted.u64(tally.until.as_millis()));
                    break;
                }
                self.lanes.lane(&lane.0, &lane.1).count_delivered(1);
            }
        }
    }

    fn each_of(
        &self,
        space: Keyspace,
        mut count: impl FnMut(&Entry) -> Result<(), NotThisKey>,
    ) -> Result<(), QueueError> {
        let mut scan = Scan::prefix(Key::of(space), SCAN_RECORDS_MAX);
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            scan = scan.after(last.clone());
            for entry in page {
                if count(&entry).is_err() {
                    tracing::error!(key = %entry.0.escape_ascii(), "an index entry cannot be read; it is not counted");
                }
            }
        }
    }
}
