//! What people ask of the keeper: to load a version that is kept, to roll back to it, and to let go of a rollback.

use std::sync::Arc;

use cofferdam_domain::{ConnectorName, WorkspaceName};
use cofferdam_host::Connector;
use cofferdam_store::Batch;

use super::super::decisions::Decision;
use super::super::{Command, NotDone};
use super::Keeper;

impl Keeper {
    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Load { name, digest, answer } => {
                let shelf = self.catalogue.get(&name);
                let loaded = shelf.and_then(|shelf| shelf.connector(digest)).cloned();
                let version = shelf.and_then(|shelf| shelf.record.version(digest)).cloned();
                match (loaded, version) {
                    (Some(connector), _) => _ = answer.send(Ok(connector)),
                    (None, Some(version)) => self.want(&name, version, Some(answer)),
                    (None, None) => _ = answer.send(Err("it is not kept".to_owned())),
                }
            }
            Command::Hold {
                name,
                to,
                workspace,
                decision,
                answer,
            } => {
                let done = self.hold(&name, to, &workspace, *decision).await;
                _ = answer.send(done);
            }
        }
    }

    /// Rolls back, or lets go; with the record of who did. What is rolled back to comes loaded: nobody may have run it so far, and
    /// what nobody runs is let go of.
    async fn hold(
        &mut self,
        name: &ConnectorName,
        to: Option<Arc<Connector>>,
        workspace: &WorkspaceName,
        decision: Decision,
    ) -> Result<(), NotDone> {
        let shelf = self.catalogue.get(name).ok_or(NotDone::Unknown)?;
        let (by, at) = (&decision.by, decision.at);
        let after = match &to {
            Some(to) if shelf.record.version(to.digest).is_none() => return Err(NotDone::NotKept),
            Some(to) => shelf.record.holding(to.digest, by, at),
            None => shelf.record.released(at),
        };
        let mut batch = Batch::new();
        self.app.plugins.decisions.add(&mut batch, workspace, decision);
        self.commit_with(&mut batch, &after);
        if !self.write(batch, &after).await {
            return Err(NotDone::NotDurable);
        }
        if let (Some(to), Some(shelf)) = (to, self.catalogue.shelves.get_mut(name)) {
            shelf.loaded.insert(to.digest, to);
        }
        self.replace(after);
        self.load_what_is_wanted();
        self.publish();
        Ok(())
    }
}
