//! One request for a token, from the decision to ask until its answer is durable.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cofferdam_domain::Timestamp;
use cofferdam_domain::connection::OAuth2GrantKind;
use cofferdam_vault::{Cause as WriteCause, Edition, Expect};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::error::TokenError;
use super::holder::{FlightEnd, Holder, Landed, Landing};
use super::refused::TokenRefusal;
use super::request::{self, Ask, Granted, NotGranted};
use super::sets::{NotWritten, Write};
use super::source::{TokenKey, TokenSource};
use super::standing::{NoConsent, Standing};
use super::token_set::{Refused, TokenSet};
use super::{Inner, OWN_REQUESTS_MAX, SHARES_MAX, Seen, pace};

/// How often an answer is written again when the store fails.
const WRITES_MAX: u32 = 5;

/// Before the second write; each further one waits twice as long.
const WRITE_AGAIN: Duration = Duration::from_millis(50);

/// Why a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is none, or not for long.
    Needed,
    /// The one of this edition was answered with 401.
    Unauthorized { refused: Option<Edition> },
}

impl Inner {
    /// The end of the request that is under way; begins one if there is none.
    ///
    /// # Errors
    /// While the server is left alone.
    pub(super) fn start(
        self: &Arc<Self>,
        source: &Arc<TokenSource>,
        holder: &Arc<Holder>,
        cause: Cause,
    ) -> Result<Landed, TokenError> {
        let mut memory = holder.lock();
        if let Some(under_way) = &memory.flight {
            return Ok(under_way.clone());
        }
        if let Some(error) = memory.closed_now(Instant::now(), source.grant.asked()) {
            return Err(error);
        }
        let (said, landed) = watch::channel(None);
        memory.flight = Some(landed.clone());
        drop(memory);
        let (inner, source, end) = (Arc::clone(self), Arc::clone(source), FlightEnd(Arc::clone(holder)));
        // Not awaited: the request is everybody's, and its answer must be kept even if nobody waits for it any more. It ends
        // by itself within the time of a request and of the writes; `OAuth2::settled` waits for it.
        tokio::spawn(async move {
            let landing = inner.fly(&source, &end.0, cause).await;
            said.send_replace(Some(landing));
        });
        Ok(landed)
    }

