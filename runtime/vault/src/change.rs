//! Changes of a credential: set, rotated, refreshed, removed. Each is durable, with the fact that tells of it, when its
//! function returns, and replaces what it has read and nothing else.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use cofferdam_store::{Batch, CommitError, Scan};

use crate::envelope::Place;
use crate::error::VaultError;
use crate::facts::{Fact, FactKind, FactQuery, News};
use crate::head::{Head, PREVIOUS_MAX, Previous, Renewal, Told};
use crate::record::{ChangeError, Record};
use crate::secret::Secret;
use crate::vault::{Edition, Vault, connection_key, credential_key, damaged, read_credential_key};

/// Longest time for which a value is accepted after it was replaced.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a change is tried again when another change of the same credential came first.
const CHANGE_TRIES_MAX: u32 = 16;

/// Credentials that are read at a time when all of a connection go.
const REMOVE_PAGE: usize = 256;

/// What a change finds there, or it is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    #[default]
    Any,
    /// No such credential.
    Absent,
    /// This edition: what was read before, and nobody has changed since.
    Edition(Edition),
}

/// Why a value comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Somebody set it. With an overlap that is a rotation.
    #[default]
    Set,
    /// The host got it in exchange for the one before.
    Refreshed,
    /// The host could not get another, and will not try again before something is corrected; the value says so.
    RefreshFailed,
    /// Nothing but a person's consent brings another; the value says so.
    ConsentNeeded,
}

/// A new value. [`Change::new`] has the defaults: `Change { overlap, ..Change::new(secret, now) }`.
#[derive(Debug)]
pub struct Change<'a> {
    /// The value.
    pub secret: Secret,
    /// When it expires, if that is known. Nothing stops at that moment but by the upstream's doing: it is told ahead of.
    pub expires_at: Option<Timestamp>,
    /// Who sees to it that it is replaced in time.
    pub renewal: Renewal,
    /// How long the present value is accepted from now on, up to [`OVERLAP_MAX`]. At zero it and any before it stop at once.
    pub overlap: Duration,
    /// What must be there.
    pub expect: Expect,
    /// Why it comes.
    pub cause: Cause,
    /// Who caused it.
    pub by: Option<&'a str>,
    /// The present.
    pub now: Timestamp,
}

impl Change<'_> {
    /// A value that replaces any other at once, and expires at no known time.
    pub fn new(secret: Secret, now: Timestamp) -> Self {
        Self {
            secret,
            expires_at: None,
            renewal: Renewal::ByPerson,
            overlap: Duration::ZERO,
            expect: Expect::Any,
            cause: Cause::Set,
            by: None,
            now,
        }
    }

    fn kind(&self) -> FactKind {
        match self.cause {
            Cause::Refreshed => FactKind::Refreshed,
            Cause::RefreshFailed => FactKind::RefreshFailed,
            Cause::ConsentNeeded => FactKind::ConsentNeeded,
            Cause::Set if self.overlap.is_zero() => FactKind::Set,
            Cause::Set => FactKind::Rotated,
        }
    }

    /// The head with which this change follows another.
    fn after(&self, earlier: Option<&Head>) -> Head {
        let mut head = Head {
            expires_at: self.expires_at,
            renewal: self.renewal,
            refreshed: self.cause != Cause::Set,
            ..Head::first(self.now)
        };
        let Some(earlier) = earlier else { return head };
        head.version = earlier.version.saturating_add(1);
        head.created_at = earlier.created_at;
        if !self.overlap.is_zero() {
            let replaced = Previous {
                version: earlier.version,
                until: self.now.after(self.overlap),
            };
            let still_accepted = earlier.previous.iter().filter(|previous| self.now < previous.until);
            head.previous = std::iter::once(replaced)
                .chain(still_accepted.copied())
                .take(PREVIOUS_MAX)
                .collect();
        }
        head
    }
}

