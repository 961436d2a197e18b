//! What one call may do outside: made by the server for each attempt from what an admin wrote, out of the guest's reach.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::budget::Limits;
use cofferdam_domain::connection::signature::Signature;
use cofferdam_domain::connection::{BaseUrl, OAuth2Grant};
use cofferdam_domain::descriptor::UpstreamRequest;
use cofferdam_domain::{
    ConnectionName, CredentialName, CredentialSlot, Policy, ShareName, Timestamp, TraceContext, UpstreamGrant,
    UpstreamName, UpstreamTls, WorkspaceName,
};
use ipnet::IpNet;

use crate::gate::record::Trail;
use crate::oauth2::{TokenKey, TokenSource};

/// The upstreams that a connection may call. Made once per revision of the connection and shared by its calls.
pub type Routes = Arc<BTreeMap<UpstreamName, Route>>;

/// What one call carries to the gate.
#[derive(Clone, Debug)]
pub struct Passport {
    /// The tenant.
    pub workspace: WorkspaceName,
    /// The connection that the call belongs to.
    pub connection: ConnectionName,
    /// Where it may go.
    pub routes: Routes,
    /// Longest wall time of one request.
    pub request_timeout: Duration,
    /// Largest response body, decoded, in bytes.
    pub response_bytes_max: u64,
    /// Stable per event and connection; none for calls that deliver nothing.
    pub idempotency_key: Option<String>,
    /// The span of the attempt.
    pub trace: TraceContext,
    /// The call is ended at this time.
    pub deadline: Timestamp,
    /// What the gate writes down.
    pub trail: Trail,
}

impl Passport {
    /// Takes the two limits that the gate enforces from the connection's policy.
    #[must_use]
    pub fn limited_by(mut self, policy: &Policy) -> Self {
        self.request_timeout = Duration::from_millis(policy.request_timeout_ms);
        self.response_bytes_max = policy.response_bytes_max;
        self
    }

    /// The same, for a call whose end was put off by so much.
    pub fn put_off(&self, by: Duration) -> Cow<'_, Self> {
        if by.is_zero() {
            return Cow::Borrowed(self);
        }
        let deadline = self.deadline.after(by);
        Cow::Owned(Self {
            deadline,
            ..self.clone()
        })
    }

    /// Where the access tokens of an upstream come from; none without a credential to keep them in or a way to obtain them.
    pub fn token_source(&self, upstream: &str, route: &Route) -> Option<TokenSource> {
        Some(TokenSource {
            key: TokenKey {
                workspace: self.workspace.clone(),
                connection: self.connection.clone(),
                credential: route.credential.clone()?,
            },
            upstream: upstream.parse().ok()?,
            grant: Arc::clone(route.oauth2.as_ref()?),
        })
    }

    /// How long a request that starts now may take: the shortest of what the guest asks for, what the connection allows
    /// and what is left of the call.
    pub(crate) fn timeout(&self, asked: Option<Duration>, now: Timestamp) -> Duration {
        let allowed = self.request_timeout.min(self.deadline.since(now));
        asked.map_or(allowed, |asked| asked.min(allowed))
    }
}

/// One granted upstream, with the descriptor's wishes filled in where the admin left them standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Every request starts with it.
    pub base_url: BaseUrl,
    /// Methods that are allowed, upper case.
    pub methods: Vec<String>,
    /// Path prefixes below the base URL that are allowed; empty means any.
    pub path_prefixes: Vec<String>,
    /// Where the credential goes.
    pub slot: CredentialSlot,
    /// The credential that goes there.
    pub credential: Option<CredentialName>,
    /// How requests are signed, where the slot is `hmac`.
    pub signature: Option<Signature>,
    /// Networks that are blocked by default and allowed here.
    pub networks: Vec<IpNet>,
    /// What may be asked of it. Where it is shared, everybody who shares it is given the same.
    pub limits: Limits,
    /// The budget that it shares; none means one of its own.
    pub share: Option<ShareName>,
    /// How many redirects of one request are followed.
    pub redirects: u8,
    /// Where else than below the base URL they may lead, without the credential.
    pub redirect_origins: Vec<BaseUrl>,
    /// Whom TLS trusts, and what it shows of us.
    pub tls: UpstreamTls,
    /// How access tokens are obtained, for the slot `oauth2`.
    pub oauth2: Option<Arc<OAuth2Grant>>,
}

impl Route {
    /// The route that `grant` gives for what the descriptor asks.
    pub fn new(grant: &UpstreamGrant, asked: &UpstreamRequest) -> Self {
        let or_asked = |granted: &[String], asked: &[String]| {
            if granted.is_empty() {
                asked.to_vec()
            } else {
                granted.to_vec()
            }
        };
        let slot = grant.attach.clone().unwrap_or_else(|| asked.credential.clone());
        Self {
            base_url: grant.base_url.clone(),
            methods: or_asked(&grant.methods, &asked.methods),
            path_prefixes: or_asked(&grant.path_prefixes, &asked.path_prefixes),
            oauth2: grant.oauth2.as_ref().map(|oauth2| Arc::new(oauth2.for_slot(&slot))),
            slot,
            credential: grant.credential.clone(),
            signature: grant.signature.clone(),
            networks: grant.networks.clone(),
            limits: grant.budget.limits(),
            share: grant.budget.share.clone(),
            redirects: grant.redirects,
            redirect_origins: grant.redirect_origins.clone(),
            tls: grant.tls.clone(),
        }
    }
}

#[cfg(test)]
impl Route {
    /// A route that says nothing but where it leads.
    pub(crate) fn bare(base_url: &str) -> Self {
        Self {
            base_url: base_url.parse().expect("a base URL"),
            methods: Vec::new(),
            path_prefixes: Vec::new(),
            slot: CredentialSlot::None,
            credential: None,
            signature: None,
            networks: Vec::new(),
            limits: Limits::default(),
            share: None,
            redirects: 0,
            redirect_origins: Vec::new(),
            tls: UpstreamTls::default(),
            oauth2: None,
        }
    }
}
