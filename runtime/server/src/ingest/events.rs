//! `POST /v1/events`: CloudEvents 1.0 over HTTP, from callers with a token.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use cofferdam_domain::event::{Origin, Stamp};
use cofferdam_domain::{CorrelationId, EventId, TraceContext};
use serde::{Deserialize, Serialize};

use super::marks::Door;
use super::{accept, body, cloudevents};
use crate::admin::auth;
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;
use crate::subscriptions;
use crate::tokens::Role;

/// The answer to accepted events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventsAccepted {
    /// In the order they were sent.
    pub accepted: Vec<EventAccepted>,
}

/// One accepted event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventAccepted {
    /// The host's id; of a duplicate, the first one's.
    pub id: EventId,
    /// Search for this.
    pub correlation_id: CorrelationId,
    /// True if the same event was accepted before; nothing new is delivered.
    pub duplicate: bool,
    /// Deliveries that were made.
    pub deliveries: usize,
}

pub(crate) async fn receive(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<EventsAccepted>), Problem> {
    let answer = handle(&app, request).await;
    app.metrics.count_ingest(
        "api",
        match &answer {
            Ok(answer) if answer.accepted.iter().all(|event| event.duplicate) => "duplicate",
            Ok(_) => "accepted",
            Err(problem) if problem.status == 401 || problem.status == 403 => "unverified",
            Err(problem) if problem.status < 500 => "refused",
            Err(_) => "failed",
        },
    );
    Ok((StatusCode::ACCEPTED, Json(answer?)))
}

async fn handle(app: &App, request: Request) -> Result<EventsAccepted, Problem> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let principal = auth::bearer(app, headers)?;
    if !matches!(principal.role, Role::Admin | Role::Ingest) {
        return Err(Problem::forbidden("ingest or admin"));
    }
    accept::refuse_when_disk_is_almost_full(app, Door::Api)?;
    let body = body::read(app, body).await?;
    let drafts = cloudevents::read(headers, &body).map_err(|fault| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed-event", fault.to_string()).field(fault.field)
    })?;
    let correlation_id = correlation_id(headers)?;
    let trace = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<TraceContext>().ok());
    let mut stamped = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let stamp = Stamp {
            workspace: principal.workspace.clone(),
            origin: Origin::Api(principal.name.clone()),
            correlation_id: correlation_id.clone(),
            trace,
            received_at: now(),
            body_bytes_max: app.limits.body_bytes,
        };
        let new = draft.stamp(stamp, &mut rand::rng()).map_err(|fault| {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-event", fault.to_string()).field(fault.field)
        })?;
        stamped.push(new);
    }
    let accepts = subscriptions::fan_out(app, stamped, app.limits.dedupe_window).await?;
    let accepted = accept::accept(app, Door::Api, accepts).await?;
    Ok(EventsAccepted {
        accepted: accepted
            .into_iter()
            .map(|event| EventAccepted {
                id: event.event_id,
                correlation_id: event.correlation_id,
                duplicate: event.duplicate,
                deliveries: event.deliveries.len(),
            })
            .collect(),
    })
}

/// A caller with a token is trusted to name its correlation id.
fn correlation_id(headers: &HeaderMap) -> Result<Option<CorrelationId>, Problem> {
    let Some(value) = headers.get("x-correlation-id") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-event",
            cofferdam_domain::id::BadCorrelationId.to_string(),
        )
        .field("x-correlation-id")
    })
}