impl Vault {
    /// Gives a credential a new value, durably; answers with its new version. Takes the secret over, so that no copy of it
    /// stays with the caller.
    ///
    /// # Errors
    /// [`VaultError::Conflict`] when what is there is not what the change expects; [`VaultError::OverlapTooLong`]; when the
    /// store fails, or others kept changing the credential.
    pub async fn put(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        change: Change<'_>,
    ) -> Result<u64, VaultError> {
        if change.overlap > OVERLAP_MAX {
            return Err(VaultError::OverlapTooLong);
        }
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let at = credential_key(place);
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.store.get(&at).map_err(VaultError::Read)?;
            // A record that cannot be read is what an admin sets anew; its version is lost with it.
            let earlier = before.as_deref().and_then(|bytes| Record::decode(bytes).ok());
            let found = earlier.as_ref().map(|record| Edition::of(&record.head));
            let expected = match change.expect {
                Expect::Any => true,
                Expect::Absent => before.is_none(),
                Expect::Edition(edition) => found == Some(edition),
            };
            if !expected {
                return Err(conflict(place));
            }
            let mut head = change.after(earlier.as_ref().map(|record| &record.head));
            let succeeded = match &earlier {
                Some(earlier) => earlier.succeeded(&self.key, place, head.clone(), &change.secret),
                None => Record::seal(&self.key, place, head.clone(), &change.secret).map_err(ChangeError::Seal),
            };
            let record = match succeeded {
                Ok(record) => record,
                Err(ChangeError::Seal(error)) => return Err(VaultError::Seal(error)),
                // The value before is damaged: the new one comes alone.
                Err(ChangeError::Open(_)) => {
                    head.previous.clear();
                    Record::seal(&self.key, place, head.clone(), &change.secret).map_err(VaultError::Seal)?
                }
            };
            let detail = head
                .previous
                .first()
                .map(|Previous { version, until }| format!("version {version} is accepted until {until}"));
            let news = News {
                kind: change.kind(),
                version: Some(head.version),
                by: change.by,
                detail: detail.as_deref(),
            };
            let mut batch = Batch::new();
            match before {
                Some(before) => batch.expect(at.clone(), before),
                None => batch.expect_absent(at.clone()),
            };
            batch.put(at.clone(), record.encode());
            if self.commit_with(batch, place, news, change.now).await?.is_some() {
                return Ok(head.version);
            }
        }
        Err(busy(place))
    }

    /// Sets a credential's value, durably, and ends any before it; answers with its new version.
    ///
    /// # Errors
    /// As [`Vault::put`].
    pub async fn set(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        secret: Secret,
        now: Timestamp,
    ) -> Result<u64, VaultError> {
        self.put(workspace, connection, credential, Change::new(secret, now))
            .await
    }

    /// Notes when the present value expires, which was learnt after it was set; durable. Answers whether anything changed.
    ///
    /// # Errors
    /// [`VaultError::Conflict`] when the value is another by now; when it does not unseal, or the store fails.
    pub async fn note_expiry(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        edition: Edition,
        expires_at: Timestamp,
    ) -> Result<bool, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.store.get(credential_key(place)).map_err(VaultError::Read)?;
            let before = before.ok_or_else(|| conflict(place))?;
            let record = Record::decode(&before).map_err(|_| damaged(place))?;
            if Edition::of(&record.head) != edition {
                return Err(conflict(place));
            }
            if record.head.expires_at == Some(expires_at) {
                return Ok(false);
            }
            let head = Head {
                expires_at: Some(expires_at),
                told: Told::Nothing,
                ..record.head.clone()
            };
            let batch = self.rewritten(place, before, &record, head)?;
            if self.committed(batch).await? {
                return Ok(true);
            }
        }
        Err(busy(place))
    }

    /// Removes a credential, durably; answers whether there was one. Every value of it stops at once.
    ///
    /// # Errors
    /// When the store fails, or others kept changing the credential.
    pub async fn remove(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        let at = credential_key(place);
        for _ in 0..CHANGE_TRIES_MAX {
            let Some(before) = self.store.get(&at).map_err(VaultError::Read)? else {
                return Ok(false);
            };
            let news = News {
                version: Head::decode(&before).ok().map(|(head, _)| head.version),
                by,
                ..News::of(FactKind::Removed)
            };
            let mut batch = Batch::new();
            batch.expect(at.clone(), before).delete(at.clone());
            if self.commit_with(batch, place, news, now).await?.is_some() {
                return Ok(true);
            }
        }
        Err(busy(place))
    }

    /// Adds the removal of every credential of a connection to a batch, which is the caller's to commit; answers how many
    /// there are. Nothing of them is unsealed, so one that is damaged goes too.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_all(
        &self,
        batch: &mut Batch,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<usize, VaultError> {
        let mut removed = 0;
        let mut page = Scan::prefix(connection_key(workspace, connection), REMOVE_PAGE);
        loop {
            let records = self.store.scan(&page).map_err(VaultError::Read)?;
            let Some((last, _)) = records.last() else {
                return Ok(removed);
            };
            page = page.after(last.clone());
            removed += records.len();
            for (key, sealed) in records {
                if let Ok((workspace, connection, credential)) = read_credential_key(&key) {
                    let place = Place {
                        workspace: &workspace,
                        connection: &connection,
                        credential: &credential,
                    };
                    let news = News {
                        version: Head::decode(&sealed).ok().map(|(head, _)| head.version),
                        by,
                        ..News::of(FactKind::Removed)
                    };
                    self.tell(batch, place, news, now)?;
                }
                batch.delete(key);
            }
        }
    }

    /// Writes down what happened to a credential without a change of it, durably; none if the same was written not long ago
    /// ([`crate::FACT_REPEAT_MIN`]). It is counted all the same.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
        news: News<'_>,
        now: Timestamp,
    ) -> Result<Option<Fact>, VaultError> {
        let place = Place {
            workspace,
            connection,
            credential,
        };
        for _ in 0..CHANGE_TRIES_MAX {
            if self.facts.repeats(place, news, now)? {
                self.ears.observe(news.kind);
                return Ok(None);
            }
            if let Some(fact) = self.commit_with(Batch::new(), place, news, now).await? {
                return Ok(Some(fact));
            }
        }
        Err(busy(place))
    }

    /// Facts of a workspace, latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn facts(&self, workspace: &WorkspaceName, query: &FactQuery) -> Result<Vec<Fact>, VaultError> {
        self.facts.list(workspace, query)
    }

    /// A batch that gives a record another head, if nobody has changed the record since it was read.
    pub(crate) fn rewritten(
        &self,
        place: Place<'_>,
        before: Vec<u8>,
        record: &Record,
        head: Head,
    ) -> Result<Batch, VaultError> {
        let next = match record.with_head(&self.key, place, head) {
            Ok(next) => next,
            Err(ChangeError::Seal(error)) => return Err(VaultError::Seal(error)),
            Err(ChangeError::Open(_)) => return Err(damaged(place)),
        };
        let mut batch = Batch::new();
        batch
            .expect(credential_key(place), before)
            .put(credential_key(place), next.encode());
        Ok(batch)
    }

    /// Adds a fact to a batch; it is counted, and whoever waits for changes is told, once the batch is durable.
    pub(crate) fn tell(
        &self,
        batch: &mut Batch,
        place: Place<'_>,
        news: News<'_>,
        now: Timestamp,
    ) -> Result<Fact, VaultError> {
        let fact = self.facts.add(batch, place, news, now)?;
        let (ears, kind) = (Arc::clone(&self.ears), fact.kind);
        batch.then(move || {
            ears.observe(kind);
            ears.changed();
        });
        Ok(fact)
    }

    /// Commits a batch with a fact; none if somebody else came first.
    pub(crate) async fn commit_with(
        &self,
        mut batch: Batch,
        place: Place<'_>,
        news: News<'_>,
        now: Timestamp,
    ) -> Result<Option<Fact>, VaultError> {
        let fact = self.tell(&mut batch, place, news, now)?;
        Ok(self.committed(batch).await?.then_some(fact))
    }

    /// Whether the batch was committed, and nobody else came first.
    pub(crate) async fn committed(&self, batch: Batch) -> Result<bool, VaultError> {
        match self.store.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(VaultError::Write(error)),
        }
    }
}

fn conflict(place: Place<'_>) -> VaultError {
    VaultError::Conflict {
        connection: place.connection.clone(),
        credential: place.credential.clone(),
    }
}

fn busy(place: Place<'_>) -> VaultError {
    VaultError::Busy {
        connection: place.connection.clone(),
        credential: place.credential.clone(),
    }
}

#[cfg(test)]
mod tests;
