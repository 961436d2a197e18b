//! One function sends everything that a guest may send: [`Gate::send`].
//!
//! Each step is a file below, and their order is the promise: nothing is looked up before the request is known to be
//! granted, and no credential is read before everything else has said yes. A step refuses with a reason of its own.

mod address;
pub(crate) mod answer;
pub(crate) mod attach;
pub(crate) mod budget;
pub(crate) mod channel;
mod decode;
mod grant;
pub(crate) mod headers;
pub(crate) mod origin;
pub(crate) mod record;
mod redirect;
pub(crate) mod reflect;
pub(crate) mod resolve;
mod target;
pub(crate) mod tls;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_domain::limits::REQUEST_BYTES_MAX;
use cofferdam_domain::{
    ConnectionName, CredentialName, CredentialSlot, ExchangeResult, Timestamp, TraceContext, WorkspaceName,
};
use cofferdam_vault::Secret;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use self::attach::{Needles, Outbound};
use self::budget::Budgets;
use self::channel::{Channel, ChannelKey, Channels};
use self::record::{Entry, Origin, is_change};
use self::redirect::{Arrived, Leg, Next};
use self::reflect::{Patterns, Scanner};
use self::tls::{Fingerprint, Identity};
use crate::account::Room;
use crate::credentials::Credentials;
use crate::exchange::{GuestRequest, GuestResponse, HttpError};
use crate::oauth2::{AccessToken, is_token_set};
use crate::passport::{Passport, Route};
use crate::refusal::{Refusal, RefusalCode};

/// Names a client certificate in a record.
const CLIENT_CERTIFICATE_LABEL: &str = "client certificate";

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
    budgets: Budgets,
}

