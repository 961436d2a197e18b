//! One function sends everything that a guest may send: [`Gate::send`].
//!
//! Each step is a file below, and their order is the promise: nothing is looked up before the request is known to be
//! granted, and no credential is read before everything else has said yes. A step refuses with a reason of its own.

mod address;
pub(crate) mod answer;
pub(crate) mod attach;
pub(crate) mod channel;
mod grant;
pub(crate) mod headers;
pub(crate) mod origin;
pub(crate) mod record;
mod reflect;
pub(crate) mod resolve;
mod target;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_domain::limits::REQUEST_BYTES_MAX;
use cofferdam_domain::{CredentialSlot, ExchangeResult, Timestamp, TraceContext};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use self::attach::{Needles, Outbound};
use self::channel::{Channel, ChannelKey, Channels};
use self::record::{Entry, is_change};
use self::reflect::Scanner;
use crate::credentials::Credentials;
use crate::exchange::{GuestRequest, GuestResponse, HttpError};
use crate::oauth2::{AccessToken, is_token_set};
use crate::passport::{Passport, Route};
use crate::refusal::{Refusal, RefusalCode};

/// What a gate is made of.
pub struct GateConfig {
    /// Where credentials are read.
    pub credentials: Arc<dyn Credentials>,
    /// Where names are looked up.
    pub resolver: Arc<dyn resolve::Resolver>,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// Addresses that this process listens on; never dialled, whatever is granted.
    pub own_listeners: Vec<SocketAddr>,
}

/// A gate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The TLS library does not work.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

/// The only way out for guests. One per process; shared.
pub struct Gate {
    config: GateConfig,
    channels: Channels,
}

