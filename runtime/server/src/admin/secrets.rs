//! `/v1/secrets`: set and listed, never read.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::CredentialName;
use cofferdam_vault::{CredentialInfo, Secret};
use serde::{Deserialize, Serialize};

use super::actions;
use super::auth::{Admin, Viewer};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

/// The answer to a secret that was set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretSet {
    /// Raised by every set.
    pub version: u64,
}

pub(super) async fn list(State(app): State<App>, Viewer(caller): Viewer) -> Result<Json<Vec<CredentialInfo>>, Problem> {
    let listed = app.vault.list(&caller.workspace, None);
    listed
        .map(Json)
        .map_err(|error| Problem::internal("listing credentials", &error))
}

/// The body is the secret, byte for byte. A lane that was parked because of the old one is released.
pub(super) async fn set(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((name, credential)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<SecretSet>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-secret", detail);
    let credential: CredentialName = credential.parse().map_err(|error| bad(format!("{error}")))?;
    let secret = Secret::new(body.to_vec()).map_err(|error| bad(error.to_string()))?;
    let set = app
        .vault
        .set(&caller.workspace, &connection.spec.name, &credential, secret, now())
        .await;
    let version = set.map_err(|error| Problem::internal("setting the secret", &error))?;
    tracing::info!(connection = name, %credential, version, by = caller.name, "secret set");
    actions::release(&app, &caller, &name).await?;
    Ok(Json(SecretSet { version }))
}
