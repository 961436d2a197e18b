//! `/v1/secrets`: set, rotated, removed and listed, never read; and what happened to them.
//!
//! The changes are the same for the API and the panel. Who made them is logged and written down as a fact.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use cofferdam_domain::{ConnectionName, CredentialName, Timestamp};
use cofferdam_vault::{
    Change, CredentialInfo, Expect, FACTS_LISTED_MAX, Fact, FactId, FactQuery, OVERLAP_MAX, Secret, VaultError,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::actions;
use super::auth::{Admin, Viewer};
use super::letter_filter::When;
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;
use crate::tokens::Principal;

/// How long a value that is rotated out is accepted, if nobody says otherwise, in seconds.
pub const OVERLAP_DEFAULT_S: u64 = 24 * 3600;

/// Facts on a page, if nobody says otherwise.
const FACTS_PAGE: usize = 100;

/// The answer to a secret that was set or rotated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretSet {
    /// Raised by every change.
    pub version: u64,
    /// When the value expires, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Until when the value before is accepted, after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<Timestamp>,
}

/// The answer to a secret that was removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretRemoved {
    /// Of this connection.
    pub connection: ConnectionName,
    /// This credential.
    pub credential: CredentialName,
}

/// A page of facts, latest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FactPage {
    /// The facts.
    pub items: Vec<Fact>,
    /// What `before` of the next page is; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FactId>,
}

/// How a value is set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetHow {
    expires_at: Option<When>,
}

/// How a value is rotated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateHow {
    overlap_s: Option<u64>,
    expires_at: Option<When>,
}

/// Which credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    connection: Option<ConnectionName>,
}

/// Which facts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactsAsked {
    connection: Option<ConnectionName>,
    credential: Option<CredentialName>,
    before: Option<FactId>,
    limit: Option<usize>,
}

/// A new value as somebody has asked for it.
pub(crate) struct NewValue {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// When it expires.
    pub(crate) expires_at: Option<Timestamp>,
    /// For a rotation: how long the value before is accepted. None replaces any value at once, or sets the first.
    pub(crate) overlap: Option<Duration>,
}

pub(super) async fn list(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(which): Query<Which>,
) -> Result<Json<Vec<CredentialInfo>>, Problem> {
    let listed = app.vault.list(&caller.workspace, which.connection.as_ref());
    listed
        .map(Json)
        .map_err(|error| Problem::internal("listing credentials", &error))
}

pub(super) async fn facts(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Query(asked): Query<FactsAsked>,
) -> Result<Json<FactPage>, Problem> {
    let limit = asked.limit.unwrap_or(FACTS_PAGE);
    if !(1..=FACTS_LISTED_MAX).contains(&limit) {
        let detail = format!("limit is 1 to {FACTS_LISTED_MAX}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-limit", detail));
    }
    let query = FactQuery {
        connection: asked.connection,
        credential: asked.credential,
        before: asked.before,
        limit,
    };
    let items = app.vault.facts(&caller.workspace, &query);
    let items = items.map_err(|error| Problem::internal("listing facts", &error))?;
    let next = items.last().filter(|_| items.len() == limit).map(|fact| fact.id);
    Ok(Json(FactPage { items, next }))
}

/// The body is the secret, byte for byte. A lane that was parked because of the old one is released.
pub(super) async fn set(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((name, credential)): Path<(String, String)>,
    Query(how): Query<SetHow>,
    body: Bytes,
) -> Result<Json<SecretSet>, Problem> {
    let value = NewValue {
        bytes: taken(body),
        expires_at: how.expires_at.map(|when| when.0),
        overlap: None,
    };
    put(&app, &caller, &name, &credential, value).await.map(Json)
}

/// As [`set`], for a credential that is set; what is signed with the value before is accepted for a while.
pub(super) async fn rotate(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((name, credential)): Path<(String, String)>,
    Query(how): Query<RotateHow>,
    body: Bytes,
) -> Result<Json<SecretSet>, Problem> {
    let value = NewValue {
        bytes: taken(body),
        expires_at: how.expires_at.map(|when| when.0),
        overlap: Some(Duration::from_secs(how.overlap_s.unwrap_or(OVERLAP_DEFAULT_S))),
    };
    put(&app, &caller, &name, &credential, value).await.map(Json)
}

