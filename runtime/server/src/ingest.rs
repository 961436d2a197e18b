//! The public listener: webhooks and events. Nothing is acknowledged before it is durable.

mod accept;
mod authenticate;
mod body;
mod cloudevents;
mod entrances;
mod events;
pub(crate) mod hooks;
mod marks;
pub(crate) mod raw_request;
pub(crate) mod reading;
mod refusals;
mod verify;

use axum::Router;
use axum::routing::post;

use crate::app::App;

pub(crate) use accept::{page_refused, room};
pub(crate) use authenticate::warn_of_unchecked_hooks;
pub(crate) use entrances::Entrances;
pub(crate) use events::receive as receive_events;
pub use events::{EventAccepted, EventsAccepted};
pub(crate) use refusals::Refusals;

/// The routes of the public listener. Each handler reads its body itself, by [`body::read`].
pub fn router(app: App) -> Router {
    Router::new()
        .route("/hooks/{connection}", post(hooks::receive))
        .route("/hooks/{connection}/{*rest}", post(hooks::receive))
        .route("/workspaces/{workspace}/hooks/{connection}", post(hooks::receive))
        .route(
            "/workspaces/{workspace}/hooks/{connection}/{*rest}",
            post(hooks::receive),
        )
        .route("/v1/events", post(events::receive))
        .with_state(app)
}
