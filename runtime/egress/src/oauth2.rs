//! Access tokens of OAuth 2.0: obtained, renewed and kept by the host (RFC 6749, with RFC 9700's practice).
//!
//! [`OAuth2`] hands the gate an access token and sees to it that there is one. What it promises:
//! - **One request at a time for each credential.** However many calls need a token, one request is made; it runs in a task
//!   of its own, so a caller that goes away cancels it for nobody. Every caller then reads what is in the vault.
//! - **Durable before it is used.** An answer is sealed in the vault before any token of it is handed out, so that a refresh
//!   token that the server has rotated is never known to this process's memory alone. Written over exactly what was read:
//!   a consent that comes meanwhile stands.
//! - **A no is asked once.** `invalid_grant` ends the consent, durably; any other no for good stands until what is asked or
//!   the client's secret changes. Until then nothing is sent, and each use is a refusal that parks the lane.
//! - **No storm.** A server that fails is left alone, longer each time; a token that is still good is used meanwhile. A 401
//!   from the API renews a token once: when the renewed one gets a 401 as well, it is not the token's age.
//!
//! What a crash leaves: the process that dies after the server has rotated a refresh token and before the answer is durable
//! has lost the new one. Servers that allow for that accept the old one for some time; with the others the next refresh is
//! an `invalid_grant`, and a person has to consent again. The same holds for an answer that is lost on the network.
//!
//! Token requests are made by this engine and pass the same resolve-check-dial as a guest's (`endpoint.rs`). They do not
//! count against the connection's rate and leave no exchange in a trail.

mod consent;
mod endpoint;
mod error;
mod flight;
mod holder;
mod refused;
mod request;
mod sets;
mod source;
mod standing;
mod status;
mod token_set;

mod pace;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::connection::OAuth2GrantKind;
use cofferdam_domain::{ConnectionName, CredentialName, Timestamp, WorkspaceName};
use cofferdam_vault::{Edition, Secret};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::endpoint::{TokenEndpoint, Wire};
use self::error::TokenError;
use self::flight::Cause;
use self::holder::Holder;
use self::standing::{Circumstances, Standing, standing};
use self::token_set::{Token, TokenSet};
use crate::credentials::{AccessTokenFuture, Credentials, CredentialsUnavailable, RenewalFuture};
use crate::gate::GateError;
use crate::gate::attach::Needles;
use crate::gate::channel::Channels;
use crate::gate::resolve::Resolver;

pub use self::consent::{BadRedirectUri, ConsentCode, ConsentFailed, ConsentRequest};
pub use self::refused::TokenRefusal;
use self::sets::TokenSets;
pub use self::source::{TokenKey, TokenSource};
pub use self::status::{TokenState, TokenStatus};
pub use self::token_set::Consent;
pub(crate) use self::token_set::is_token_set;

/// Most token requests at once, over all connections.
const REQUESTS_MAX: usize = 64;

/// Most of them of one connection, so that a server that never answers holds up nobody else's.
const OWN_REQUESTS_MAX: usize = 2;

/// Connections whose share is remembered before those that nobody waits for are forgotten.
const SHARES_MAX: usize = 1024;

/// Most token sets that the process remembers more of than what lies in the vault.
const HOLDERS_MAX: usize = 8192;

/// For so long a token that was renewed because of a 401 is not renewed again for one.
const RENEWED_ENOUGH: Duration = Duration::from_secs(60);

/// A consent that nobody uses is renewed as often all the same: servers end a refresh token that was long unused.
const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How often a token that was just obtained is looked at before it is given up: it may live for seconds only.
const LOOKS_MAX: usize = 3;

/// What the engine is made of.
pub struct OAuth2Config {
    /// Where secrets and token sets are kept.
    pub vault: Arc<cofferdam_vault::Vault>,
    /// Where names are looked up.
    pub resolver: Arc<dyn Resolver>,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// Addresses that this process listens on; never dialled.
    pub own_listeners: Vec<SocketAddr>,
}

/// An access token for one request.
pub struct AccessToken {
    pub(crate) value: Token,
    /// What must not come back with the answer: this token, the refresh token, the client's secret.
    pub(crate) needles: Needles,
    edition: Option<Edition>,
    source: Arc<TokenSource>,
}

/// Obtains access tokens. Clones share everything.
#[derive(Clone)]
pub struct OAuth2 {
    inner: Arc<Inner>,
}

struct Inner {
    stored: Arc<dyn Credentials>,
    sets: Arc<dyn TokenSets>,
    endpoint: Box<dyn TokenEndpoint>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Draws from 0 to 1.
    spread: fn() -> f64,
    holders: Mutex<HashMap<TokenKey, Arc<Holder>>>,
    requests: Semaphore,
    shares: Mutex<HashMap<(WorkspaceName, ConnectionName), Arc<Semaphore>>>,
}

