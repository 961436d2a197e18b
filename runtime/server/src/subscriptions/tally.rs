//! How the filter of each connection has answered since the process began. In memory only: the metrics keep the history.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_domain::{ConnectionName, Timestamp, WorkspaceName};
use serde::{Deserialize, Serialize};

use super::filter::Verdict;

/// How a connection's filter has answered, since the server's start or since the connection was last applied with another
/// filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterTally {
    /// Events that it let through.
    pub wanted: u64,
    /// Events that it held back.
    pub unwanted: u64,
    /// Events that it failed on, and that were therefore not delivered.
    pub errors: u64,
    /// Events that a bound of size or time kept it from judging, and that were therefore delivered.
    pub overruns: u64,
    /// The last failure or overrun. Names keys and types, never values.
    #[serde(default)]
    pub last_problem: Option<String>,
    /// When that was.
    #[serde(default)]
    pub last_problem_at: Option<Timestamp>,
}

/// The tallies of all connections; there is an entry for each that has a filter and was asked.
#[derive(Default)]
pub(crate) struct Tallies {
    tallies: Mutex<HashMap<(WorkspaceName, ConnectionName), FilterTally>>,
}

impl Tallies {
    /// One more answer.
    pub(super) fn count(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        verdict: &Verdict,
        now: Timestamp,
    ) {
        let mut tallies = self.lock();
        let tally = tallies.entry((workspace.clone(), connection.clone())).or_default();
        let problem = match verdict {
            Verdict::Wanted => {
                tally.wanted += 1;
                return;
            }
            Verdict::Unwanted => {
                tally.unwanted += 1;
                return;
            }
            Verdict::Failed(why) => {
                tally.errors += 1;
                why.clone()
            }
            Verdict::Overrun(overrun) => {
                tally.overruns += 1;
                overrun.as_str().to_owned()
            }
        };
        tally.last_problem = Some(problem);
        tally.last_problem_at = Some(now);
    }

    /// What is known of this one.
    pub(crate) fn of(&self, workspace: &WorkspaceName, connection: &ConnectionName) -> FilterTally {
        let key = (workspace.clone(), connection.clone());
        self.lock().get(&key).cloned().unwrap_or_default()
    }

    /// Forgets a connection: its filter is another one now, or it is gone.
    pub(crate) fn forget(&self, workspace: &WorkspaceName, connection: &ConnectionName) {
        self.lock().remove(&(workspace.clone(), connection.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(WorkspaceName, ConnectionName), FilterTally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
