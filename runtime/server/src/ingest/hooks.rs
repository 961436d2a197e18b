//! `POST /hooks/{connection}`: a provider's webhook.
//!
//! Verified by the host over the raw bytes, normalised by the source connector, accepted in one durable batch, and only
//! then acknowledged. A verified request that the connector cannot read is kept as a dead letter and acknowledged too. One that
//! no version can read now, that a version on probation could not, or that the host had too little time for waits in the
//! connection's lane. One that finds no place is
//! answered 503, and nothing of it is kept.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cofferdam_domain::classify::Failure;
use cofferdam_domain::connection::InboundGrant;
use cofferdam_domain::event::{EventDraft, NewEvent, Origin, Stamp};
use cofferdam_domain::limits::DEDUPE_WINDOW;
use cofferdam_domain::{
    Connection, ConnectionName, CorrelationId, FailureClass, Fault, FaultKind, Timestamp, WorkspaceName,
};
use cofferdam_host::{InboundRequest, Received, Reply};
use cofferdam_queue::{Accept, Owed};
use serde::Deserialize;

use super::authenticate::{authenticate, refusal};
use super::events::{EventAccepted, EventsAccepted};
use super::marks::Door;
use super::reading::{self, Place, Reading};
use super::verify::Incoming;
use super::{accept, body, raw_request, verify};
use crate::app::App;
use crate::clock::now;
use crate::dispatch::granted;
use crate::plugins::{self, Ended};
use crate::problem::Problem;
use crate::subscriptions;

/// What a provider is told to wait while a connection is off.
const DISABLED_WAIT_S: u64 = 60;

/// Which hook was called, from the path.
#[derive(Deserialize)]
pub(super) struct Hook {
    #[serde(default)]
    workspace: Option<String>,
    connection: String,
    #[serde(default)]
    rest: Option<String>,
}

pub(super) async fn receive(
    State(app): State<App>,
    Path(hook): Path<Hook>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let answered = handle(&app, &hook, query.unwrap_or_default(), request).await;
    app.metrics.count_ingest(
        "hook",
        match &answered {
            Ok(Answer::Accepted(events, _)) if !events.is_empty() && events.iter().all(|event| event.duplicate) => {
                "duplicate"
            }
            Ok(Answer::Accepted(..)) => "accepted",
            Ok(Answer::Handshake(_)) => "handshake",
            Ok(Answer::KeptRaw(_)) => "kept-raw",
            Err(problem) if problem.status == 401 => "unverified",
            Err(problem) if problem.status < 500 => "refused",
            Err(_) => "failed",
        },
    );
    let answer = match answered {
        Ok(answer) => answer,
        Err(problem) => {
            let scheme = find(&app, &hook)
                .ok()
                .and_then(|hook| Some(hook.spec.inbound.as_ref()?.scheme));
            return refusal(problem, scheme);
        }
    };
    match answer {
        Answer::Handshake(challenge) => handshake_response(&challenge),
        Answer::Accepted(_, Some(reply)) => reply_response(reply),
        Answer::Accepted(accepted, None) => {
            (StatusCode::ACCEPTED, axum::Json(EventsAccepted { accepted })).into_response()
        }
        Answer::KeptRaw(kept) => (
            StatusCode::ACCEPTED,
            axum::Json(EventsAccepted { accepted: vec![kept] }),
        )
            .into_response(),
    }
}

enum Answer {
    /// A provider's handshake, which asks to have this back.
    Handshake(String),
    Accepted(Vec<EventAccepted>, Option<Reply>),
    KeptRaw(EventAccepted),
}