/// What came of one leg.
struct Passed {
    response: GuestResponse,
    /// Held until the answer is handed over, or its redirect is followed.
    _room: Room,
    result: ExchangeResult,
    method: http::Method,
    /// Without a credential.
    url: Url,
    message_id: String,
    location_reflected: bool,
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
            budgets: Budgets::new(),
        })
    }

    /// Checks one request, sends it, follows redirects as far as they are granted, and hands the whole answer back.
    ///
    /// Whatever happens is in the passport's trail when this returns, each hop of a redirect as an exchange of its own. It is
    /// cancel-safe: dropped, it leaves the exchange in flight in the trail and closes the connection it used.
    ///
    /// # Errors
    /// Every [`HttpError`]; a refusal and `Unreachable` promise that nothing has left, or that the upstream has answered it
    /// with 401 and so not acted on it.
    pub async fn send(&self, passport: &Passport, request: GuestRequest) -> Result<GuestResponse, HttpError> {
        let ends = Instant::now() + passport.timeout(request.timeout, (self.config.clock)());
        let mut leg = Leg::first(request);
        let mut redirected = None;
        loop {
            let trace = passport.trace.child(&mut rand::rng());
            let origin = if leg.is_hop() { Origin::Redirect } else { Origin::Guest };
            let opening = record::opening(&leg.request, trace, (self.config.clock)());
            let passed = match passport.trail.enter(opening, origin) {
                Ok(entry) => {
                    let passed = self.hop(passport, &leg, trace, &entry, ends).await;
                    passed.map(|passed| (passed, entry))
                }
                Err(refusal) => Err(refusal.into()),
            };
            let (passed, entry) = match (passed, redirected.take()) {
                (Ok(passed), _) => passed,
                // The redirect itself was answered, and that answer is the guest's: it may go there some other way.
                (Err(HttpError::Refused(_)), Some(answer)) => return Ok(answer),
                (Err(error), _) => return Err(error),
            };
            // A redirect leads back to the same upstream or to nowhere, so its route was found before.
            let route = grant::route(passport, &leg.request.upstream)?;
            let arrived = Arrived {
                method: passed.method,
                url: passed.url,
                message_id: passed.message_id,
                response: &passed.response,
                location_reflected: passed.location_reflected,
            };
            match leg.next(route, arrived) {
                Next::Done => return Ok(passed.response),
                Next::Stop(refusal) => {
                    entry.stop(refusal, passport.trace.child(&mut rand::rng()), (self.config.clock)());
                    return Ok(passed.response);
                }
                Next::Follow(next) => {
                    redirected = Some(passed.response);
                    leg = *next;
                }
            }
        }
    }

    /// Drops what is kept of a connection that was deleted: its open connections, and the client certificates they showed.
    pub fn forget(&self, workspace: &WorkspaceName, connection: &ConnectionName) {
        self.channels.forget(workspace, connection);
    }

    /// Takes one leg within its time and completes its record.
    async fn hop(
        &self,
        passport: &Passport,
        leg: &Leg,
        trace: TraceContext,
        entry: &Entry,
        ends: Instant,
    ) -> Result<Passed, HttpError> {
        let span = tracing::debug_span!(
            "gate.send",
            workspace = %passport.workspace,
            connection = %passport.connection,
            span_id = trace.span_id(),
        );
        let passed = if Instant::now() >= ends {
            // A timer is looked at after the work it bounds: without time, nothing may begin.
            Err(HttpError::TimedOut { request_sent: false })
        } else {
            let passing = self.pass(passport, leg, trace, entry).instrument(span);
            let passed = tokio::time::timeout_at(ends, passing).await;
            let request_sent = entry.sent().is_set();
            passed.unwrap_or(Err(HttpError::TimedOut { request_sent }))
        };
        match passed {
            Ok(passed) => {
                entry.close(passed.result.clone());
                Ok(passed)
            }
            Err(error) => {
                let error = if leg.after_change { error.after_change() } else { error };
                tracing::debug!(%error, "a guest's request did not come through");
                entry.close(error.clone().into_result());
                Err(error)
            }
        }
    }

    async fn pass(
        &self,
        passport: &Passport,
        leg: &Leg,
        trace: TraceContext,
        entry: &Entry,
    ) -> Result<Passed, HttpError> {
        // What the guest wrote, or an upstream's redirect made of it, against what was granted.
        let request = &leg.request;
        let route = leg.route(grant::route(passport, &request.upstream)?);
        let route = route.as_ref();
        let query = request.query.as_deref();
        let method = grant::method(route, &request.method)?;
        let mut url = target::rebuild(&route.base_url, &request.path, query)?;
        let prefix = grant::path_prefix(route, &request.path)?;
        entry.note(|exchange| {
            exchange.path_prefix = match &leg.origin {
                Some(origin) => format!("{origin}/"),
                None => prefix.to_owned(),
            };
        });
        let mut headers = headers::check(&request.headers, &route.slot, route.signature.as_ref())?;
        headers::check_query(query, &route.slot)?;
        attach::fit(&route.slot, &headers, &mut url)?;
        check_size(&request.body)?;

        // Whether it may go now. The turn is over when the exchange is, however that ends.
        let mut turn = self.turn(passport, request, route, entry).await?;

        // Where it leads.
        let channel = self.channel(passport, leg, route)?;
        let addresses = self.addresses(&channel, &url, route, entry).await?;

        // What the host says about itself.
        headers.insert(HeaderName::from_static("traceparent"), text(&trace.to_string()));
        let message_id = match (&leg.message_id, &passport.idempotency_key) {
            (Some(earlier), _) => earlier.clone(),
            (None, Some(key)) => entry.idempotency_key(key),
            (None, None) => trace.span_id(),
        };
        // The key is for the upstream that was granted, not for where it points.
        if leg.origin.is_none() && passport.idempotency_key.is_some() && is_change(method.as_str()) {
            headers.insert(HeaderName::from_static("idempotency-key"), text(&message_id));
        }

        // The credential, last.
        let plain_url = url.clone();
        let outbound = Outbound {
            method: &method,
            headers: &mut headers,
            url: &mut url,
            body: &request.body,
            message_id: &message_id,
            now: (self.config.clock)(),
            signature: route.signature.as_ref(),
        };
        let identity = self.identity(passport, route, &channel)?;
        let needles = self.attach(passport, route, &addresses, outbound)?;
        let token = self
            .access_token(passport, &request.upstream, route, &addresses, &url)
            .await?;
        if let Some(token) = &token {
            attach::bearer(&mut headers, token)?;
        }
        let secrets = token.as_ref().map_or(&needles, |token| &token.needles);
        let mut scanner = scanner(secrets, identity.as_deref())?;
        let slot = (!secrets.is_empty()).then(|| attach::slot_label(&route.slot));
        let shown = identity.as_ref().map(|_| CLIENT_CERTIFICATE_LABEL.to_owned());
        let labels: Vec<String> = slot.into_iter().chain(shown).collect();
        if !labels.is_empty() {
            entry.note(|exchange| exchange.credential = Some(labels.join(", ")));
        }
        let client = channel.client(identity.as_ref()).map_err(|error| no_client(&error))?;

        let mut wired = http::Request::new(request.body.clone());
        *wired.method_mut() = method.clone();
        *wired.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| Refusal::new(RefusalCode::BadPath, "path and query do not make a URI (RFC 3986)"))?;
        *wired.headers_mut() = headers;
        let again = token.is_some().then(|| wired.clone());
        let line = wire::Line {
            client: &client,
            pinned: &channel.pinned,
        };
        let reading = wire::Reading {
            body_bytes_max: passport.response_bytes_max,
            scanner: scanner.as_ref(),
            account: &request.account,
        };
        let mut answer = wire::exchange(line, wired, reading, entry).await?;

        // Once: an upstream that does not take the second token either is handed on.
        if let (401, Some(mut again), Some(token)) = (answer.status, again, &token)
            && let Some(renewed) = self.config.credentials.renewed(token).await?
        {
            // It counts like any other request.
            drop(turn);
            turn = self.turn(passport, request, route, entry).await?;
            attach::bearer(again.headers_mut(), &renewed)?;
            let needles: Needles = token.needles.iter().chain(&renewed.needles).cloned().collect();
            scanner = self::scanner(&needles, identity.as_deref())?;
            let label = format!("{}, renewed after a 401", labels.join(", "));
            entry.note(|exchange| exchange.credential = Some(label));
            let reading = wire::Reading {
                body_bytes_max: passport.response_bytes_max,
                scanner: scanner.as_ref(),
                account: &request.account,
            };
            answer = wire::exchange(line, again, reading, entry).await?;
        }

        // What came back, without what went out.
        let cleaned = answer::clean(answer, scanner).await?;
        let now = (self.config.clock)();
        let retry_after_ms = match leg.origin {
            None => turn.hear(&cleaned.response, now),
            // Where a redirect led says nothing of the upstream's own limits.
            Some(_) => budget::feedback::asked_ms(&cleaned.response, now),
        };
        entry.note(|exchange| exchange.credential_reflected = cleaned.reflected);
        if cleaned.response.body.len() as u64 > passport.response_bytes_max {
            return Err(HttpError::ResponseTooLarge(passport.response_bytes_max));
        }
        Ok(Passed {
            result: answer::result(&cleaned.response, retry_after_ms),
            response: cleaned.response,
            _room: cleaned.room,
            method,
            url: plain_url,
            message_id,
            location_reflected: cleaned.location_reflected,
        })
    }

    fn channel(&self, passport: &Passport, leg: &Leg, route: &Route) -> Result<Arc<Channel>, HttpError> {
        let key = ChannelKey {
            workspace: passport.workspace.clone(),
            connection: passport.connection.clone(),
            upstream: leg
                .request
                .upstream
                .parse()
                .expect("a granted upstream has a valid name"),
            origin: leg.origin.as_ref().map(ToString::to_string),
        };
        self.channels.of(key, route).map_err(|error| no_client(&error))
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
            | CredentialSlot::StandardWebhooks
            | CredentialSlot::Hmac
            | CredentialSlot::AwsSigV4 { .. } => {}
        }
        check_wire(outbound.url, addresses)?;
        let name = route.credential.as_ref().ok_or_else(missing)?;
        let secret = self.reveal(passport, name)?.ok_or_else(missing)?;
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

    /// Reads the client certificate of the route, if it has one. One that is as it was last time is not parsed again.
    fn identity(
        &self,
        passport: &Passport,
        route: &Route,
        channel: &Channel,
    ) -> Result<Option<Arc<Identity>>, HttpError> {
        let Some(name) = &route.tls.client_certificate else {
            return Ok(None);
        };
        if !route.base_url.is_https() {
            return Err(over_plain_http().into());
        }
        let Some(secret) = self.reveal(passport, name)? else {
            channel.forget_client();
            return Err(Refusal::new(
                RefusalCode::CredentialMissing,
                "the upstream needs a client certificate and none is set for it",
            )
            .into());
        };
        if let Some(identity) = channel.identity(Fingerprint::of(&secret)) {
            return Ok(Some(identity));
        }
        channel.forget_client();
        Ok(Some(Arc::new(Identity::read(&secret)?)))
    }

    fn reveal(&self, passport: &Passport, name: &CredentialName) -> Result<Option<Secret>, HttpError> {
        let credentials = &self.config.credentials;
        credentials
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
            })
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
        return Err(over_plain_http());
    }
    Ok(())
}

