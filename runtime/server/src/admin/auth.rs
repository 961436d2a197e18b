//! Bearer tokens of the API.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::app::App;
use crate::problem::Problem;
use crate::tokens::{Principal, Role};

/// Whose token the request carries.
pub(crate) fn bearer(app: &App, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "));
    token
        .and_then(|token| app.tokens.principal(token.trim()))
        .ok_or_else(Problem::unauthorized)
}

/// A caller that may read.
pub(crate) struct Viewer(pub(crate) Arc<Principal>);

/// A caller that may change things.
pub(crate) struct Admin(pub(crate) Arc<Principal>);

impl FromRequestParts<App> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = bearer(app, &parts.headers)?;
        match principal.role {
            Role::Admin | Role::Viewer => Ok(Self(principal)),
            Role::Ingest => Err(Problem::forbidden("viewer or admin")),
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = bearer(app, &parts.headers)?;
        match principal.role {
            Role::Admin => Ok(Self(principal)),
            Role::Viewer | Role::Ingest => Err(Problem::forbidden("admin")),
        }
    }
}
