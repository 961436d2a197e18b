//! What the host writes down of a change of a shelf, in the batch of the change: rollbacks that another file has ended, and
//! versions that begin to run by themselves. What people decide is written where they do.

use std::collections::BTreeSet;

use cofferdam_domain::{Digest, WorkspaceName};
use cofferdam_store::Batch;

use super::super::choice::choose;
use super::super::decisions::{Decision, DecisionKind, THE_HOST};
use super::super::record::ShelfRecord;
use super::Keeper;

impl Keeper {
    /// With the batch, what comes with the change of a shelf from the one to the other.
    pub(super) fn tell(&self, batch: &mut Batch, before: &ShelfRecord, after: &ShelfRecord) {
        self.tell_released(batch, before, after);
        self.tell_begun(batch, before, after);
    }

    /// A rollback is everybody's, so every workspace that has a connection to the connector hears of its end.
    fn tell_released(&self, batch: &mut Batch, before: &ShelfRecord, after: &ShelfRecord) {
        let Some(held) = before.held.as_ref().filter(|_| after.held.is_none()) else {
            return;
        };
        let all = self.app.connections.all();
        let concerned = all
            .iter()
            .filter(|connection| connection.spec.connector == after.name)
            .map(|connection| connection.workspace.clone());
        let mut workspaces: BTreeSet<WorkspaceName> = concerned.collect();
        if workspaces.is_empty() {
            workspaces.insert(WorkspaceName::default());
        }
        for workspace in workspaces {
            let mut decision = Decision::new(DecisionKind::Released, THE_HOST, &after.name);
            decision.digest = after.offered;
            decision.reason = Some(format!(
                "another file was dropped; {} had been rolled back to by {}",
                held.digest, held.by
            ));
            self.app.plugins.decisions.add(batch, &workspace, decision);
        }
    }

    /// What runs for a connection is decided from records alone, so the two records say who begins to run another version.
    fn tell_begun(&self, batch: &mut Batch, before: &ShelfRecord, after: &ShelfRecord) {
        let plugins = &self.app.plugins;
        for connection in self.app.connections.all() {
            if connection.spec.connector != after.name {
                continue;
            }
            let standing = plugins.standings.of(&connection);
            let runs = |shelf: &ShelfRecord| choose(shelf, &connection, &standing, plugins.config.updates).runs;
            let Some(begins) = begun(runs(before), runs(after), connection.granted) else {
                continue;
            };
            let mut decision = Decision::new(DecisionKind::Began, THE_HOST, &after.name);
            decision.connection = Some(connection.spec.name.clone());
            decision.digest = Some(begins);
            decision.reason = runs(before).map(|ran| format!("instead of {ran}"));
            plugins.decisions.add(batch, &connection.workspace, decision);
        }
    }
}

/// What is worth a record of its own: another version than ran; not that what was granted runs again after nothing did.
fn begun(ran: Option<Digest>, runs: Option<Digest>, granted: Option<Digest>) -> Option<Digest> {
    runs.filter(|_| runs != ran && !(ran.is_none() && runs == granted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_once_and_what_was_granted_only_if_it_replaces_one() {
        let [first, second] = [Digest::of(b"first"), Digest::of(b"second")].map(Some);
        for (ran, runs, granted, expected) in [
            (first, second, first, second),
            (second, first, first, first),
            (second, second, first, None),
            (first, None, first, None),
            (None, first, first, None),
            (None, second, first, second),
        ] {
            assert_eq!(begun(ran, runs, granted), expected, "{ran:?} {runs:?}");
        }
    }
}