/// What lies in the vault, and how it stands.
struct Seen {
    set: Option<TokenSet>,
    /// None without a set.
    edition: Option<Edition>,
    secret: Option<Secret>,
    secret_version: u64,
    standing: Standing,
}

impl OAuth2 {
    /// An engine with no request under way.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: OAuth2Config) -> Result<Self, GateError> {
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(config.clock);
        let endpoint = Wire {
            channels: Channels::new().map_err(GateError::Tls)?,
            resolver: config.resolver,
            own_listeners: config.own_listeners,
            clock: Arc::clone(&clock),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                stored: Arc::clone(&config.vault) as _,
                sets: config.vault,
                endpoint: Box::new(endpoint),
                clock,
                spread: || rand::random::<f64>(),
                holders: Mutex::default(),
                requests: Semaphore::new(REQUESTS_MAX),
                shares: Mutex::default(),
            }),
        })
    }

    /// Renews what is due of these, in tasks that go on after this returns: tokens that were used since they were obtained,
    /// and each consent at least once a day.
    pub fn keep(&self, sources: impl IntoIterator<Item = TokenSource>) {
        for source in sources {
            let source = Arc::new(source);
            let Ok(seen) = self.inner.look(&source) else {
                continue;
            };
            let holder = self.inner.holder(&source.key);
            let idle = seen.set.as_ref().is_some_and(|set| {
                source.grant.grant == OAuth2GrantKind::AuthorizationCode
                    && (self.inner.clock)().since(set.obtained_at) >= IDLE_MAX
            });
            let wanted = holder.lock().used || idle;
            if wanted && matches!(seen.standing, Standing::Due | Standing::Lapsed) {
                // While the server is left alone, the next round comes soon enough.
                let _ = self.inner.start(&source, &holder, Cause::Needed);
            }
        }
    }

    /// Forgets what the process remembers of a connection's tokens: the connection was deleted.
    pub fn forget(&self, workspace: &WorkspaceName, connection: &ConnectionName) {
        let mut holders = self.inner.holders();
        holders.retain(|key, _| key.workspace != *workspace || key.connection != *connection);
    }

    /// Waits until no request is under way. What is still on its way then may be lost: see the module's words on crashes.
    pub async fn settled(&self) {
        loop {
            let flights = self
                .inner
                .holders()
                .values()
                .find_map(|holder| holder.lock().flight.clone());
            let Some(mut landed) = flights else {
                return;
            };
            let _ = landed.wait_for(Option::is_some).await;
            // The flight takes itself away after it has said how it ended.
            tokio::task::yield_now().await;
        }
    }

    async fn obtained(&self, source: Arc<TokenSource>) -> Result<AccessToken, TokenError> {
        let holder = self.inner.holder(&source.key);
        for _ in 0..LOOKS_MAX {
            let seen = self.inner.look(&source)?;
            match seen.standing {
                Standing::Good => {}
                Standing::Due => {
                    let _ = self.inner.start(&source, &holder, Cause::Needed);
                }
                Standing::Lapsed => {
                    self.inner.land(&source, &holder, Cause::Needed).await?;
                    continue;
                }
                Standing::ConsentNeeded(why) => return Err(TokenError::ConsentNeeded(why)),
                Standing::Refused(why) => return Err(TokenError::Refused(why)),
            }
            holder.lock().used = true;
            return handed_out(seen, source);
        }
        Err(TokenError::Unavailable {
            limited: false,
            reason: "its tokens end as soon as they are obtained".to_owned(),
            wait: Duration::from_secs(1),
        })
    }

    /// Another token than the one that was answered with 401; none if there is no use in trying again.
    async fn renewal(&self, token: &AccessToken) -> Result<Option<AccessToken>, TokenError> {
        let (inner, source) = (&self.inner, Arc::clone(&token.source));
        let seen = inner.look(&source)?;
        if seen.edition == token.edition {
            let holder = inner.holder(&source.key);
            let enough = holder.lock().renewed.is_some_and(|(version, at)| {
                token.edition.is_some_and(|edition| edition.version == version)
                    && Instant::now().duration_since(at) < RENEWED_ENOUGH
            });
            if enough || !inner.may_ask(&seen, &source) {
                return Ok(None);
            }
            let refused = token.edition;
            if let Err(error) = inner.land(&source, &holder, Cause::Unauthorized { refused }).await {
                return no_use(error);
            }
        }
        match self.obtained(source).await {
            Ok(other) if other.edition != token.edition => Ok(Some(other)),
            Ok(_) => Ok(None),
            Err(error) => no_use(error),
        }
    }
}

