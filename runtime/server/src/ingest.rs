//! The public listener: webhooks and events. Nothing is acknowledged before it is durable.

mod accept;
mod cloudevents;
mod events;
pub(crate) mod hooks;
pub(crate) mod raw_request;
mod verify;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

use crate::app::App;

pub(crate) use events::receive as receive_events;
pub use events::{EventAccepted, EventsAccepted};

/// The routes of the public listener. Bodies are capped before anything reads them.
pub fn router(app: App) -> Router {
    let cap = DefaultBodyLimit::max(app.limits.body_bytes);
    Router::new()
        .route("/hooks/{connection}", post(hooks::receive))
        .route("/hooks/{connection}/{*rest}", post(hooks::receive_below))
        .route(
            "/workspaces/{workspace}/hooks/{connection}",
            post(hooks::receive_in_workspace),
        )
        .route("/v1/events", post(events::receive))
        .layer(cap)
        .with_state(app)
}
