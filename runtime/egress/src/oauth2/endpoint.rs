//! Posts one token request: resolved, checked, dialled and bounded by the same code as a guest's requests.
//!
//! A token endpoint is named by an admin and not by a guest, but a name that leads into a blocked network is no less an
//! attack for that. Clients are this engine's own: no connection is shared with what a guest sends.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::budget::Limits;
use cofferdam_domain::connection::BaseUrl;
use cofferdam_domain::{CredentialSlot, Timestamp, TraceContext, UpstreamTls};
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::source::TokenSource;
use crate::account::AnswerAccount;
use crate::exchange::{GuestRequest, HttpError};
use crate::gate::budget::feedback::retry_after_ms;
use crate::gate::channel::{ChannelKey, Channels};
use crate::gate::record::{Origin, Trail, opening};
use crate::gate::resolve::{self, Resolver};
use crate::gate::wire;
use crate::passport::Route;

/// Largest answer of a token endpoint, in bytes.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Longest wall time of one token request. Longer than a call may wait: a request that is given up may have been answered,
/// and what was in the answer is lost.
pub(crate) const TOKEN_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A token request under way.
pub(crate) type Posting<'a> = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse, EndpointError>> + Send + 'a>>;

/// Whatever token requests are posted to.
pub(crate) trait TokenEndpoint: Send + Sync {
    /// Sends `request`, which was built for `source`, once.
    fn post<'a>(&'a self, source: &'a TokenSource, request: oauth2::HttpRequest) -> Posting<'a>;
}

/// Why there is no answer that says yes or no. The texts are our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// The address may not be dialled; an admin has to change that.
    Blocked(String),
    /// Nothing has left.
    Unreachable(String),
    /// No whole answer came; it may have been taken.
    Unanswered(String),
    /// It answered, neither yes nor no.
    Status { status: u16, retry_after: Option<Duration> },
}

impl fmt::Display for EndpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(problem) | Self::Unreachable(problem) | Self::Unanswered(problem) => out.write_str(problem),
            Self::Status { status, .. } => write!(out, "it answered {status}"),
        }
    }
}

impl std::error::Error for EndpointError {}

/// The real one.
pub(crate) struct Wire {
    pub channels: Channels,
    pub resolver: Arc<dyn Resolver>,
    pub own_listeners: Vec<SocketAddr>,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl TokenEndpoint for Wire {
    fn post<'a>(&'a self, source: &'a TokenSource, request: oauth2::HttpRequest) -> Posting<'a> {
        Box::pin(async move {
            let sending = self.send(source, request);
            match tokio::time::timeout(TOKEN_REQUEST_TIMEOUT, sending).await {
                Ok(answered) => answered,
                Err(_) => Err(EndpointError::Unanswered("it did not answer in time".to_owned())),
            }
        })
    }
}

impl Wire {
    async fn send(
        &self,
        source: &TokenSource,
        mut request: oauth2::HttpRequest,
    ) -> Result<oauth2::HttpResponse, EndpointError> {
        let url = source.grant.token_url.as_url();
        let route = route(source)?;
        let key = ChannelKey {
            workspace: source.key.workspace.clone(),
            connection: source.key.connection.clone(),
            upstream: source.upstream.clone(),
            origin: None,
        };
        let channel = self
            .channels
            .of(key, &route)
            .map_err(|_| EndpointError::Unreachable("the host could not make an HTTP client".to_owned()))?;
        let addresses = match channel.pinned.fresh(Instant::now()) {
            Some(addresses) => addresses,
            None => {
                let rules = resolve::Rules {
                    resolver: self.resolver.as_ref(),
                    granted: &route.networks,
                    own: &self.own_listeners,
                };
                let addresses = resolve::checked(url, &rules).await.map_err(not_dialled)?;
                channel.pinned.pin(Instant::now(), addresses.clone());
                addresses
            }
        };
        // `localhost` is whatever the resolver says that it is.
        if url.scheme() != "https" && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(EndpointError::Blocked(
                "it is http and not on this machine; secrets go there over https only".to_owned(),
            ));
        }
        if let Some(basic) = request.headers_mut().get_mut(AUTHORIZATION) {
            basic.set_sensitive(true);
        }
        let trace = TraceContext::mint(&mut rand::rng());
        let opening = opening(&GuestRequest::default(), trace, (self.clock)());
        let entry = Trail::default()
            .enter(opening, Origin::Guest)
            .expect("a trail of its own has room for its first exchange");
        let client = channel
            .client(None)
            .map_err(|_| EndpointError::Unreachable("the host could not make an HTTP client".to_owned()))?;
        let line = wire::Line {
            client: &client,
            pinned: &channel.pinned,
        };
        let reading = wire::Reading {
            body_bytes_max: ANSWER_BYTES_MAX,
            scanner: None,
            // No guest's: it is the host's own request.
            account: &AnswerAccount::default(),
        };
        let answer = wire::exchange(line, request.map(Into::into), reading, &entry)
            .await
            .map_err(not_answered)?;
        if let 300..=399 | 404..=599 | 100..=199 = answer.status {
            let retry_after = retry_after_ms(&answer.headers, (self.clock)()).map(Duration::from_millis);
            return Err(EndpointError::Status {
                status: answer.status,
                retry_after,
            });
        }
        let mut response = http::Response::new(answer.body.to_vec());
        *response.status_mut() = http::StatusCode::from_u16(answer.status)
            .map_err(|_| EndpointError::Unanswered("it did not answer in HTTP".to_owned()))?;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// A route to the token endpoint, which takes nothing of the upstream's own.
fn route(source: &TokenSource) -> Result<Route, EndpointError> {
    let mut origin = source.grant.token_url.as_url().clone();
    origin.set_query(None);
    let base_url: BaseUrl = origin
        .as_str()
        .parse()
        .map_err(|_| EndpointError::Unreachable("its URL is not HTTP".to_owned()))?;
    Ok(Route {
        base_url,
        methods: Vec::new(),
        path_prefixes: Vec::new(),
        slot: CredentialSlot::None,
        credential: None,
        signature: None,
        networks: source.grant.networks.clone(),
        limits: Limits::default(),
        share: None,
        redirects: 0,
        redirect_origins: Vec::new(),
        tls: UpstreamTls::default(),
        oauth2: None,
    })
}

fn not_dialled(error: HttpError) -> EndpointError {
    match error {
        HttpError::Refused(refusal) => EndpointError::Blocked(refusal.message),
        other => EndpointError::Unreachable(reason(other)),
    }
}

fn not_answered(error: HttpError) -> EndpointError {
    match error {
        HttpError::Refused(refusal) => EndpointError::Blocked(refusal.message),
        HttpError::Unreachable(reason) => EndpointError::Unreachable(reason),
        HttpError::TimedOut { request_sent: false } => EndpointError::Unreachable("it did not answer in time".into()),
        other => EndpointError::Unanswered(reason(other)),
    }
}

fn reason(error: HttpError) -> String {
    match error {
        HttpError::Unreachable(reason) | HttpError::Interrupted(reason) | HttpError::ProtocolError(reason) => reason,
        HttpError::ResponseTooLarge(bytes) => format!("its answer is larger than {bytes} bytes"),
        HttpError::TimedOut { .. } | HttpError::RateLimited { .. } => "it did not answer in time".to_owned(),
        HttpError::Refused(refusal) => refusal.message,
    }
}