    /// Begins a request, or joins the one that is under way, and waits for its end. Dropped, it cancels nothing.
    pub(super) async fn land(
        self: &Arc<Self>,
        source: &Arc<TokenSource>,
        holder: &Arc<Holder>,
        cause: Cause,
    ) -> Landing {
        let mut landed = self.start(source, holder, cause)?;
        match landed.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or(Ok(())),
            // Its task has panicked, and the log says so.
            Err(_) => Err(TokenError::Unreadable),
        }
    }

    fn share(&self, key: &TokenKey) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= SHARES_MAX {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let own = (key.workspace.clone(), key.connection.clone());
        let share = shares
            .entry(own)
            .or_insert_with(|| Arc::new(Semaphore::new(OWN_REQUESTS_MAX)));
        Arc::clone(share)
    }

    async fn fly(self: &Arc<Self>, source: &TokenSource, holder: &Holder, cause: Cause) -> Landing {
        // The connection's own first: what waits for that waits in nobody else's way.
        let share = self.share(&source.key);
        let _own = share.acquire().await.map_err(|_| TokenError::Unreadable)?;
        let _permit = self.requests.acquire().await.map_err(|_| TokenError::Unreadable)?;
        let unsaved = holder.lock().unsaved.take();
        if let Some(unsaved) = unsaved {
            // Its refresh token is the one that the server knows now: it comes before anything that could be asked.
            return self.keep_answer(source, holder, unsaved.0, unsaved.1, cause).await;
        }
        let seen = self.look(source)?;
        match (seen.standing, cause) {
            // Somebody else was faster.
            (Standing::Good, Cause::Needed) => return Ok(()),
            (Standing::Good | Standing::Due, Cause::Unauthorized { refused }) if seen.edition != refused => {
                return Ok(());
            }
            (Standing::Good | Standing::Due | Standing::Lapsed, _) => {}
            (Standing::ConsentNeeded(why), _) => return Err(TokenError::ConsentNeeded(why)),
            (Standing::Refused(why), _) => return Err(TokenError::Refused(why)),
        }
        if source.grant.client_secret.is_some() && seen.secret.is_none() {
            return Err(TokenError::SecretMissing);
        }
        let refresh = seen.set.as_ref().and_then(|set| set.refresh_token.clone());
        let asked = match (source.grant.grant, &refresh) {
            (OAuth2GrantKind::ClientCredentials, _) => Ask::Own,
            (OAuth2GrantKind::AuthorizationCode, Some(token)) => Ask::Refresh(token),
            (OAuth2GrantKind::AuthorizationCode, None) => return Err(TokenError::ConsentNeeded(NoConsent::Expired)),
        };
        let answered = request::ask(self.endpoint.as_ref(), source, seen.secret.as_ref(), asked).await;
        let over = seen.edition.map_or(Expect::Absent, Expect::Edition);
        match answered {
            Ok(granted) => {
                let set = renewed(seen.set, granted, source, (self.clock)());
                self.keep_answer(source, holder, set, over, cause).await
            }
            Err(NotGranted::Refused(why)) => self.refused(source, holder, seen, over, why).await,
            Err(NotGranted::Blocked(problem)) => {
                let error = TokenError::Blocked(problem);
                self.failed(source, holder, None, |_| error).await
            }
            Err(NotGranted::Unavailable {
                limited,
                reason,
                retry_after,
            }) => {
                self.failed(source, holder, retry_after, |wait| TokenError::Unavailable {
                    limited,
                    reason,
                    wait,
                })
                .await
            }
        }
    }

    /// Makes a yes durable. If that cannot be done it is remembered, and comes first at the next try.
    pub(super) async fn keep_answer(
        &self,
        source: &TokenSource,
        holder: &Holder,
        set: TokenSet,
        over: Expect,
        cause: Cause,
    ) -> Landing {
        if set.to_secret().is_err() {
            let unkept = |wait| TokenError::Unavailable {
                limited: false,
                reason: "its tokens are too large to be kept".to_owned(),
                wait,
            };
            return self.failed(source, holder, None, unkept).await;
        }
        match self.written(&source.key, &set, over, WriteCause::Refreshed).await {
            Ok(version) => {
                let mut memory = holder.lock();
                memory.open();
                memory.used = false;
                memory.renewed = match cause {
                    Cause::Needed => None,
                    Cause::Unauthorized { .. } => Some((version, Instant::now())),
                };
                drop(memory);
                let key = &source.key;
                tracing::info!(workspace = %key.workspace, connection = %key.connection, credential = %key.credential, version, "access token obtained");
                Ok(())
            }
            // A consent came meanwhile, or the credential is gone with its connection: what is there now stands.
            Err(NotWritten::Changed) => Ok(()),
            Err(NotWritten::Unavailable(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    workspace = %source.key.workspace,
                    connection = %source.key.connection,
                    credential = %source.key.credential,
                    "an access token could not be made durable, so it is not used yet"
                );
                holder.lock().unsaved = Some(Box::new((set, over)));
                self.failed(source, holder, None, |wait| TokenError::Unavailable {
                    limited: false,
                    reason: "the host could not store its answer".to_owned(),
                    wait,
                })
                .await
            }
        }
    }

    async fn refused(
        &self,
        source: &TokenSource,
        holder: &Holder,
        seen: Seen,
        over: Expect,
        why: TokenRefusal,
    ) -> Landing {
        let (now, asked) = ((self.clock)(), source.grant.asked());
        let mut set = seen
            .set
            .filter(|set| set.bound_to == source.grant.bound_to())
            .unwrap_or_else(|| TokenSet::empty(source.grant.bound_to(), asked, now));
        set.refused = Some(Refused {
            why,
            at: now,
            asked,
            secret_version: seen.secret_version,
        });
        let ended = why == TokenRefusal::InvalidGrant && source.grant.grant == OAuth2GrantKind::AuthorizationCode;
        if ended {
            // The server has ended them; nothing of them is worth keeping.
            (set.access_token, set.refresh_token) = (None, None);
        }
        let cause = if ended {
            WriteCause::ConsentNeeded
        } else {
            WriteCause::RefreshFailed
        };
        match self.written(&source.key, &set, over, cause).await {
            Ok(_) => holder.lock().open(),
            Err(NotWritten::Changed) => return Ok(()),
            Err(NotWritten::Unavailable(error)) => {
                // Asked again after a while, and refused again: a no that is not durable costs a request.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    connection = %source.key.connection,
                    "an authorization server's refusal could not be made durable"
                );
                let _ = self.failed(source, holder, None, |_| TokenError::Refused(why)).await;
            }
        }
        let key = &source.key;
        tracing::warn!(workspace = %key.workspace, connection = %key.connection, credential = %key.credential, code = why.as_str(), "the authorization server refuses an access token for good");
        Err(if ended {
            TokenError::ConsentNeeded(NoConsent::Ended)
        } else {
            TokenError::Refused(why)
        })
    }

    /// The server is left alone for a while.
    async fn failed(
        &self,
        source: &TokenSource,
        holder: &Holder,
        retry_after: Option<Duration>,
        error: impl FnOnce(Duration) -> TokenError,
    ) -> Landing {
        let now = (self.clock)();
        let (error, failures) = {
            let mut memory = holder.lock();
            memory.failures = memory.failures.saturating_add(1);
            memory.failing_since.get_or_insert(now);
            let wait = pace::wait(memory.failures, retry_after, (self.spread)());
            let error = error(wait);
            memory.close(Instant::now(), wait, source.grant.asked(), error.clone());
            (error, memory.failures)
        };
        let (key, reason) = (&source.key, error.reason());
        tracing::warn!(workspace = %key.workspace, connection = %key.connection, credential = %key.credential, failures, %reason, "no access token could be obtained");
        self.sets.note_failure(key, &reason, now).await;
        Err(error)
    }

    /// Seals a set, trying a store that fails a few times. What cannot be sealed at all is taken for a failure of the store.
    pub(super) async fn written(
        &self,
        key: &TokenKey,
        set: &TokenSet,
        over: Expect,
        cause: WriteCause,
    ) -> Result<u64, NotWritten> {
        let mut tried = 0;
        loop {
            let value = set.to_secret().map_err(|error| {
                NotWritten::Unavailable(crate::credentials::CredentialsUnavailable(Box::new(error)))
            })?;
            let write = Write {
                value,
                over,
                cause,
                by: set
                    .consent
                    .as_ref()
                    .filter(|_| cause == WriteCause::Set)
                    .map(|consent| consent.by.clone()),
                at: (self.clock)(),
                ends_at: ends_at(set),
            };
            match self.sets.write(key, write).await {
                Err(NotWritten::Unavailable(_)) if tried + 1 < WRITES_MAX => {
                    tokio::time::sleep(WRITE_AGAIN * (1 << tried)).await;
                    tried += 1;
                }
                written => return written,
            }
        }
    }
}

