//! Liveness, readiness and metrics. None needs a token; none says anything about anybody's events.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use cofferdam_store::Batch;

use crate::app::App;
use crate::metrics::Lane;
use crate::problem::chain;

/// The process runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The store takes writes: an empty batch goes the way of every other. A store that has failed once says so until a restart.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    match app.store.commit(Batch::new()).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", chain(&error))),
    }
}

pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    for connection in app.connections.all() {
        let depth = app.queue.depth(&connection.workspace, &connection.spec.name);
        let lane = Lane::of(&connection);
        app.metrics
            .pending
            .get_or_create(&lane)
            .set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        app.metrics
            .dead
            .get_or_create(&lane)
            .set(i64::try_from(depth.dead).unwrap_or(i64::MAX));
    }
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        app.metrics.encode(),
    )
}
