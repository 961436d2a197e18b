//! Walks over what is keyed by workspace and an identifier that sorts by time: oldest first up to an age, or newest first
//! beyond a weight.

use cofferdam_domain::{EventId, Timestamp, WorkspaceName};
use cofferdam_store::{Key, Keyspace, Scan, Store};

use super::EXAMINED_PER_CALL;
use crate::error::QueueError;
use crate::keys;

/// Sorts behind every identifier.
const LAST_ID: [u8; 16] = [0xff; 16];

/// A workspace and the identifier of an event or delivery of it.
type Owned = (WorkspaceName, [u8; 16]);

/// Oldest first, workspace by workspace.
#[derive(Clone, Default)]
pub(super) struct Walk {
    after: Option<Vec<u8>>,
    through: bool,
}

impl Walk {
    /// Whether there is nothing more.
    pub(super) const fn is_through(&self) -> bool {
        self.through
    }

    /// The next ones that were minted until then; a bounded number, or none where the walk is through or without an age.
    pub(super) fn next(
        &mut self,
        store: &Store,
        space: Keyspace,
        until: Option<Timestamp>,
    ) -> Result<Vec<Owned>, QueueError> {
        let mut found = Vec::new();
        let Some(until) = until.filter(|_| !self.through) else {
            self.through = true;
            return Ok(found);
        };
        let mut examined = 0;
        while examined < EXAMINED_PER_CALL {
            let scan = Scan::prefix(Key::of(space), EXAMINED_PER_CALL - examined);
            let page = store.keys(&match &self.after {
                Some(after) => scan.after(after.as_slice()),
                None => scan,
            })?;
            if page.is_empty() {
                self.through = true;
                break;
            }
            for key in page {
                examined += 1;
                let Ok((workspace, id)) = keys::owner_and_id(space, &key) else {
                    self.after = Some(key);
                    continue;
                };
                if EventId::from_bytes(id).minted_at() > until {
                    // Everything that follows in this workspace is younger.
                    let last = keys::in_workspace(space, &workspace).bytes(&LAST_ID);
                    // Longer keys with that identifier would sort behind it; there is none so late.
                    self.after = Some(last.into());
                    break;
                }
                self.after = Some(key);
                found.push((workspace, id));
            }
        }
        Ok(found)
    }
}

/// Newest first, with the weight of each workspace so far.
#[derive(Clone, Default)]
pub(super) struct Weighed {
    after: Option<Vec<u8>>,
    through: bool,
    workspace: Option<WorkspaceName>,
    bytes: u64,
}

impl Weighed {
    /// Whether there is nothing more.
    pub(super) const fn is_through(&self) -> bool {
        self.through
    }

    /// Nothing is weighed this time.
    pub(super) const fn skip(&mut self) {
        self.through = true;
    }

    /// Of the next ones, those beyond the weight that a workspace may have; none where the walk is through or there is no
    /// bound. `weigh` says what each key stands for, in bytes.
    pub(super) fn next(
        &mut self,
        store: &Store,
        space: Keyspace,
        bytes_max: u64,
        weigh: impl Fn(&WorkspaceName, [u8; 16], &[u8]) -> Result<u64, QueueError>,
    ) -> Result<Vec<Owned>, QueueError> {
        let mut over = Vec::new();
        if self.through || bytes_max == 0 {
            self.through = true;
            return Ok(over);
        }
        let scan = Scan::prefix(Key::of(space), EXAMINED_PER_CALL).reversed();
        let page = store.keys(&match &self.after {
            Some(after) => scan.after(after.as_slice()),
            None => scan,
        })?;
        self.through = page.len() < EXAMINED_PER_CALL;
        for key in page {
            if let Ok((workspace, id)) = keys::owner_and_id(space, &key) {
                if self.workspace.as_ref() != Some(&workspace) {
                    self.workspace = Some(workspace.clone());
                    self.bytes = 0;
                }
                self.bytes = self.bytes.saturating_add(weigh(&workspace, id, &key)?);
                if self.bytes > bytes_max {
                    over.push((workspace, id));
                }
            }
            self.after = Some(key);
        }
        Ok(over)
    }
}
