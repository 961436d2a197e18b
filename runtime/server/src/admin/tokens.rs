//! `/v1/tokens`: made and shown once, listed, revoked; each in the caller's own workspace.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::limits::{LOG_FIELD_BYTES_MAX, clipped};
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Viewer};
use crate::app::App;
use crate::problem::Problem;
use crate::tokens::{NotATokenId, Role, TokenError, TokenInfo};

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
    let made = app.tokens.create(name.clone(), caller.workspace.clone(), request.role);
    let token = made.await.map_err(|error| problem("making the token", &error))?;
    tracing::info!(name, role = request.role.as_str(), by = caller.name, "token made");
    Ok(Json(TokenMade { token }))
}

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Json<Vec<TokenInfo>> {
    Json(app.tokens.of(&caller.workspace))
}

/// An admin may revoke the very token that the call is made with, unless it is the last.
pub(super) async fn revoke(
    State(app): State<App>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<Json<TokenInfo>, Problem> {
    let id = id.parse().map_err(|error: NotATokenId| bad_id(&error))?;
    let revoked = app.tokens.revoke(&caller.workspace, id).await;
    let revoked = revoked.map_err(|error| problem("revoking the token", &error))?;
    tracing::info!(%id, name = revoked.name, role = revoked.role.as_str(), by = caller.name, "token revoked");
    Ok(Json(revoked))
}

/// What is no id names no token. It is not repeated in the answer: it may be a token.
fn bad_id(error: &NotATokenId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("no such token; {error}"))
}

fn problem(operation: &str, error: &TokenError) -> Problem {
    match error {
        TokenError::Full => Problem::new(StatusCode::CONFLICT, "too-many-tokens", error.to_string()),
        TokenError::LastAdmin(_) => Problem::new(StatusCode::CONFLICT, "last-admin-token", error.to_string()),
        TokenError::Unknown(id) => Problem::not_found(format_args!("token {id}")),
        TokenError::Store(_)
        | TokenError::Commit(_)
        | TokenError::Record(_)
        | TokenError::Key(_)
        | TokenError::File { .. } => Problem::internal(operation, error),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_store::CommitError;

    use super::*;
    use crate::tokens::TokenHash;

    #[test]
    fn each_error_has_its_status_and_code() {
        let id = TokenHash::of("t0ken").id();
        for (error, status, code) in [
            (TokenError::Unknown(id), 404, "not-found"),
            (TokenError::LastAdmin(id), 409, "last-admin-token"),
            (TokenError::Full, 409, "too-many-tokens"),
            (TokenError::Commit(CommitError::Closed), 500, "internal"),
        ] {
            let problem = problem("revoking the token", &error);
            assert_eq!((problem.status, problem.code.as_str()), (status, code), "{error}");
        }
        let problem = bad_id(&NotATokenId);
        assert_eq!((problem.status, problem.code.as_str()), (404, "not-found"));
    }
}
