//! Connecting an account: where a person is told that they leave, and where they come back to.
//!
//! The page that says so is a page of its own because a form of the panel may lead nowhere else (`form-action 'self'`): a
//! person follows a link. The callback shows what happened to whoever comes back, signed in or not, and nothing more.

use std::time::Duration;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cofferdam_domain::connection::OAuth2GrantKind;
use cofferdam_domain::{Digest, Timestamp};
use cofferdam_egress::{TokenState, TokenStatus};

use super::badge::{Badge, Tone};
use super::cookie::{Cookie, SameSite};
use super::frame::{Frame, Section, page};
use super::guard::Change;
use super::problem_page::ProblemPage;
use super::sessions::unguessable;
use super::units::Moment;
use crate::admin::oauth2::{self, ConsentAnswer};
use crate::app::App;
use crate::clock::now;
use crate::consents::CONSENT_MAX;
use crate::problem::Problem;

/// Where an authorization server sends people back to.
pub(super) const CALLBACK_PATH: &str = "/oauth2/callback";

/// Ties a consent to the browser that began it. It comes along with the link that leads back, and with nothing else from
/// elsewhere.
const BROWSER: Cookie = Cookie {
    name: "cofferdam_consent",
    path: CALLBACK_PATH,
    max_age: Duration::from_secs(CONSENT_MAX.as_secs()),
    same_site: SameSite::Lax,
};

/// How an upstream's tokens stand, for a person.
pub(super) struct TokensRow {
    pub(super) badge: Badge,
    pub(super) lines: Vec<String>,
    /// What the button says; none where nobody consents.
    pub(super) connect: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "panel/consent_begin.html")]
pub(super) struct BeginPage {
    pub(super) frame: Frame,
    pub(super) connection: String,
    pub(super) upstream: String,
    pub(super) server: String,
    pub(super) scopes: Vec<String>,
    pub(super) authorize_url: String,
}

#[derive(Template)]
#[template(path = "panel/consent_end.html")]
pub(super) struct EndPage {
    pub(super) title: &'static str,
    pub(super) text: String,
    pub(super) connection: Option<String>,
}

pub(super) async fn connect(
    State(app): State<App>,
    Path((name, upstream)): Path<(String, String)>,
    headers: HeaderMap,
    Change(session): Change,
) -> Result<Response, ProblemPage> {
    // Two consents in one browser share its value, so that the second does not void the first.
    let kept = BROWSER.read(&headers).filter(|kept| is_ours(kept));
    let browser = kept.map_or_else(|| unguessable(&mut rand::rng()), str::to_owned);
    let hash = Digest::of(browser.as_bytes());
    let begun = oauth2::begin(&app, &session.principal, &name, &upstream, Some(hash))?;
    let url = url::Url::parse(&begun.authorize_url);
    let url = url.map_err(|error| Problem::internal("beginning the consent", &error))?;
    let asked = url.query_pairs().find(|(key, _)| key == "scope");
    let shown = page(&BeginPage {
        frame: Frame::of(&app, &session, Section::Connections, now()).titled(format!("Connect {upstream}")),
        connection: name,
        upstream,
        server: url.host_str().unwrap_or_default().to_owned(),
        scopes: asked.map_or_else(Vec::new, |(_, text)| text.split(' ').map(str::to_owned).collect()),
        authorize_url: begun.authorize_url,
    })?;
    Ok(([(header::SET_COOKIE, BROWSER.keep(&browser, &headers))], shown).into_response())
}

pub(super) async fn callback(
    State(app): State<App>,
    headers: HeaderMap,
    answer: Result<Query<ConsentAnswer>, QueryRejection>,
) -> Response {
    let browser = BROWSER.read(&headers).map(|value| Digest::of(value.as_bytes()));
    let ended = match answer {
        Ok(Query(answer)) => oauth2::end(&app, answer, browser).await,
        Err(_) => {
            let detail = "What the authorization server has sent along cannot be read.";
            return ProblemPage::from(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail)).into_response();
        }
    };
    let (status, shown) = match ended {
        Ok(given) => {
            let text = format!(
                "The account is connected: the upstream {} of {} has its access token, and what has waited for it is tried now.",
                given.upstream, given.connection
            );
            let shown = EndPage {
                title: "Connected",
                text,
                connection: Some(given.connection),
            };
            (StatusCode::OK, shown)
        }
        Err(lost) => {
            let status = StatusCode::from_u16(lost.problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            let shown = EndPage {
                title: "Not connected",
                text: lost.problem.detail,
                connection: lost.connection,
            };
            (status, shown)
        }
    };
    match page(&shown) {
        Ok(shown) => (status, shown).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn is_ours(value: &str) -> bool {
    data_encoding::BASE64URL_NOPAD
        .decode(value.as_bytes())
        .is_ok_and(|bytes| bytes.len() == 32)
}

impl TokensRow {
    pub(super) fn new(status: &TokenStatus, now: Timestamp) -> Self {
        let (tone, word) = match status.state {
            TokenState::Ready if status.obtained_at.is_none() => (Tone::Quiet, "none yet"),
            TokenState::Ready => (Tone::Good, "ready"),
            TokenState::Failing => (Tone::Warning, "refresh failed"),
            TokenState::NotConnected => (Tone::Bad, "not connected"),
            TokenState::ConsentNeeded => (Tone::Bad, "consent needed"),
            TokenState::Refused => (Tone::Bad, "refused"),
            TokenState::Unusable => (Tone::Bad, "unusable"),
        };
        let when = |at: Timestamp| Moment::new(at, now).relative;
        let mut lines = Vec::new();
        lines.extend(status.problem.clone());
        lines.extend(
            status
                .failing_since
                .map(|at| format!("refresh failed since {}", when(at))),
        );
        lines.extend(status.valid_until.map(|at| format!("valid until {at} ({})", when(at))));
        if status.obtained_at.is_some() {
            lines.push(
                if status.renewable {
                    "renewed by the host"
                } else {
                    "not renewed: there is no refresh token"
                }
                .to_owned(),
            );
        }
        lines.extend(status.consent_ends_at.map(|at| format!("the consent ends {at}")));
        if let Some(consent) = &status.consent {
            lines.push(format!("connected by {}, {}", consent.by, when(consent.at)));
        }
        if !status.scopes.is_empty() {
            lines.push(format!("scopes: {}", status.scopes.join(" ")));
        }
        let connect = match (status.grant, status.state) {
            (OAuth2GrantKind::ClientCredentials, _) => None,
            (OAuth2GrantKind::AuthorizationCode, TokenState::NotConnected) => Some("Connect"),
            (OAuth2GrantKind::AuthorizationCode, _) => Some("Reconnect"),
        };
        Self {
            badge: Badge { tone, word },
            lines,
            connect,
        }
    }
}