async fn handle(app: &App, hook: &Hook, query: String, request: Request) -> Result<Answer, Problem> {
    // Before the body: nobody fills memory through a hook that does not exist.
    let connection = find(app, hook)?;
    let (parts, body) = request.into_parts();
    let (headers, body) = (&parts.headers, body::read(app, body).await?);
    let received_at = now();
    let path = parts.uri.path();
    let verified = authenticate(
        app,
        &connection,
        &Incoming {
            headers,
            path,
            rest: rest(hook, path),
            query: &query,
            body: &body,
            now: received_at,
        },
    )?;
    // Also while the connection is off: a hook is set up before it is turned on.
    if let Some(challenge) = verified.challenge {
        return Ok(Answer::Handshake(challenge));
    }
    if !connection.enabled {
        let detail = "the connection is turned off";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disabled", detail).retry_after(DISABLED_WAIT_S));
    }
    // Before the connector is called: what it makes of the request could not be kept.
    accept::refuse_when_disk_is_almost_full(app, Door::Hook)?;
    let request = InboundRequest {
        method: "POST".to_owned(),
        path: hook.rest.as_ref().map(|rest| format!("/{rest}")).unwrap_or_default(),
        query,
        headers: headers
            .iter()
            .filter(|(name, _)| verify::is_for_connector(connection.spec.inbound.as_ref(), name.as_str()))
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: body.to_vec(),
    };
    let correlation_id = CorrelationId::mint(received_at, &mut rand::rng());
    let origin = Arrival {
        connection: &connection,
        correlation_id,
        received_at,
        provider_id: verified.provider_id,
    };
    let connector = match granted(app, &connection) {
        Ok(connector) => connector,
        Err(hold) => {
            tracing::info!(connection = %connection.spec.name, reason = %hold, correlation_id = %origin.correlation_id, "a verified request waits for its connector");
            return keep_raw(app, &origin, &request, Owed::unread(connection.spec.name.clone())).await;
        }
    };
    let place = Place::at_the_door(app, &connection).await?;
    let Reading {
        result,
        left,
        cut_short,
    } = reading::read(&connection, &connector, request.clone(), place).await;
    let owed = match result {
        Ok(Received { drafts, reply }) => {
            let owed = owe_all(app, &origin, drafts).await;
            owed.map(|accepts| (accepts, reply))
        }
        // What cut it short was the wait for a place.
        Err(failure) => Err(NotOwed {
            failure,
            is_ours: cut_short,
        }),
    };
    reading::tell(&connection, &origin.correlation_id, &left, owed.is_ok());
    // Asked before the fault is counted: that may end the probation.
    let is_spared = owed.as_ref().is_err_and(|not| Ended::is_fault(&not.failure))
        && plugins::spares(app, &connection, connector.digest);
    // What it makes of requests says as much about a version as what it delivers. A replay's attempt says it with its settle.
    if !owed.as_ref().is_err_and(|not| not.is_ours) {
        let ended = owed
            .as_ref()
            .map_or_else(|not| Ended::failed(&not.failure), |_| Ended::Well);
        plugins::observe(app, &connection, connector.digest, ended).await;
    }
    match owed {
        Ok((accepts, reply)) => {
            let accepted = accept::accept(app, Door::Hook, accepts).await?;
            Ok(Answer::Accepted(accepted.into_iter().map(told).collect(), reply))
        }
        Err(NotOwed { failure, is_ours }) => {
            let name = &connection.spec.name;
            let is_read_again = is_spared || is_ours;
            tracing::warn!(connection = %name, class = %failure.class, message = failure.message, is_read_again, correlation_id = %origin.correlation_id, "a verified request could not be read; it is kept");
            let owed = if is_read_again {
                Owed::unread(name.clone())
            } else {
                Owed::unreadable(name.clone(), failure)
            };
            keep_raw(app, &origin, &request, owed).await
        }
    }
}

fn find(app: &App, hook: &Hook) -> Result<Arc<Connection>, Problem> {
    let missing = || Problem::not_found("such hook");
    let workspace = match &hook.workspace {
        Some(name) => name.parse().map_err(|_| missing())?,
        None => WorkspaceName::default(),
    };
    let name: ConnectionName = hook.connection.parse().map_err(|_| missing())?;
    app.connections
        .get(&workspace, &name)
        .filter(|connection| connection.spec.inbound.is_some())
        .ok_or_else(missing)
}

/// What of the request line's path lies behind the hook's own, undecoded.
fn rest<'a>(hook: &Hook, path: &'a str) -> &'a str {
    // `/hooks/NAME` or `/workspaces/WORKSPACE/hooks/NAME`.
    let segments = if hook.workspace.is_some() { 4 } else { 2 };
    path.match_indices('/').nth(segments).map_or("", |(at, _)| &path[at..])
}

/// One verified request.
pub(crate) struct Arrival<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) received_at: Timestamp,
    pub(crate) provider_id: Option<String>,
}

