//! What a call may reach, made for each attempt: the gate with the connection's passport, its settings, its credentials'
//! existence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::attempt::Exchange;
use cofferdam_domain::{Connection, Timestamp, UpstreamName};
use cofferdam_egress::{
    Destination, Gate, GuestRequest, GuestResponse, HttpError as GateError, Passport, Route, Trail,
};
use cofferdam_host::{Connector, Environment, HttpDestination, HttpError, HttpRequest, HttpResponse, SendFuture};
use cofferdam_queue::Leased;
use cofferdam_vault::Vault;

use crate::app::App;

/// What `sink.deliver` gets.
pub(super) struct GateEnvironment {
    gate: Arc<Gate>,
    vault: Arc<Vault>,
    passport: Passport,
    settings: String,
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
                Some((name.clone(), Route::new(grant, asked)))
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
            passport,
            settings: settings(connection),
        }
    }

    /// Everything that left or was refused so far.
    pub(super) fn trail(&self) -> Vec<Exchange> {
        self.passport.trail.exchanges()
    }
}

impl Environment for GateEnvironment {
    fn send(&self, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move { to_host(self.gate.send(&self.passport, to_gate(request)).await) })
    }

    fn send_to(&self, destination: HttpDestination, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            let destination = Destination {
                scheme: destination.scheme,
                authority: destination.authority,
                path_with_query: destination.path_with_query,
            };
            let sent = self.gate.send_to(&self.passport, &destination, to_gate(request));
            to_host(sent.await)
        })
    }

    fn settings(&self) -> &str {
        &self.settings
    }

    fn credential_exists(&self, upstream: &str) -> bool {
        let route = upstream
            .parse()
            .ok()
            .and_then(|name: UpstreamName| self.passport.routes.get(&name));
        let Some(credential) = route.and_then(|route| route.credential.as_ref()) else {
            return false;
        };
        self.vault
            .exists(&self.passport.workspace, &self.passport.connection, credential)
            .unwrap_or(false)
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
                code: "no-requests-in-receive".to_owned(),
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