fn missing() -> Refusal {
    Refusal::new(
        RefusalCode::CredentialMissing,
        "the upstream needs a credential and none is set for it",
    )
}

fn over_plain_http() -> Refusal {
    Refusal::new(
        RefusalCode::CredentialOverPlainHttp,
        "a credential leaves this machine over https only; change the upstream's base URL",
    )
}

fn no_client(error: &channel::ChannelError) -> HttpError {
    tracing::error!(error = error as &dyn std::error::Error, "no HTTP client could be made");
    HttpError::Unreachable("the host could not make an HTTP client".to_owned())
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

/// Made before anything is sent: an answer that cannot be searched must not be asked for.
fn scanner(needles: &Needles, identity: Option<&Identity>) -> Result<Option<Scanner>, Refusal> {
    let attached = if needles.is_empty() {
        None
    } else {
        let patterns = Patterns::new(needles.iter().map(|needle| needle.as_slice())).map_err(|_| {
            Refusal::new(
                RefusalCode::CredentialUnusable,
                "the credential is too long to be searched for",
            )
        })?;
        Some(Arc::new(patterns))
    };
    let shown = identity.map(|identity| identity.patterns.clone());
    Ok(Scanner::new(attached.into_iter().chain(shown)))
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("identifiers of the host are visible ASCII")
}

#[cfg(test)]
mod tests;