impl Gate {
    /// A gate with no connection open yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: GateConfig) -> Result<Self, GateError> {
        Ok(Self {
            config,
            channels: Channels::new().map_err(GateError::Tls)?,
        })
    }

    /// Checks one request, sends it, and hands the whole answer back.
    ///
    /// Whatever happens is in the passport's trail when this returns. It is cancel-safe: dropped, it leaves the exchange
    /// in flight in the trail and closes the connection it used.
    ///
    /// # Errors
    /// Every [`HttpError`]; a refusal and `Unreachable` promise that nothing has left, or that the upstream has answered it
    /// with 401 and so not acted on it.
    pub async fn send(&self, passport: &Passport, request: GuestRequest) -> Result<GuestResponse, HttpError> {
        let now = (self.config.clock)();
        let trace = passport.trace.child(&mut rand::rng());
        let entry = passport.trail.enter(record::opening(&request, trace, now))?;
        let span = tracing::debug_span!(
            "gate.send",
            workspace = %passport.workspace,
            connection = %passport.connection,
            span_id = trace.span_id(),
        );
        let timeout = passport.timeout(request.timeout, now);
        let passed = if timeout.is_zero() {
            // A timer is looked at after the work it bounds: without time, nothing may begin.
            Err(HttpError::TimedOut { request_sent: false })
        } else {
            let passing = self.pass(passport, request, trace, &entry).instrument(span);
            let passed = tokio::time::timeout(timeout, passing).await;
            let request_sent = entry.sent().is_set();
            passed.unwrap_or(Err(HttpError::TimedOut { request_sent }))
        };
        match passed {
            Ok((response, result)) => {
                entry.close(result);
                Ok(response)
            }
            Err(error) => {
                tracing::debug!(%error, "a guest's request did not come through");
                entry.close(error.clone().into_result());
                Err(error)
            }
        }
    }

    async fn pass(
        &self,
        passport: &Passport,
        request: GuestRequest,
        trace: TraceContext,
        entry: &Entry,
    ) -> Result<(GuestResponse, ExchangeResult), HttpError> {
        // What the guest wrote, against what was granted.
        let route = grant::route(passport, &request.upstream)?;
        let query = request.query.as_deref();
        let method = grant::method(route, &request.method)?;
        let mut url = target::rebuild(&route.base_url, &request.path, query)?;
        let prefix = grant::path_prefix(route, &request.path)?;
        entry.note(|exchange| prefix.clone_into(&mut exchange.path_prefix));
        let mut headers = headers::check(&request.headers, &route.slot)?;
        headers::check_query(query, &route.slot)?;
        check_size(&request.body)?;

        // Where it leads.
        let channel = self.channel(passport, &request.upstream, route)?;
        let addresses = self.addresses(&channel, &url, route, entry).await?;

        // What the host says about itself.
        headers.insert(HeaderName::from_static("traceparent"), text(&trace.to_string()));
        let message_id = match &passport.idempotency_key {
            Some(key) => entry.idempotency_key(key),
            None => trace.span_id(),
        };
        if passport.idempotency_key.is_some() && is_change(method.as_str()) {
            headers.insert(HeaderName::from_static("idempotency-key"), text(&message_id));
        }

        // The credential, last.
        let outbound = Outbound {
            headers: &mut headers,
            url: &mut url,
            body: &request.body,
            message_id: &message_id,
            now: (self.config.clock)(),
        };
        let needles = self.attach(passport, route, &addresses, outbound)?;
        let token = self
            .access_token(passport, &request.upstream, route, &addresses, &url)
            .await?;
        let mut scanner = match &token {
            Some(token) => {
                attach::bearer(&mut headers, token)?;
                scanner(&token.needles)?
            }
            None => scanner(&needles)?,
        };
        if scanner.is_some() {
            entry.note(|exchange| exchange.credential = Some(attach::slot_label(&route.slot)));
        }

        let mut wired = http::Request::new(request.body);
        *wired.method_mut() = method;
        *wired.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| Refusal::new(RefusalCode::BadPath, "path and query do not make a URI (RFC 3986)"))?;
        *wired.headers_mut() = headers;
        let again = token.is_some().then(|| wired.clone());
        let mut answer = wire::exchange(&channel, wired, passport.response_bytes_max, entry).await?;

        // Once: an upstream that does not take the second token either is handed on.
        if let (StatusCode::UNAUTHORIZED, Some(mut again), Some(token)) =
            (StatusCode::from_u16(answer.status).unwrap_or_default(), again, &token)
            && let Some(renewed) = self.config.credentials.renewed(token).await?
        {
            attach::bearer(again.headers_mut(), &renewed)?;
            let needles: Needles = token.needles.iter().chain(&renewed.needles).cloned().collect();
            scanner = self::scanner(&needles)?;
            let label = format!("{}, renewed after a 401", attach::slot_label(&route.slot));
            entry.note(|exchange| exchange.credential = Some(label));
            answer = wire::exchange(&channel, again, passport.response_bytes_max, entry).await?;
        }

        // What came back, without what went out.
        let retry_after_ms = answer::retry_after_ms(&answer.headers, (self.config.clock)());
        let cleaned = answer::clean(answer, scanner).await?;
        entry.note(|exchange| exchange.credential_reflected = cleaned.reflected);
        if cleaned.response.body.len() as u64 > passport.response_bytes_max {
            return Err(HttpError::ResponseTooLarge(passport.response_bytes_max));
        }
        let result = answer::result(&cleaned.response, retry_after_ms);
        Ok((cleaned.response, result))
    }

    fn channel(&self, passport: &Passport, upstream: &str, route: &Route) -> Result<Arc<Channel>, HttpError> {
        let key = ChannelKey {
            workspace: passport.workspace.clone(),
            connection: passport.connection.clone(),
            upstream: upstream.parse().expect("a granted upstream has a valid name"),
        };
        self.channels.of(key, route).map_err(|error| {
            let error = error.without_url();
            tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client could be made");
            HttpError::Unreachable("the host could not make an HTTP client".to_owned())
        })
    }

    async fn addresses(
        &self,
        channel: &Channel,
        url: &Url,
        route: &Route,
        entry: &Entry,
    ) -> Result<Arc<[SocketAddr]>, HttpError> {
        if let Some(addresses) = channel.pinned.fresh(Instant::now()) {
            return Ok(addresses);
        }
        let rules = resolve::Rules {
            resolver: self.config.resolver.as_ref(),
            granted: &route.networks,
            own: &self.config.own_listeners,
        };
        let addresses = resolve::checked(url, &rules).await?;
        channel.pinned.pin(Instant::now(), addresses.clone());
        entry.note(|exchange| exchange.timings.resolved_ms = Some(entry.elapsed_ms()));
        Ok(addresses)
    }

    /// Reads and attaches the credential of the route's slot, if it has one.
    fn attach(
        &self,
        passport: &Passport,
        route: &Route,
        addresses: &[SocketAddr],
        outbound: Outbound<'_>,
    ) -> Result<Needles, HttpError> {
        match route.slot {
            CredentialSlot::None | CredentialSlot::OAuth2(_) => return Ok(Needles::new()),
            CredentialSlot::Bearer
            | CredentialSlot::Basic
            | CredentialSlot::Header { .. }
            | CredentialSlot::Query(_)
            | CredentialSlot::HmacSha256 { .. }
            | CredentialSlot::StandardWebhooks => {}
        }
        check_wire(outbound.url, addresses)?;
        let missing = || {
            Refusal::new(
                RefusalCode::CredentialMissing,
                "the upstream needs a credential and none is set for it",
            )
        };
        let name = route.credential.as_ref().ok_or_else(missing)?;
        let credential = self
            .config
            .credentials
            .reveal(&passport.workspace, &passport.connection, name)
            .map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    workspace = %passport.workspace,
                    connection = %passport.connection,
                    credential = %name,
                    "a credential could not be read"
                );
                // Nothing has left and nothing is wrong with the event: it is tried again.
                HttpError::Unreachable("the host could not read the credential".to_owned())
            })?;
        let secret = credential.ok_or_else(missing)?;
        if is_token_set(secret.expose()) {
            // What it holds beside the access token is for no upstream to see.
            return Err(Refusal::new(
                RefusalCode::CredentialUnusable,
                "the credential holds OAuth 2.0 tokens, which go into the slot `oauth2` only",
            )
            .into());
        }
        Ok(attach::attach(&route.slot, &secret, outbound)?)
    }

    /// An access token, if the route's slot takes one; the host may send a request of its own to obtain it.
    async fn access_token(
        &self,
        passport: &Passport,
        upstream: &str,
        route: &Route,
        addresses: &[SocketAddr],
        url: &Url,
    ) -> Result<Option<AccessToken>, HttpError> {
        if !route.slot.is_oauth2() {
            return Ok(None);
        }
        check_wire(url, addresses)?;
        let source = passport
            .token_source(upstream, route)
            .ok_or_else(attach::not_supported)?;
        self.config.credentials.access_token(source).await.map(Some)
    }
}

/// A signature is no secret, but an answer in the clear can be forged, and the signed body be read.
fn check_wire(url: &Url, addresses: &[SocketAddr]) -> Result<(), Refusal> {
    if url.scheme() != "https" && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(Refusal::new(
            RefusalCode::CredentialOverPlainHttp,
            "a credential leaves this machine over https only; change the upstream's base URL",
        ));
    }
    Ok(())
}

fn check_size(body: &Bytes) -> Result<(), Refusal> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(Refusal::new(
            RefusalCode::RequestTooLarge,
            format!("a request body is at most {REQUEST_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// Built before anything is sent: an answer that cannot be scanned must not be asked for.
fn scanner(needles: &Needles) -> Result<Option<Scanner>, Refusal> {
    if needles.is_empty() {
        return Ok(None);
    }
    Scanner::new(needles.iter().map(|needle| needle.as_slice()))
        .map(Some)
        .map_err(|_| {
            Refusal::new(
                RefusalCode::CredentialUnusable,
                "the credential is too long to be searched for",
            )
        })
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("identifiers of the host are visible ASCII")
}

#[cfg(test)]
mod tests;