/// When a person has to act: at the end of the refresh token where the server says it, or of an access token that nothing
/// renews.
fn ends_at(set: &TokenSet) -> Option<Timestamp> {
    set.consent.as_ref()?;
    if set.is_renewable() {
        set.refresh_expires_at
    } else {
        set.expires_at
    }
}

/// The set with the answer in it. A refresh token that the answer does not replace stays (RFC 6749 section 6).
fn renewed(before: Option<TokenSet>, granted: Granted, source: &TokenSource, now: Timestamp) -> TokenSet {
    let before = before.filter(|set| set.bound_to == source.grant.bound_to());
    let mut set = issued(granted, source, now);
    let Some(before) = before.filter(|_| source.grant.grant == OAuth2GrantKind::AuthorizationCode) else {
        // RFC 6749 section 4.4.3: a client that can ask by itself needs no refresh token, and keeps none.
        (set.refresh_token, set.refresh_expires_at) = (None, None);
        return set;
    };
    if set.refresh_token.is_none() {
        set.refresh_token = before.refresh_token;
        set.refresh_expires_at = set.refresh_expires_at.or(before.refresh_expires_at);
    }
    set.scopes = before.scopes;
    set.consent = before.consent;
    set
}

/// A set made of an answer alone.
pub(super) fn issued(granted: Granted, source: &TokenSource, now: Timestamp) -> TokenSet {
    TokenSet {
        access_token: Some(granted.access_token),
        refresh_token: granted.refresh_token,
        expires_at: granted.lives.map(|lives| now.after(lives)),
        refresh_expires_at: granted.refresh_lives.map(|lives| now.after(lives)),
        scopes: granted.scopes,
        ..TokenSet::empty(source.grant.bound_to(), source.grant.asked(), now)
    }
}
