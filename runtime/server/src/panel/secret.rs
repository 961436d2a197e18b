//! Setting or rotating one credential: a form whose value goes to the vault and comes back on no page.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use cofferdam_domain::{CredentialName, Timestamp};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::connections;
use super::flash::Flash;
use super::frame::{Frame, Section, page};
use super::guard::{ChangeOf, SignedIn};
use super::problem_page::ProblemPage;
use crate::admin::actions;
use crate::admin::secrets::{self, NewValue};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "panel/secret.html")]
pub(super) struct SecretPage {
    pub(super) frame: Frame,
    pub(super) connection: String,
    pub(super) credential: String,
    /// None for one that is not set.
    pub(super) version: Option<u64>,
}

/// What the form sends. A field that the page did not offer is as good as an empty one.
#[derive(Deserialize)]
pub(super) struct SecretForm {
    #[serde(deserialize_with = "wiped")]
    value: Zeroizing<String>,
    #[serde(default)]
    overlap_h: String,
    #[serde(default)]
    expires: String,
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

pub(super) async fn form(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path((name, credential)): Path<(String, String)>,
) -> Result<Response, ProblemPage> {
    if !session.may_change() {
        return Err(Problem::forbidden("admin").into());
    }
    let workspace = &session.principal.workspace;
    let connection = actions::connection(&app, workspace, &name)?;
    let parsed: CredentialName = credential
        .parse()
        .map_err(|_| Problem::not_found(format_args!("credential {credential}")))?;
    let info = app.vault.info(workspace, &connection.spec.name, &parsed);
    let info = info.map_err(|error| Problem::internal("reading the credential", &error))?;
    page(&SecretPage {
        frame: Frame::of(&app, &session, Section::Connections, now()).titled(format!("{name}: {credential}")),
        connection: name,
        credential,
        version: info.map(|info| info.version),
    })
}

pub(super) async fn set(
    State(app): State<App>,
    Path((name, credential)): Path<(String, String)>,
    ChangeOf(session, form): ChangeOf<SecretForm>,
) -> Result<Redirect, ProblemPage> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-form", detail);
    let overlap = match form.overlap_h.as_str() {
        "" => None,
        hours => {
            let hours: u32 = hours.parse().map_err(|_| bad("The overlap is a number of hours."))?;
            Some(Duration::from_secs(u64::from(hours) * 3600))
        }
    };
    let expires_at = match form.expires.as_str() {
        "" => None,
        date => {
            let moment = Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z"));
            Some(moment.ok_or_else(|| bad("The date is written as 2027-06-01."))?)
        }
    };
    let value = NewValue {
        bytes: form.value.as_bytes().to_vec(),
        expires_at,
        overlap,
    };
    let set = secrets::put(&app, &session.principal, &name, &credential, value).await?;
    let flash = match set.previous_until {
        Some(_) => Flash::SecretRotated,
        None => Flash::SecretSet,
    };
    let to = format!("{}/{name}?flash={}", connections::PATH, flash.code());
    Ok(Redirect::to(&to))
}
