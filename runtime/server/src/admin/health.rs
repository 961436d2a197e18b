//! Liveness, readiness and metrics. None needs a token; none says anything about anybody's events.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use cofferdam_store::Batch;

use crate::app::App;
use crate::budgets;
use crate::clock::{now, steady};
use crate::metrics::Lane;
use crate::problem::chain;

/// The process runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The disk has room, and the store takes writes, as far as it knows: the committer answers, and no commit has failed since the start. It writes
/// nothing itself, since anybody may ask. Connectors that are still being loaded are told and hold nothing up: what comes in
/// for them waits.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    if app.disk.is_almost_full() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the disk is almost full; nothing is accepted\n".to_owned(),
        );
    }
    match app.store.commit(Batch::new()).await {
        Ok(()) if app.plugins.catalogue().is_read() => (StatusCode::OK, "ready\n".to_owned()),
        Ok(()) => (
            StatusCode::OK,
            "ready; the plugins folder is still being read\n".to_owned(),
        ),
        Err(error) => {
            tracing::error!(error = chain(&error), "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the store takes no writes; the log says why\n".to_owned(),
            )
        }
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
            .pending_bytes
            .get_or_create(&lane)
            .set(i64::try_from(depth.pending_bytes).unwrap_or(i64::MAX));
        let lag = app.queue.lag(&connection.workspace, &connection.spec.name, steady());
        app.metrics
            .lag_ms
            .get_or_create(&lane)
            .set(i64::try_from(lag.as_millis()).unwrap_or(i64::MAX));
        let held = budgets::held(&app, &connection, now());
        app.metrics
            .held_ms
            .get_or_create(&lane)
            .set(i64::try_from(held.as_millis()).unwrap_or(i64::MAX));
        app.metrics
            .dead
            .get_or_create(&lane)
            .set(i64::try_from(depth.dead).unwrap_or(i64::MAX));
    }
    app.metrics
        .free_bytes
        .set(i64::try_from(app.disk.free_bytes()).unwrap_or(i64::MAX));
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        app.metrics.encode(),
    )
}
