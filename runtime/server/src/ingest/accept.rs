//! Stamped events into the queue: back-pressure, fan-out, one durable batch.

use std::time::Duration;

use axum::http::StatusCode;
use cofferdam_domain::event::NewEvent;
use cofferdam_queue::{Accept, Accepted, Owed, Queue};

use crate::app::App;
use crate::clock::now;
use crate::problem::{Problem, chain};

/// What producers are told to wait at the high-water mark.
const BACK_PRESSURE_WAIT_S: u64 = 5;

/// Refuses new work at the high-water marks before any of it is durable: that of each connection that would be owed, so that
/// one that is off or slow stops only what it is owed itself, and that of the server as a last resort.
fn refuse_when_full(app: &App, accepts: &[Accept]) -> Result<(), Problem> {
    let refused = |detail: String| {
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail).retry_after(BACK_PRESSURE_WAIT_S))
    };
    for accept in accepts {
        for owed in &accept.fan_out {
            let waiting = app.queue.depth(&accept.new.event.workspace, &owed.connection).pending;
            if waiting >= app.limits.pending_per_connection {
                return refused(format!(
                    "{waiting} deliveries wait for connection {}; nothing was accepted",
                    owed.connection
                ));
            }
        }
    }
    let waiting = app.queue.pending_total();
    if waiting >= app.limits.pending {
        return refused(format!("{waiting} deliveries wait already; nothing was accepted"));
    }
    Ok(())
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
    Accept::new(new, fan_out)
}

/// Makes the events durable with every delivery that they owe.
///
/// The work is spawned: a client that hangs up cannot cancel it half-way.
pub(super) async fn accept(app: &App, accepts: Vec<Accept>) -> Result<Vec<Accepted>, Problem> {
    refuse_when_full(app, &accepts)?;
    let queue = std::sync::Arc::clone(&app.queue);
    let accepted = tokio::spawn(async move { queue.accept(accepts, now()).await }).await;
    match accepted {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err(error)) if error.is_outage() => {
            tracing::error!(
                error = chain(&error),
                "the store is out; producers are told to come back"
            );
            let detail = "the store takes nothing now; nothing was accepted";
            Err(
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
                    .retry_after(BACK_PRESSURE_WAIT_S),
            )
        }
        Ok(Err(error)) => Err(Problem::internal("accepting the event", &error)),
        Err(error) => Err(Problem::internal("accepting the event", &error)),
    }
}