/// A no for good leaves the API's own 401 standing, which parks the lane as well; what may pass is tried again later.
fn no_use<T>(error: TokenError) -> Result<Option<T>, TokenError> {
    match error {
        TokenError::Unavailable { .. } | TokenError::Unreadable => Err(error),
        TokenError::ConsentNeeded(_)
        | TokenError::Refused(_)
        | TokenError::Blocked(_)
        | TokenError::SecretMissing
        | TokenError::NotATokenSet => Ok(None),
    }
}

fn handed_out(seen: Seen, source: Arc<TokenSource>) -> Result<AccessToken, TokenError> {
    let set = seen.set.ok_or(TokenError::NotATokenSet)?;
    let value = set.access_token.ok_or(TokenError::NotATokenSet)?;
    let mut needles: Needles = vec![Zeroizing::new(value.expose().as_bytes().to_vec())];
    needles.extend(
        set.refresh_token
            .map(|token| Zeroizing::new(token.expose().as_bytes().to_vec())),
    );
    needles.extend(seen.secret.map(|secret| Zeroizing::new(secret.expose().to_vec())));
    Ok(AccessToken {
        value,
        needles,
        edition: seen.edition,
        source,
    })
}

impl Inner {
    fn holders(&self) -> std::sync::MutexGuard<'_, HashMap<TokenKey, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holder(&self, key: &TokenKey) -> Arc<Holder> {
        let mut holders = self.holders();
        if let Some(holder) = holders.get(key) {
            return Arc::clone(holder);
        }
        if holders.len() >= HOLDERS_MAX {
            let now = Instant::now();
            // Whoever holds one goes on with it.
            holders.retain(|_, holder| Arc::strong_count(holder) > 1 || !holder.lock().is_idle(now));
        }
        Arc::clone(holders.entry(key.clone()).or_default())
    }

    fn look(&self, source: &TokenSource) -> Result<Seen, TokenError> {
        let unreadable = |error: CredentialsUnavailable| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                workspace = %source.key.workspace,
                connection = %source.key.connection,
                "a credential could not be read"
            );
            TokenError::Unreadable
        };
        let kept = self.sets.read(&source.key).map_err(unreadable)?;
        let secret = match source.client_secret() {
            Some(key) => self.sets.read(&key).map_err(unreadable)?,
            None => None,
        };
        let set = match &kept {
            Some(kept) => Some(TokenSet::parse(&kept.value).map_err(|_| TokenError::NotATokenSet)?),
            None => None,
        };
        let edition = kept.map(|kept| kept.edition);
        let secret_version = secret.as_ref().map_or(0, |kept| kept.edition.version);
        let seen = Circumstances {
            grant: &source.grant,
            secret_version,
            now: (self.clock)(),
            spread: spread(&source.key, edition),
        };
        Ok(Seen {
            standing: standing(set.as_ref(), &seen),
            set,
            edition,
            secret: secret.map(|kept| kept.value),
            secret_version,
        })
    }

    /// Whether the server may be asked for another token although there is one.
    fn may_ask(&self, seen: &Seen, source: &TokenSource) -> bool {
        let of_client = source.grant.grant == OAuth2GrantKind::ClientCredentials;
        let asked = source.grant.asked();
        let refused = seen.set.as_ref().and_then(|set| set.refused);
        let refused = refused.is_some_and(|no| no.asked == asked && no.secret_version == seen.secret_version);
        !refused && (of_client || seen.set.as_ref().is_some_and(TokenSet::is_renewable))
    }
}

/// 0 to 1, the same at every look at one token and another for the next.
fn spread(key: &TokenKey, edition: Option<Edition>) -> f64 {
    let mut hasher = DefaultHasher::new();
    (key, edition.map(|edition| edition.version)).hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() & 0xffff).unwrap_or(0)) / f64::from(u16::MAX)
}

impl Credentials for OAuth2 {
    fn reveal(
        &self,
        workspace: &WorkspaceName,
        connection: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        self.inner.stored.reveal(workspace, connection, credential)
    }

    fn access_token(&self, source: TokenSource) -> AccessTokenFuture<'_> {
        Box::pin(async move { Ok(self.obtained(Arc::new(source)).await?) })
    }

    fn renewed<'a>(&'a self, token: &'a AccessToken) -> RenewalFuture<'a> {
        Box::pin(async move { Ok(self.renewal(token).await?) })
    }
}

#[cfg(test)]
mod tests;