/// How long the id of a request to this connection is remembered. A connection that has no hook any more gets replays only.
pub(crate) fn window(connection: &Connection) -> Duration {
    let inbound = connection.spec.inbound.as_ref();
    inbound.map_or(DEDUPE_WINDOW, InboundGrant::dedupe_window)
}

/// Why what a request means is owed to nobody.
pub(crate) struct NotOwed {
    pub(crate) failure: Failure,
    /// A failure of the host's own: no word on the connector.
    pub(crate) is_ours: bool,
}

/// Stamps the drafts of one request, and decides to whom each is owed.
pub(crate) async fn owe_all(app: &App, arrival: &Arrival<'_>, drafts: Vec<EventDraft>) -> Result<Vec<Accept>, NotOwed> {
    let stamped = stamp_all(app, arrival, drafts).map_err(|failure| NotOwed {
        failure,
        is_ours: false,
    })?;
    let window = window(arrival.connection);
    // A later attempt may not meet it; the request is kept until then.
    subscriptions::fan_out(app, stamped, window)
        .await
        .map_err(|problem| NotOwed {
            failure: Failure {
                class: FailureClass::Dependency,
                code: Some(problem.code),
                message: problem.detail,
                ambiguous: false,
                retry_after_ms: None,
            },
            is_ours: true,
        })
}

/// Stamps the drafts of one request. One bad draft spoils the request: half of it would be a lie.
fn stamp_all(app: &App, arrival: &Arrival<'_>, drafts: Vec<EventDraft>) -> Result<Vec<NewEvent>, Failure> {
    let single = drafts.len() == 1;
    let mut stamped = Vec::with_capacity(drafts.len());
    for mut draft in drafts {
        if single && draft.dedupe_key.is_none() {
            draft.dedupe_key = arrival.provider_id.clone();
        }
        let stamp = Stamp {
            workspace: arrival.connection.workspace.clone(),
            origin: Origin::Connection(arrival.connection.spec.name.clone()),
            correlation_id: Some(arrival.correlation_id.clone()),
            trace: None,
            received_at: arrival.received_at,
            body_bytes_max: app.limits.body_bytes,
        };
        let new = draft.stamp(stamp, &mut rand::rng()).map_err(|fault| {
            reading::failure_of(&Fault {
                kind: FaultKind::BadReturn,
                message: format!("an event draft is malformed: {fault}"),
            })
        })?;
        stamped.push(new);
    }
    Ok(stamped)
}

/// Nothing verified is lost: the raw request becomes a delivery of the source connection, which waits for its lane or for a person.
async fn keep_raw(app: &App, arrival: &Arrival<'_>, request: &InboundRequest, owed: Owed) -> Result<Answer, Problem> {
    let name = &arrival.connection.spec.name;
    let workspace = arrival.connection.workspace.clone();
    let new = raw_request::event(
        workspace,
        name,
        arrival.correlation_id.clone(),
        request,
        arrival.received_at,
        arrival.provider_id.as_deref(),
    )
    .map_err(|error| Problem::internal("keeping the request", &error))?;
    let kept = Accept {
        new,
        fan_out: vec![owed],
        dedupe_window: window(arrival.connection),
    };
    let accepted = accept::accept(app, Door::Hook, vec![kept]).await?;
    let kept = accepted.into_iter().next().map(told);
    kept.map(Answer::KeptRaw)
        .ok_or_else(|| Problem::not_found("accepted event"))
}

fn told(event: cofferdam_queue::Accepted) -> EventAccepted {
    EventAccepted {
        id: event.event_id,
        correlation_id: event.correlation_id,
        duplicate: event.duplicate,
        deliveries: event.deliveries.len(),
    }
}

/// The sender chose the text, so a browser must not take it for a page of ours.
fn handshake_response(challenge: &str) -> Response {
    let headers = [(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    )];
    (headers, axum::Json(serde_json::json!({ "challenge": challenge }))).into_response()
}

/// The connector chose the body, so a browser must not take it for a page of ours.
fn reply_response(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let content_type = header::HeaderValue::from_str(&reply.content_type)
        .unwrap_or(header::HeaderValue::from_static("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            header::HeaderValue::from_static("nosniff"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            header::HeaderValue::from_static("default-src 'none'; sandbox"),
        ),
    ];
    (status, headers, Body::from(reply.body)).into_response()
}