pub(super) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((name, credential)): Path<(String, String)>,
) -> Result<Json<SecretRemoved>, Problem> {
    let connection = actions::connection(&app, &caller.workspace, &name)?;
    let connection = connection.spec.name.clone();
    let credential: CredentialName = credential.parse().map_err(|error| bad(format!("{error}")))?;
    let removed = app
        .vault
        .remove(&caller.workspace, &connection, &credential, Some(&caller.name), now())
        .await;
    if !removed.map_err(|error| vault_problem("removing the secret", &error))? {
        return Err(not_set(&connection, &credential));
    }
    tracing::info!(%connection, %credential, by = caller.name, "secret removed");
    Ok(Json(SecretRemoved { connection, credential }))
}

/// Gives a credential a new value, and lets the lane go on that waited for it.
pub(crate) async fn put(
    app: &App,
    by: &Principal,
    connection: &str,
    credential: &str,
    value: NewValue,
) -> Result<SecretSet, Problem> {
    let NewValue {
        bytes,
        expires_at,
        overlap,
    } = value;
    let secret = Secret::new(bytes).map_err(|error| bad(error.to_string()))?;
    let found = actions::connection(app, &by.workspace, connection)?;
    let connection = &found.spec.name;
    let credential: CredentialName = credential.parse().map_err(|error| bad(format!("{error}")))?;
    if crate::oauth2::holds_tokens(&found.spec, &credential) {
        let detail = format!(
            "{credential} holds the OAuth 2.0 tokens of {connection}, which the host writes itself: connect the account \
             with `cofferdam secret authorize`"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "credential-of-the-host", detail));
    }
    let now = now();
    if expires_at.is_some_and(|at| at <= now) {
        let detail = format!("expires_at is over already; it is {now}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-expiry", detail));
    }
    let overlap_max_s = OVERLAP_MAX.as_secs();
    if overlap.is_some_and(|overlap| overlap > OVERLAP_MAX) {
        let detail = format!(
            "overlap_s is 0 to {overlap_max_s}, which is {} days",
            overlap_max_s / 86_400
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-overlap", detail));
    }
    // A rotation replaces what its caller believes to be there: nothing, or a value that came meanwhile, is not it.
    let expect = match overlap {
        None => Expect::Any,
        Some(_) => {
            let present = app.vault.info(&by.workspace, connection, &credential);
            let present = present.map_err(|error| vault_problem("rotating the secret", &error))?;
            Expect::Edition(present.ok_or_else(|| not_set(connection, &credential))?.edition())
        }
    };
    let change = Change {
        expires_at,
        overlap: overlap.unwrap_or_default(),
        expect,
        by: Some(&by.name),
        ..Change::new(secret, now)
    };
    let version = app.vault.put(&by.workspace, connection, &credential, change).await;
    let version = version.map_err(|error| vault_problem("setting the secret", &error))?;
    let previous_until = overlap
        .filter(|overlap| !overlap.is_zero())
        .map(|overlap| now.after(overlap));
    let did = if previous_until.is_some() {
        "secret rotated"
    } else {
        "secret set"
    };
    tracing::info!(%connection, %credential, version, by = by.name, "{did}");
    actions::release(app, by, connection.as_str()).await?;
    Ok(SecretSet {
        version,
        expires_at,
        previous_until,
    })
}

/// A copy of the body, which is wiped where nobody else holds it.
fn taken(body: Bytes) -> Vec<u8> {
    let bytes = body.to_vec();
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
    bytes
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-secret", detail)
}

fn not_set(connection: &ConnectionName, credential: &CredentialName) -> Problem {
    Problem::not_found(format_args!(
        "credential {credential} of connection {connection} is set"
    ))
}

fn vault_problem(operation: &str, error: &VaultError) -> Problem {
    match error {
        VaultError::Conflict { .. } | VaultError::Busy { .. } => {
            Problem::new(StatusCode::CONFLICT, "secret-changed", error.to_string())
        }
        VaultError::WrongKey(_)
        | VaultError::KeyCheckDamaged
        | VaultError::Damaged { .. }
        | VaultError::UnknownRecord
        | VaultError::OverlapTooLong
        | VaultError::NoVault
        | VaultError::Interrupted
        | VaultError::Seal(_)
        | VaultError::Read(_)
        | VaultError::Write(_) => Problem::internal(operation, error),
    }
}
