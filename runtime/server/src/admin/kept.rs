//! What a connector keeps between calls, and its polls: `/v1/connections/{name}/state`, `…/cursor` and `…/poll`. What is kept
//! is never shown: its size, and of a cursor its hash.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::connection::PollGrant;
use cofferdam_domain::{Connection, CorrelationId, DeliveryId, DeliveryState, FailureClass, Timestamp};
use cofferdam_queue::{CursorFacts, QueueError, StateSize};
use serde::{Deserialize, Serialize};

use super::actions;
use super::auth::Admin;
use super::views::{self, ConnectionView};
use crate::app::App;
use crate::clock::steady;
use crate::dispatch::granted;
use crate::problem::Problem;
use crate::schedule::turn::{Asked, ask, next_due};

/// A connection's state, by everything but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateKept {
    /// What it may hold, in bytes.
    pub bytes_max: u64,
    /// What it holds; none if no call has looked at it yet.
    #[serde(default)]
    pub size: Option<StateSize>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a connection is polled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// The schedule in words.
    pub schedule: String,
    /// When the next poll is due; none while one waits or is under way, and while the connection cannot be polled.
    #[serde(default)]
    pub next_due_at: Option<Timestamp>,
    /// The latest poll, as long as it is kept.
    #[serde(default)]
    pub latest: Option<LatestPoll>,
    /// The cursor that the next poll is handed; none for one that begins from the start.
    #[serde(default)]
    pub cursor: Option<CursorFacts>,
    /// Why schedule or cursor cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestPoll {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Its trace.
    pub correlation_id: CorrelationId,
    /// When it was made.
    pub made_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// The class of the latest failure of its attempts.
    #[serde(default)]
    pub failure_class: Option<FailureClass>,
    /// Why its latest attempt failed.
    #[serde(default)]
    pub failure: Option<String>,
}

/// A poll that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollAsked {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Its trace.
    pub correlation_id: CorrelationId,
    /// One waited for its time, and is due now instead.
    pub hastened: bool,
}

/// Makes a poll due now. The schedule goes on as it is.
pub(super) async fn poll(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<PollAsked>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    let conflict = |code: &str, detail: String| Err(Problem::new(StatusCode::CONFLICT, code, detail));
    if connection.spec.poll.is_none() {
        let detail = format!("connection {name} has no schedule; grant one by a table [poll] in its file");
        return conflict("no-schedule", detail);
    }
    if !connection.enabled {
        return conflict("disabled", format!("connection {name} is turned off; enable it first"));
    }
    if let Err(hold) = granted(&app, &connection) {
        let detail = format!("connector {}: {hold}", connection.spec.connector);
        return conflict("not-runnable", detail);
    }
    let asked = ask(&app, &connection).await;
    let asked = match asked.map_err(|error| Problem::internal("making a poll", &error))? {
        Asked::Due(delivery, correlation_id) => PollAsked {
            delivery,
            correlation_id,
            hastened: false,
        },
        Asked::Hastened(poll) => PollAsked {
            delivery: poll.id,
            correlation_id: poll.correlation_id,
            hastened: true,
        },
        Asked::UnderWay(poll) => {
            let detail = format!(
                "a poll of connection {name} is under way: cofferdam trace {}",
                poll.correlation_id
            );
            return conflict("poll-under-way", detail);
        }
    };
    tracing::info!(connection = name, correlation_id = %asked.correlation_id, by = caller.name, "poll asked for");
    Ok(Json(asked))
}

/// Empties the state.
pub(super) async fn clear_state(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    let cleared = app
        .queue
        .clear_state(&caller.workspace, &connection.spec.name, steady())
        .await;
    cleared.map_err(|error| Problem::internal("clearing the state", &error))?;
    tracing::info!(connection = name, by = caller.name, "state cleared");
    view(&app, &connection).await
}

/// The next poll begins from the start.
pub(super) async fn reset_cursor(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    let reset = app
        .queue
        .reset_cursor(&caller.workspace, &connection.spec.name, steady())
        .await;
    reset.map_err(|error| Problem::internal("resetting the cursor", &error))?;
    tracing::info!(connection = name, by = caller.name, "cursor reset");
    view(&app, &connection).await
}

async fn view(app: &App, connection: &Connection) -> Result<Json<ConnectionView>, Problem> {
    let view = views::connection_view(app, connection).await;
    view.map(Json)
        .map_err(|error| Problem::internal("reading the connection", &error))
}

/// How its state stands; none where none is granted. One that cannot be read says so and hides nothing else.
pub(super) fn state_kept(app: &App, connection: &Connection) -> Option<StateKept> {
    let grant = connection.spec.state.as_ref()?;
    let (size, problem) = told(app.queue.state_size(&connection.workspace, &connection.spec.name));
    Some(StateKept {
        bytes_max: grant.bytes_max.min(app.state_bytes_max),
        size: size.flatten(),
        problem,
    })
}

/// How it is polled; none where that is not granted.
pub(super) fn polling(app: &App, connection: &Connection) -> Option<Polling> {
    let grant = connection.spec.poll.as_ref()?;
    let (workspace, name) = (&connection.workspace, &connection.spec.name);
    let (standing, no_standing) = told(app.queue.poll_standing(workspace, name, steady()));
    let (cursor, no_cursor) = told(app.queue.cursor_facts(workspace, name));
    let standing = standing.flatten();
    let is_open = standing.as_ref().is_some_and(cofferdam_queue::PollStanding::is_open);
    let next_due_at = if is_open {
        None
    } else {
        next_due(app, connection, standing.as_ref())
    };
    let wished_s = app
        .plugins
        .shown(connection)
        .and_then(|connector| connector.descriptor.poll_every_s);
    let latest = standing.and_then(|standing| standing.latest);
    Some(Polling {
        schedule: in_words(grant, wished_s),
        next_due_at,
        latest: latest.map(|poll| LatestPoll {
            delivery: poll.id,
            correlation_id: poll.correlation_id,
            made_at: poll.accepted_at,
            state: poll.state,
            failure_class: poll.last_failure.as_ref().map(|failure| failure.class),
            failure: poll.last_failure.map(|failure| failure.message),
        }),
        cursor: cursor.flatten(),
        problem: no_standing.or(no_cursor),
    })
}

fn told<T>(read: Result<T, QueueError>) -> (Option<T>, Option<String>) {
    match read {
        Ok(read) => (Some(read), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn in_words(grant: &PollGrant, wished_s: Option<u32>) -> String {
    match (grant.every, &grant.cron, wished_s) {
        (Some(every), ..) => format!("every {every}"),
        (None, Some(cron), _) => format!("{cron} ({})", grant.timezone.as_deref().unwrap_or("UTC")),
        (None, None, Some(wished_s)) => {
            let every = cofferdam_domain::connection::Span::from(std::time::Duration::from_secs(wished_s.into()));
            format!("every {every}, as its connector asks")
        }
        (None, None, None) => "its connector names no interval".to_owned(),
    }
}
