//! Stamped events into the queue: back-pressure, fan-out, one durable batch.

use std::time::Duration;

use axum::http::StatusCode;
use cofferdam_domain::event::NewEvent;
use cofferdam_queue::{Accept, Accepted, Owed, Queue};

use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

/// What producers are told to wait at the high-water mark.
const BACK_PRESSURE_WAIT_S: u64 = 5;

/// Refuses new work at the high-water mark, before any of it is done.
pub(super) fn refuse_when_full(app: &App) -> Result<(), Problem> {
    if app.queue.pending_total() < app.limits.pending {
        return Ok(());
    }
    let detail = format!("{} deliveries wait already; nothing was accepted", app.limits.pending);
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail).retry_after(BACK_PRESSURE_WAIT_S))
}

/// Who is owed this event.
pub(crate) fn fan_out(app: &App, new: NewEvent) -> Accept {
    let subscribed = app.connections.subscribed(&new.event.workspace, &new.event.kind);
    let fan_out = subscribed
        .iter()
        .map(|connection| {
            let first_wait = connection.spec.policy.retry.schedule_ms.first().copied().unwrap_or(0);
            Owed::deliver(connection.spec.name.clone(), Duration::from_millis(first_wait))
        })
        .collect();
    Accept { new, fan_out }
}

/// Makes the events durable with every delivery that they owe.
///
/// The work is spawned: a client that hangs up cannot cancel it half-way.
pub(super) async fn accept(app: &App, accepts: Vec<Accept>) -> Result<Vec<Accepted>, Problem> {
    let queue = std::sync::Arc::clone(&app.queue);
    let accepted = tokio::spawn(async move { queue.accept(accepts, now()).await }).await;
    match accepted {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err(error)) => Err(Problem::internal("accepting the event", &error)),
        Err(error) => Err(Problem::internal("accepting the event", &error)),
    }
}
