//! What has become due by time alone: expiries are told of, values whose overlap is over are forgotten, old facts go.
//!
//! Each credential is one small commit that holds only if nobody has changed the credential meanwhile. After a crash the same
//! is due again, and nothing is told twice: how far an expiry was told lies in the record, and is written with the fact.

use cofferdam_domain::Timestamp;
use cofferdam_store::Scan;

use crate::envelope::Place;
use crate::error::VaultError;
use crate::expiry::{Due, Overlaps, next_due};
use crate::facts::{Fact, FactKind, News};
use crate::head::{Head, Told};
use crate::record::Record;
use crate::vault::{CredentialInfo, Vault, credentials_key, info, read_credential_key};

/// Credentials that one tick changes; the rest waits for the next, which may follow at once.
pub const TICK_CHANGES_MAX: usize = 64;

/// Credentials with a known expiry that one tick tells of.
pub const TICK_EXPIRIES_MAX: usize = 4096;

/// Records read per step.
const PAGE: usize = 128;

/// What a tick has found.
#[derive(Debug, Default)]
pub struct Ticked {
    /// What was told, and is durable.
    pub facts: Vec<Fact>,
    /// When something is due next; now or before, if not everything was done.
    pub next_at: Option<Timestamp>,
    /// Every credential whose expiry is known, up to [`TICK_EXPIRIES_MAX`].
    pub expiries: Vec<CredentialInfo>,
    /// Credentials of which something was due and that do not unseal.
    pub damaged: usize,
}

impl Vault {
    /// Does what has become due, in all workspaces.
    ///
    /// # Errors
    /// When the store fails. What was done by then stays done.
    pub async fn tick(&self, now: Timestamp, overlaps: Overlaps) -> Result<Ticked, VaultError> {
        let mut ticked = Ticked::default();
        let mut changes = 0;
        let mut page = Scan::prefix(credentials_key(), PAGE);
        loop {
            let records = self.store.scan(&page).map_err(VaultError::Read)?;
            let Some((last, _)) = records.last() else {
                return Ok(ticked);
            };
            page = page.after(last.clone());
            for (key, before) in records {
                let Ok((head, _)) = Head::decode(&before) else {
                    ticked.damaged += 1;
                    continue;
                };
                if head.expires_at.is_some() && ticked.expiries.len() < TICK_EXPIRIES_MAX {
                    ticked.expiries.push(info(&key, &before)?);
                }
                let due = Due::of(&head, now, overlaps);
                let next = if due.is_nothing() {
                    next_due(&head, overlaps)
                } else if changes == TICK_CHANGES_MAX {
                    Some(now)
                } else {
                    let changed = self.settle_due(&key, before, &due, now, &mut ticked).await?;
                    changes += usize::from(changed);
                    next_due(&due.done(&head), overlaps)
                };
                ticked.next_at = [ticked.next_at, next].into_iter().flatten().min();
            }
        }
    }

    /// Removes some of the facts that are too old, durably; answers how many, and 0 once nothing is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trim_facts(&self, now: Timestamp) -> Result<usize, VaultError> {
        self.facts.trim(now).await
    }

    /// Does what is due of one credential, and answers whether it was done. If somebody has changed it meanwhile, what is due
    /// now is another matter, and they have said that there is a change.
    async fn settle_due(
        &self,
        key: &[u8],
        before: Vec<u8>,
        due: &Due,
        now: Timestamp,
        ticked: &mut Ticked,
    ) -> Result<bool, VaultError> {
        let (workspace, connection, credential) = read_credential_key(key)?;
        let place = Place {
            workspace: &workspace,
            connection: &connection,
            credential: &credential,
        };
        let Ok(record) = Record::decode(&before) else {
            ticked.damaged += 1;
            return Ok(false);
        };
        let head = due.done(&record.head);
        let mut batch = match self.rewritten(place, before, &record, head) {
            Err(VaultError::Damaged { .. }) => {
                ticked.damaged += 1;
                return Ok(false);
            }
            rewritten => rewritten?,
        };
        let mut facts = Vec::new();
        for ended in &due.ended {
            let news = News {
                version: Some(ended.version),
                ..News::of(FactKind::OverlapEnded)
            };
            facts.push(self.tell(&mut batch, place, news, now)?);
        }
        if let (Some(told), Some(expires_at)) = (due.told, record.head.expires_at) {
            let detail = match told {
                Told::Expired => format!("expired at {expires_at}"),
                Told::Nothing | Told::Month | Told::Week | Told::Day => format!("expires at {expires_at}"),
            };
            let news = News {
                kind: if told == Told::Expired {
                    FactKind::Expired
                } else {
                    FactKind::Expiring
                },
                version: Some(record.head.version),
                by: None,
                detail: Some(&detail),
            };
            facts.push(self.tell(&mut batch, place, news, now)?);
        }
        let committed = self.committed(batch).await?;
        if committed {
            ticked.facts.append(&mut facts);
        }
        Ok(committed)
    }
}

#[cfg(test)]
mod tests;
