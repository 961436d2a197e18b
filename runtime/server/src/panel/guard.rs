//! Who may see a page and who may change something: every handler takes one of these types, or is open to everybody.

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::destination::Destination;
use super::flash::Flash;
use super::problem_page::ProblemPage;
use super::sessions::Session;
use super::{provenance, sign_in};
use crate::app::App;
use crate::problem::Problem;

/// A person who is signed in, and so may see every page of the workspace.
pub(super) struct SignedIn(pub(super) Session);

/// A form of the session's own, sent from a page of ours.
pub(super) struct OwnForm(pub(super) Session);

/// As [`OwnForm`], of an admin: it may change things.
pub(super) struct Change(pub(super) Session);

/// As [`Change`], with what else the form holds.
pub(super) struct ChangeOf<T>(pub(super) Session, pub(super) T);

/// Why a form is not taken.
pub(super) enum Refusal {
    /// Nobody is signed in, or no longer.
    SessionEnded,
    /// It is not a form of this session.
    NotOurs,
    /// The session may not change things.
    NotAdmin,
}

/// The answer to who asks for a page and is not signed in.
pub(super) struct SignInFirst(Option<Destination>);

impl FromRequestParts<App> for SignedIn {
    type Rejection = SignInFirst;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, SignInFirst> {
        sign_in::session(app, &parts.headers)
            .map(Self)
            .ok_or_else(|| SignInFirst(Destination::parse(parts.uri.path())))
    }
}

#[derive(Deserialize)]
struct Tokened<T> {
    form_token: String,
    #[serde(flatten)]
    rest: T,
}

/// A form that is a button.
#[derive(Deserialize)]
struct Nothing {}

/// A form of the session's own, and what it holds beside its token.
async fn own_form<T: DeserializeOwned>(request: Request, app: &App) -> Result<(Session, T), Refusal> {
    let session = sign_in::session(app, request.headers()).ok_or(Refusal::SessionEnded)?;
    if provenance::is_foreign(request.headers()) {
        return Err(Refusal::NotOurs);
    }
    let form = Form::<Tokened<T>>::from_request(request, app).await;
    let Form(form) = form.map_err(|_| Refusal::NotOurs)?;
    if session.owns_form(&form.form_token) {
        Ok((session, form.rest))
    } else {
        Err(Refusal::NotOurs)
    }
}

impl FromRequest<App> for OwnForm {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (session, Nothing {}) = own_form(request, app).await?;
        Ok(Self(session))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for ChangeOf<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (session, rest) = own_form(request, app).await?;
        if session.may_change() {
            Ok(Self(session, rest))
        } else {
            Err(Refusal::NotAdmin)
        }
    }
}

impl FromRequest<App> for Change {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let ChangeOf(session, Nothing {}) = ChangeOf::from_request(request, app).await?;
        Ok(Self(session))
    }
}

impl IntoResponse for SignInFirst {
    fn into_response(self) -> Response {
        let to = match self.0 {
            Some(destination) => format!("{}?next={destination}", sign_in::PATH),
            None => sign_in::PATH.to_owned(),
        };
        Redirect::to(&to).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::SessionEnded => {
                let to = format!("{}?flash={}", sign_in::PATH, Flash::SessionEnded.code());
                return Redirect::to(&to).into_response();
            }
            Self::NotOurs => {
                tracing::warn!("a form that is not the session's own was refused");
                let detail =
                    "This form was not sent from a page of this session. Go back, reload the page and try again.";
                Problem::new(StatusCode::FORBIDDEN, "not-our-form", detail)
            }
            Self::NotAdmin => Problem::forbidden("admin"),
        };
        ProblemPage::from(problem).into_response()
    }
}
