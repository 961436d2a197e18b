//! Lanes whose connection was deleted: what waits in them becomes dead letters, step by step.
//!
//! Nothing but the lane itself says that there is something to do, so a crash between two steps, or before the first,
//! needs no record of its own. Attempts under way settle; what they leave waiting is met by a later step.

use cofferdam_domain::FailureClass;
use cofferdam_domain::classify::Failure;
use cofferdam_queue::Queue;
use tokio_util::sync::CancellationToken;

use super::HOUSEKEEPING;
use crate::app::App;
use crate::clock::steady;
use crate::problem::chain;

/// The failure code of what waited for a connection that was deleted.
const CONNECTION_DELETED: &str = "connection-deleted";

/// Most deliveries of one step.
const STEP_MAX: usize = 128;

/// Until the server stops.
pub(super) async fn keep(app: App, stop: CancellationToken) {
    let mut changed = app.connections.changed();
    loop {
        changed.mark_unchanged();
        for (workspace, connection) in app.queue.lanes_waiting() {
            let failure = Failure {
                class: FailureClass::Configuration,
                code: Some(CONNECTION_DELETED.to_owned()),
                message: format!("connection {connection} was deleted while this delivery waited for it"),
                ambiguous: false,
                retry_after_ms: None,
            };
            // Looked at before each step: whoever makes the connection again must not lose what comes after that.
            while app.connections.get(&workspace, &connection).is_none() && !stop.is_cancelled() {
                match app
                    .queue
                    .abandon(&workspace, &connection, steady(), &failure, STEP_MAX)
                    .await
                {
                    Ok(0) => break,
                    Ok(deliveries) => {
                        tracing::info!(%workspace, %connection, deliveries, "its connection is gone; they are dead letters");
                    }
                    Err(error) => {
                        let error = chain(&error);
                        tracing::error!(%workspace, %connection, error, "what waits for a deleted connection stays");
                        break;
                    }
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changed.changed() => {}
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
    }
}
