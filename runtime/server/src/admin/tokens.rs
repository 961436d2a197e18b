//! `/v1/tokens`: made and shown once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cofferdam_domain::limits::{LOG_FIELD_BYTES_MAX, clipped};
use serde::{Deserialize, Serialize};

use super::auth::Admin;
use crate::app::App;
use crate::problem::Problem;
use crate::tokens::{Role, TokenError};

/// A token to make, in the caller's own workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// For records.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A token, shown this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenMade {
    /// The token.
    pub token: String,
}

pub(super) async fn create(
    State(app): State<App>,
    Admin(caller): Admin,
    Json(request): Json<TokenRequest>,
) -> Result<Json<TokenMade>, Problem> {
    let name = clipped(request.name, LOG_FIELD_BYTES_MAX);
    tracing::info!(name, role = request.role.as_str(), by = caller.name, "token made");
    match app.tokens.create(name, caller.workspace.clone(), request.role).await {
        Ok(token) => Ok(Json(TokenMade { token })),
        Err(error @ TokenError::Full) => Err(Problem::new(StatusCode::CONFLICT, "too-many-tokens", error.to_string())),
        Err(error) => Err(Problem::internal("making the token", &error)),
    }
}
