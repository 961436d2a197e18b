//! The admin listener: API under `/v1`, panel, health and metrics. One file per resource.

pub(crate) mod actions;
pub(crate) mod auth;
mod budgets;
mod connections;
mod connectors;
mod dead_letters;
pub(crate) mod deletion;
mod deliveries;
mod health;
mod host;
mod host_use;
pub mod kept;
pub(crate) mod letter_filter;
pub(crate) mod oauth2;
mod openapi;
pub(crate) mod redrives;
pub(crate) mod secrets;
mod subscriptions;
mod tokens;
mod trace;
pub mod views;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use crate::app::App;
use crate::panel;

pub(crate) use self::connections::check_against_connector;
pub use crate::consents::{ConsentState, ConsentView};
pub(crate) use crate::plugins::views::VersionFor;
pub use crate::plugins::views::{ConnectorVersions, RunsView, VersionState, VersionView};
pub use crate::plugins::{Decision, DecisionKind, Held, Quarantined, Waiting, Why};
pub use cofferdam_queue::{Redrive, RedriveId, RedriveKind, RedriveState, Skipped};
pub use connectors::DecisionsView;
pub use deletion::ConnectionDeleted;
pub use letter_filter::{BadWhen, LetterFilter, When};
pub use oauth2::{ConsentStarted, TokensView};
pub use redrives::{BulkAnswer, BulkRequest, Preview};
pub use secrets::{FactPage, OVERLAP_DEFAULT_S, SecretRemoved, SecretSet};
pub use tokens::{TokenMade, TokenRequest};

/// Largest request body of the admin API, in bytes.
const ADMIN_BODY_BYTES_MAX: usize = 512 * 1024;

/// The routes of the admin listener.
pub fn router(app: App) -> Router {
    let connection = get(connections::show).delete(deletion::delete);
    let secret = put(secrets::set).delete(secrets::remove);
    let api = Router::new()
        .route("/v1/connectors", get(connectors::list))
        .route("/v1/connectors/{name}", get(connectors::show))
        .route("/v1/connectors/{name}/rollback", post(connectors::roll_back))
        .route("/v1/connectors/{name}/release", post(connectors::release))
        .route("/v1/grants", get(connectors::grants))
        .route("/v1/connections", get(connections::list).post(connections::apply))
        .route("/v1/connections/{name}", connection)
        .route("/v1/connections/{name}/enable", post(connections::enable))
        .route("/v1/connections/{name}/disable", post(connections::disable))
        .route("/v1/connections/{name}/release", post(connections::release))
        .route("/v1/connections/{name}/grant", post(connections::grant))
        .route("/v1/connections/{name}/refuse", post(connections::refuse))
        .route("/v1/connections/{name}/poll", post(kept::poll))
        .route("/v1/connections/{name}/cursor", delete(kept::reset_cursor))
        .route("/v1/connections/{name}/state", delete(kept::clear_state))
        .route("/v1/connections/{name}/secrets/{credential}", secret)
        .route(
            "/v1/connections/{name}/secrets/{credential}/rotate",
            post(secrets::rotate),
        )
        .route("/v1/connections/{name}/upstreams/{upstream}/oauth2", get(oauth2::show))
        .route(
            "/v1/connections/{name}/upstreams/{upstream}/oauth2/start",
            post(oauth2::start),
        )
        .route("/v1/secrets", get(secrets::list))
        .route("/v1/budgets", get(budgets::list))
        .route("/v1/host", get(host_use::show))
        .route("/v1/secrets/facts", get(secrets::facts))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/traces/{correlation_id}", get(trace::show))
        .route("/v1/events", get(trace::recent).post(crate::ingest::receive_events))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/replay", post(redrives::replay))
        .route("/v1/dead-letters/discard", post(redrives::discard))
        .route("/v1/dead-letters/{id}", get(dead_letters::show))
        .route("/v1/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/v1/dead-letters/{id}/discard", post(dead_letters::discard))
        .route("/v1/redrives", get(redrives::list))
        .route("/v1/redrives/{id}", get(redrives::show))
        .route("/v1/redrives/{id}/cancel", post(redrives::cancel))
        .route("/v1/subscriptions/dry-run", post(subscriptions::dry_run))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES_MAX));
    let ours = middleware::from_fn_with_state(app.clone(), host::check);
    api.merge(panel::router()).layer(ours).with_state(app)
}
