//! The admin panel: pages made on the server, for people. It needs no script and sends none.
//!
//! Every page shows what [`crate::admin::views`] says, as the API does. A change is a form: it needs the session's form
//! token, an admin's session and a browser that does not say it came from elsewhere; it answers with a redirect.

mod assets;
mod badge;
mod budget;
mod connection;
mod connection_delete;
mod connections;
mod connectors;
mod consent;
mod cookie;
mod credentials;
mod dead_letters;
mod delivery;
mod destination;
mod events;
mod flash;
mod frame;
mod grant;
mod guard;
mod policy;
mod problem_page;
mod provenance;
mod redrives;
mod secret;
mod sessions;
mod sign_in;
mod throttle;
mod trace;
mod units;
mod versions;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::map_response;
use axum::response::Redirect;
use axum::routing::{any, get, post};

use crate::app::App;
use crate::problem::Problem;
use problem_page::ProblemPage;

pub(crate) use sessions::{Sessions, unguessable};

/// Largest form, in bytes. The longest one holds an API token.
const FORM_BYTES_MAX: usize = 8 * 1024;

/// The routes of the panel.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/panel", get(home))
        .route("/panel/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/panel/sign-out", post(sign_in::leave))
        .route("/panel/connections", get(connections::list))
        .route("/panel/connections/{name}", get(connection::show))
        .route("/panel/connections/{name}/enable", post(connections::enable))
        .route("/panel/connections/{name}/disable", post(connections::disable))
        .route("/panel/connections/{name}/release", post(connections::release_lane))
        .route(
            "/panel/connections/{name}/delete",
            get(connection_delete::confirm).post(connection_delete::delete),
        )
        .route(
            "/panel/connections/{name}/secrets/{credential}",
            get(secret::form).post(secret::set),
        )
        .route(
            "/panel/connections/{name}/upstreams/{upstream}/connect",
            post(consent::connect),
        )
        .route(consent::CALLBACK_PATH, get(consent::callback))
        .route("/panel/connections/{name}/versions/{digest}", get(grant::show))
        .route("/panel/connections/{name}/versions/{digest}/grant", post(grant::grant))
        .route(
            "/panel/connections/{name}/versions/{digest}/refuse",
            post(grant::refuse),
        )
        .route("/panel/connectors", get(connectors::list))
        .route("/panel/connectors/{name}", get(versions::show))
        .route("/panel/connectors/{name}/roll-back", post(versions::roll_back))
        .route("/panel/connectors/{name}/release", post(versions::release))
        .route("/panel/events", get(events::list))
        .route("/panel/traces/{correlation_id}", get(trace::show))
        .route("/panel/dead-letters", get(dead_letters::list))
        .route("/panel/dead-letters/redrive", get(redrives::confirm))
        .route("/panel/redrives", get(redrives::list).post(redrives::begin))
        .route("/panel/redrives/{id}", get(redrives::show))
        .route("/panel/redrives/{id}/cancel", post(redrives::cancel))
        .route("/panel/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/panel/dead-letters/{id}/discard", post(dead_letters::discard))
        .route(assets::STYLE_PATH, get(assets::style))
        .route(assets::ICON_PATH, get(assets::icon))
        .route("/panel/{*elsewhere}", any(nowhere))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(map_response(assets::guard))
}

/// Who is not signed in is sent on from there.
async fn home() -> Redirect {
    Redirect::to(connections::PATH)
}

async fn nowhere(uri: Uri) -> ProblemPage {
    Problem::not_found(format_args!("page {}", uri.path())).into()
}

#[cfg(test)]
mod tests;
