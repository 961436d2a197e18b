//! Signing in with an API token, and out again.
//!
//! Before there is a session, the form is tied to the browser by a cookie of its own that the form must repeat: otherwise
//! another site could sign a person in as somebody else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{ConnectInfo, Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::cookie::{Cookie, SameSite};
use super::destination::Destination;
use super::flash::{Flash, FlashQuery};
use super::frame::page;
use super::guard::OwnForm;
use super::problem_page::ProblemPage;
use super::sessions::{AGE_MAX, Session, unguessable};
use super::{connections, provenance};
use crate::app::App;
use crate::clock::now;
use crate::problem::Problem;
use crate::tokens::{Role, TokenHash};

pub(super) const PATH: &str = "/panel/sign-in";

const SESSION: Cookie = Cookie {
    name: "cofferdam_session",
    path: "/",
    max_age: AGE_MAX,
    same_site: SameSite::Strict,
};
const FORM: Cookie = Cookie {
    name: "cofferdam_sign_in",
    path: PATH,
    max_age: Duration::from_secs(3600),
    same_site: SameSite::Strict,
};

#[derive(Template)]
#[template(path = "panel/sign_in.html")]
pub(super) struct SignInPage {
    pub(super) title: String,
    pub(super) next: Option<Destination>,
    pub(super) form_token: String,
    pub(super) flash: Option<Flash>,
    pub(super) problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Submitted {
    token: String,
    form_token: String,
    next: Option<String>,
}

/// Why nobody was signed in.
enum Denied {
    NotOurs,
    TooOften(Duration),
    Unknown,
    IngestOnly,
}

/// The session that the request belongs to.
pub(super) fn session(app: &App, headers: &HeaderMap) -> Option<Session> {
    let id = SESSION.read(headers)?;
    app.sessions.find(id, now(), |token| app.tokens.find(token))
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    Query(flash): Query<FlashQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemPage> {
    let next = asked.next.as_deref().and_then(Destination::parse);
    if session(&app, &headers).is_some() {
        return Ok(go_on(next.as_ref()).into_response());
    }
    form(&headers, next, flash.get(), None)
}

pub(super) async fn submit(
    State(app): State<App>,
    caller: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Form(submitted): Form<Submitted>,
) -> Result<Response, ProblemPage> {
    let next = submitted.next.as_deref().and_then(Destination::parse);
    // Where the listener does not say who calls, all callers are one.
    let address = caller.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(ConnectInfo(address))| {
        address.ip()
    });
    match sign_in(&app, &headers, &submitted, address) {
        Ok(id) => {
            let cookies = [
                (header::SET_COOKIE, SESSION.keep(&id, &headers)),
                (header::SET_COOKIE, FORM.forget(&headers)),
            ];
            Ok((AppendHeaders(cookies), go_on(next.as_ref())).into_response())
        }
        Err(denied) => denied.answer(&headers, next),
    }
}

pub(super) async fn leave(State(app): State<App>, headers: HeaderMap, OwnForm(session): OwnForm) -> Response {
    if let Some(id) = SESSION.read(&headers) {
        app.sessions.close(id);
    }
    tracing::info!(by = session.principal.name, "signed out of the panel");
    let to = format!("{PATH}?flash={}", Flash::SignedOut.code());
    ([(header::SET_COOKIE, SESSION.forget(&headers))], Redirect::to(&to)).into_response()
}

/// Opens a session for the token's holder. A new id each time: one that was planted in the browser leads nowhere.
fn sign_in(app: &App, headers: &HeaderMap, submitted: &Submitted, address: IpAddr) -> Result<String, Denied> {
    if provenance::is_foreign(headers) || !is_our_form(headers, &submitted.form_token) {
        return Err(Denied::NotOurs);
    }
    let now = now();
    app.sessions.throttle.admit(address, now).map_err(Denied::TooOften)?;
    let token = TokenHash::of(submitted.token.trim());
    let principal = app.tokens.find(token).ok_or(Denied::Unknown)?;
    match principal.role {
        Role::Admin | Role::Viewer => {}
        Role::Ingest => return Err(Denied::IngestOnly),
    }
    app.sessions.throttle.succeeded(address);
    if let Some(former) = SESSION.read(headers) {
        app.sessions.close(former);
    }
    tracing::info!(
        by = principal.name,
        role = principal.role.as_str(),
        "signed in to the panel"
    );
    Ok(app.sessions.open(token, now, &mut rand::rng()))
}

fn is_our_form(headers: &HeaderMap, form_token: &str) -> bool {
    FORM.read(headers)
        .is_some_and(|kept| !kept.is_empty() && kept.as_bytes().ct_eq(form_token.as_bytes()).into())
}

fn go_on(next: Option<&Destination>) -> Redirect {
    Redirect::to(next.map_or(connections::PATH, Destination::as_str))
}

/// A second form in the same browser does not void the first.
fn form(
    headers: &HeaderMap,
    next: Option<Destination>,
    flash: Option<Flash>,
    problem: Option<String>,
) -> Result<Response, ProblemPage> {
    let kept = FORM.read(headers).filter(|kept| looks_like_ours(kept));
    let form_token = match kept {
        Some(kept) => kept.to_owned(),
        None => unguessable(&mut rand::rng()),
    };
    let cookie = FORM.keep(&form_token, headers);
    let shown = SignInPage {
        title: "Sign in".to_owned(),
        next,
        form_token,
        flash,
        problem,
    };
    Ok(([(header::SET_COOKIE, cookie)], page(&shown)?).into_response())
}

fn looks_like_ours(form_token: &str) -> bool {
    data_encoding::BASE64URL_NOPAD
        .decode(form_token.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 32)
}

impl Denied {
    fn answer(self, headers: &HeaderMap, next: Option<Destination>) -> Result<Response, ProblemPage> {
        let (status, text) = match self {
            Self::NotOurs => (
                StatusCode::FORBIDDEN,
                "The form was too old, or this browser keeps no cookies. Try again.".to_owned(),
            ),
            Self::TooOften(wait) => {
                let seconds = wait.as_secs().max(1);
                tracing::warn!("too many failed sign-ins to the panel");
                let problem = Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-sign-ins",
                    format!("Too many sign-ins have failed. Try again in {seconds} seconds."),
                );
                return Err(problem.retry_after(seconds).into());
            }
            Self::Unknown => (StatusCode::UNAUTHORIZED, "This token is not known.".to_owned()),
            Self::IngestOnly => {
                let text = "This token may only send events. Use one with the role viewer or admin.";
                (StatusCode::FORBIDDEN, text.to_owned())
            }
        };
        Ok((status, form(headers, next, None, Some(text))?).into_response())
    }
}
