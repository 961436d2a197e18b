//! Tallies: how many deliveries of a lane were delivered up to a time, so that a start counts only those after it.
//!
//! A tally counts the lane's entries of the delivered index that are before its time. It moves on in housekeeping, a while
//! behind the clock, and whoever removes entries before its time lowers it in the same batch. Both expect it to be as they
//! read it. A delivery is never noted as delivered before its lane's tally, whatever the clock says.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_domain::{ConnectionName, Timestamp, WorkspaceName};
use cofferdam_store::{Key, Keyspace, SCAN_RECORDS_MAX, Scan};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;
use crate::keys::{self, LaneIndex};
use crate::lanes::LaneName;
use crate::record;
use crate::step::{Step, Stepped};
use crate::store_queue::StoreQueue;

/// How far tallies stay behind the clock: a settle that was timed before that has long been committed.
const BEHIND: Duration = Duration::from_secs(600);

/// Entries that a tally is moved on by at least; fewer are counted at the start.
const ENTRIES_MIN: usize = 1024;

/// How often a lane is looked at, but for one of which there is more.
const PERIOD: Duration = Duration::from_secs(60);

/// Whether a lane has more to tally at once.
enum Progress {
    Done,
    More,
}

/// The stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    /// Entries before this are counted.
    pub(crate) until: Timestamp,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            delivered: 0,
            until: Timestamp::ZERO,
        }
    }
}

impl StoreQueue {
    /// All tallies. One that cannot be read counts as none: the start counts the whole lane instead.
    pub(crate) fn tallies(&self) -> Result<BTreeMap<LaneName, Tally>, QueueError> {
        let mut tallies = BTreeMap::new();
        let mut scan = Scan::prefix(Key::of(Keyspace::Tally), SCAN_RECORDS_MAX);
        loop {
            let page = self.store.scan(&scan)?;
            let Some((last, _)) = page.last() else {
                return Ok(tallies);
            };
            scan = scan.after(last.clone());
            for (key, raw) in page {
                if let (Ok(lane), Ok(tally)) = (keys::read_tally(&key), record::decode("tally", &raw)) {
                    tallies.insert(lane, tally);
                } else {
                    tracing::error!(key = %key.escape_ascii(), "a tally cannot be read; its lane is counted anew");
                }
            }
        }
    }

    /// Moves tallies on, a bounded number of entries for each lane. A tally that somebody else changes meanwhile waits for
    /// its next turn, as does one that fails.
    pub(crate) async fn move_tallies_on(&self, now: Timestamp) {
        for (workspace, connection) in self.lanes.with_deliveries_done() {
            let lane = self.lanes.lane(&workspace, &connection);
            if !lane.may_tally(now, PERIOD) {
                continue;
            }
            match self.move_on(&workspace, &connection, now).await {
                Ok(Progress::More) => lane.tally_again(),
                Ok(Progress::Done) => {}
                Err(error) => tracing::error!(
                    %workspace,
                    %connection,
                    error = &error as &dyn std::error::Error,
                    "what the lane delivered could not be tallied; the next start counts it"
                ),
            }
        }
    }

    async fn move_on(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> Result<Progress, QueueError> {
        let (raw, tally) = self.read_tally(workspace, connection)?;
        let of_lane = LaneIndex::Delivered.of(workspace, connection);
        let limit = Timestamp::from_millis(now.as_millis().saturating_sub(millis(BEHIND)));
        let entries = Scan::prefix(of_lane.clone(), SCAN_RECORDS_MAX)
            .after(of_lane.clone().u64(tally.until.as_millis()))
            .until(of_lane.u64(limit.as_millis()));
        let entries = self.store.keys(&entries)?;
        let full = entries.len() == SCAN_RECORDS_MAX;
        if entries.len() < ENTRIES_MIN {
            return Ok(Progress::Done);
        }
        let times: Vec<Timestamp> = entries
            .iter()
            .filter_map(|key| LaneIndex::Delivered.read(key).ok())
            .map(|entry| entry.at)
            .collect();
        // Of the last millisecond of a full page there may be more.
        let until = if full {
            times.last().copied().unwrap_or(limit)
        } else {
            limit
        };
        let counted = times.iter().filter(|at| **at < until).count() as u64;
        let after = Tally {
            delivered: tally.delivered + counted,
            until,
        };
        // From now on nothing is noted before it; what was timed earlier is durable.
        self.lanes.lane(workspace, connection).tally_until(until);
        let mut step = Step::default();
        stage(&mut step, workspace, connection, raw, &after);
        match self.commit(step).await? {
            Stepped::Done if full => Ok(Progress::More),
            Stepped::Done | Stepped::Conflict => Ok(Progress::Done),
        }
    }

    fn read_tally(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
    ) -> Result<(Option<Vec<u8>>, Tally), QueueError> {
        let raw = self.store.get(keys::tally(workspace, connection))?;
        // The start has said so if it cannot be read, and has counted everything.
        let tally = raw.as_deref().and_then(|raw| record::decode("tally", raw).ok());
        Ok((raw, tally.unwrap_or_default()))
    }

    /// Entries of the delivered index at these times go with the step: the tally that counted them is lowered. One that is
    /// damaged counts nothing any more, and keeps nobody from anything.
    pub(crate) fn lower_tally(
        &self,
        step: &mut Step,
        (workspace, connection): &LaneName,
        removed_at: &[Timestamp],
    ) -> Result<(), QueueError> {
        let (raw, mut tally) = match self.read_tally(workspace, connection) {
            Err(error) if error.is_damage() => return Ok(()),
            read => read?,
        };
        let counted = removed_at.iter().filter(|at| **at < tally.until).count() as u64;
        tally.delivered = tally.delivered.saturating_sub(counted);
        stage(step, workspace, connection, raw, &tally);
        Ok(())
    }
}

fn stage(step: &mut Step, workspace: &WorkspaceName, connection: &ConnectionName, raw: Option<Vec<u8>>, tally: &Tally) {
    let key = keys::tally(workspace, connection);
    match raw {
        Some(raw) => step.batch.expect(key.clone(), raw),
        None => step.batch.expect_absent(key.clone()),
    };
    step.batch.put(key, record::encode(tally));
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
