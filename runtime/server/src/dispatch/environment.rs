//! What a call may reach, made for each attempt: the gate with the connection's passport, its settings, its credentials'
//! existence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::attempt::Exchange;
use cofferdam_domain::state::StateView;
use cofferdam_domain::{Connection, CredentialName, CredentialSlot, Timestamp, UpstreamName};
use cofferdam_egress::{
    Account, AnswerAccount, Destination, Gate, GuestRequest, GuestResponse, HttpError as GateError, OAuth2, Passport,
    RefusalCode, Route, Trail,
};
use cofferdam_host::{
    CallMemory, Connector, Environment, HttpDestination, HttpError, HttpRequest, HttpResponse, SendFuture,
};
use cofferdam_queue::Leased;
use cofferdam_vault::Vault;

use crate::app::App;
use crate::budgets;

/// What `sink.deliver` and `poller.poll` get.
pub(super) struct GateEnvironment {
    gate: Arc<Gate>,
    vault: Arc<Vault>,
    oauth2: OAuth2,
    passport: Passport,
    settings: String,
    state: Option<Mutex<StateView>>,
}

impl GateEnvironment {
    pub(super) fn new(
        app: &App,
        connection: &Connection,
        connector: &Connector,
        leased: &Leased,
        deadline: Timestamp,
    ) -> Self {
        // A route needs both: the connector asks, the admin grants.
        let routes: BTreeMap<UpstreamName, Route> = connection
            .spec
            .upstreams
            .iter()
            .filter_map(|(name, grant)| {
                let asked = connector.descriptor.upstream(name)?;
                let mut route = Route::new(grant, asked);
                route.limits = budgets::limits(app, connection, grant);
                Some((name.clone(), route))
            })
            .collect();
        let passport = Passport {
            workspace: connection.workspace.clone(),
            connection: connection.spec.name.clone(),
            routes: Arc::new(routes),
            request_timeout: Duration::ZERO,
            response_bytes_max: 0,
            idempotency_key: Some(leased.delivery.idempotency_key.clone()),
            trace: leased.attempt.trace,
            deadline,
            trail: Trail::default(),
        }
        .limited_by(&connection.spec.policy);
        Self {
            gate: Arc::clone(&app.gate),
            vault: Arc::clone(&app.vault),
            oauth2: app.oauth2.clone(),
            passport,
            settings: settings(connection),
            state: None,
        }
    }

    /// With the connection's state as this call is to see it.
    pub(super) fn with_view(mut self, view: Option<StateView>) -> Self {
        self.state = view.map(Mutex::new);
        self
    }

    /// Looks at what the call has made of the state.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(Option<&StateView>) -> T) -> T {
        let view = self
            .state
            .as_ref()
            .map(|state| state.lock().unwrap_or_else(PoisonError::into_inner));
        look(view.as_deref())
    }

    /// Everything that left or was refused so far.
    pub(super) fn trail(&self) -> Vec<Exchange> {
        self.passport.trail.exchanges()
    }
}

impl Environment for GateEnvironment {
    fn send(&self, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            let passport = self.passport.put_off(request.deadline_moved);
            to_host(self.gate.send(&passport, to_gate(request)).await)
        })
    }

    fn send_to(&self, destination: HttpDestination, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            let destination = Destination {
                scheme: destination.scheme,
                authority: destination.authority,
                path_with_query: destination.path_with_query,
            };
            let passport = self.passport.put_off(request.deadline_moved);
            let sent = self.gate.send_to(&passport, &destination, to_gate(request));
            to_host(sent.await)
        })
    }

    fn state(&self) -> Option<&Mutex<StateView>> {
        self.state.as_ref()
    }

    fn settings(&self) -> &str {
        &self.settings
    }

    fn credential_exists(&self, upstream: &str) -> bool {
        let name: Option<UpstreamName> = upstream.parse().ok();
        let Some(route) = name.as_ref().and_then(|name| self.passport.routes.get(name)) else {
            return false;
        };
        let is_set = |credential: &CredentialName| {
            self.vault
                .exists(&self.passport.workspace, &self.passport.connection, credential)
                .unwrap_or(false)
        };
        let certificate = route.tls.client_certificate.as_ref();
        let attached = match (&route.slot, &route.credential) {
            (CredentialSlot::None, _) => certificate.is_some(),
            (CredentialSlot::OAuth2(_), _) => self
                .passport
                .token_source(upstream, route)
                // A token need not be there yet: the host obtains it when it is used.
                .is_some_and(|source| self.oauth2.status(&source).state.is_usable()),
            (_, Some(credential)) => is_set(credential),
            (_, None) => false,
        };
        attached && certificate.is_none_or(is_set)
    }
}

fn to_gate(request: HttpRequest) -> GuestRequest {
    GuestRequest {
        upstream: request.upstream,
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers,
        body: request.body.into(),
        timeout: request.timeout,
        account: AnswerAccount::new(Arc::new(OfCall(request.memory))),
    }
}

/// An answer counts as its call's memory while the gate holds it.
struct OfCall(CallMemory);

impl Account for OfCall {
    fn take(&self, bytes: usize) -> bool {
        self.0.hold(bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.0.release(bytes);
    }
}

fn to_host(sent: Result<GuestResponse, GateError>) -> Result<HttpResponse, HttpError> {
    sent.map(|response| HttpResponse {
        status: response.status,
        headers: response.headers,
        body: response.body.into(),
    })
    .map_err(error_to_host)
}

fn error_to_host(error: GateError) -> HttpError {
    match error {
        GateError::Refused(refusal) => HttpError::Refused {
            code: refusal.code.code().to_owned(),
            message: refusal.message,
        },
        GateError::RateLimited { wait } => HttpError::RateLimited {
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        },
        GateError::TimedOut { request_sent } => HttpError::TimedOut { request_sent },
        GateError::Unreachable(message) => HttpError::Unreachable(message),
        GateError::Interrupted(message) => HttpError::Interrupted(message),
        GateError::ResponseTooLarge(bytes_max) => HttpError::ResponseTooLarge { bytes_max },
        GateError::ProtocolError(message) => HttpError::ProtocolError(message),
    }
}

/// What `source.receive` gets: the provider waits for the answer, so there is no way out.
pub(super) struct SettingsOnly {
    settings: String,
}

impl SettingsOnly {
    pub(super) fn of(connection: &Connection) -> Self {
        Self {
            settings: settings(connection),
        }
    }
}

impl Environment for SettingsOnly {
    fn send(&self, _request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async {
            Err(HttpError::Refused {
                code: RefusalCode::NoRequestsInReceive.code().to_owned(),
                message: "`receive` sends nothing: the provider waits for its answer; do it in `deliver`".to_owned(),
            })
        })
    }

    fn settings(&self) -> &str {
        &self.settings
    }

    fn credential_exists(&self, _upstream: &str) -> bool {
        false
    }
}

fn settings(connection: &Connection) -> String {
    serde_json::Value::Object(connection.spec.settings.clone()).to_string()
}
