//! `/v1/connections/{name}/upstreams/{upstream}/oauth2`: how an upstream's access tokens stand, and a person's consent from
//! its start to its end. The same for the API and the panel.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_domain::{Connection, Digest, Timestamp, UpstreamName, WorkspaceName};
use cofferdam_egress::{ConsentCode, TokenSource, TokenStatus};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::actions;
use super::auth::{Admin, Viewer};
use crate::app::App;
use crate::clock::now;
use crate::consents::{CONSENT_MAX, ConsentView, NotTaken, Waiting};
use crate::oauth2::sources;
use crate::panel::unguessable;
use crate::problem::Problem;
use crate::tokens::{Principal, Role};

/// Longest `state` that is looked up, in bytes; ours has 43.
const STATE_BYTES_MAX: usize = 128;

/// A consent that a person is to be sent away for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsentStarted {
    /// Where the person is sent. Who has it may consent with an account of theirs: keep it to yourself.
    pub authorize_url: String,
    /// Where they come back to; it has to be registered with the provider.
    pub redirect_uri: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Names the consent in the upstream's `consent`.
    pub id: String,
}

/// How an upstream's access tokens stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokensView {
    /// The tokens.
    #[serde(flatten)]
    pub tokens: TokenStatus,
    /// The latest consent that was begun, while it is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_consent: Option<ConsentView>,
}

/// What an authorization server sends a person back with (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207).
#[derive(Deserialize)]
pub(crate) struct ConsentAnswer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// A consent that was given.
pub(crate) struct ConsentGiven {
    pub(crate) connection: String,
    pub(crate) upstream: String,
}

/// A consent that gave no tokens.
pub(crate) struct ConsentLost {
    pub(crate) problem: Problem,
    /// Of this connection, where it is known and who asks may know it.
    pub(crate) connection: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Path((name, upstream)): Path<(String, String)>,
) -> Result<Json<TokensView>, Problem> {
    let (_, source) = source(&app, &caller.workspace, &name, &upstream)?;
    Ok(Json(TokensView {
        tokens: app.oauth2.status(&source),
        latest_consent: app.consents.latest(&source, now()),
    }))
}

pub(super) async fn start(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((name, upstream)): Path<(String, String)>,
) -> Result<Json<ConsentStarted>, Problem> {
    begin(&app, &caller, &name, &upstream, None).map(Json)
}

/// Begins a consent. `browser` is the hash of what only the browser that begins it knows.
pub(crate) fn begin(
    app: &App,
    by: &Arc<Principal>,
    name: &str,
    upstream: &str,
    browser: Option<Digest>,
) -> Result<ConsentStarted, Problem> {
    let (connection, source) = source(app, &by.workspace, name, upstream)?;
    let state = Zeroizing::new(unguessable(&mut rand::rng()));
    let request = source.consent_request(&state, &app.redirect_uri);
    let request = request.map_err(|error| Problem::internal("beginning the consent", &error))?;
    let Some(request) = request else {
        let detail =
            format!("the tokens of upstream {upstream} are the client's own (client-credentials): nobody consents");
        return Err(Problem::new(StatusCode::CONFLICT, "no-consent-needed", detail));
    };
    let secret = source.grant.client_secret.clone();
    if let Some(secret) = secret {
        let exists = app.vault.exists(&by.workspace, &connection.spec.name, &secret);
        if !exists.map_err(|error| Problem::internal("looking for the client's secret", &error))? {
            let detail = format!("the OAuth 2.0 client's secret is not set: cofferdam secret set {name} {secret}");
            return Err(Problem::new(StatusCode::CONFLICT, "client-secret-missing", detail));
        }
    }
    let began_at = now();
    let waiting = Waiting {
        by: Arc::clone(by),
        revision: connection.revision,
        source,
        verifier: request.verifier,
        redirect_uri: Arc::clone(&app.redirect_uri),
        browser,
    };
    let Some(id) = app.consents.begin(&state, waiting, began_at) else {
        let detail = "too many consents are under way; try again in some minutes";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-consents", detail).retry_after(60));
    };
    tracing::info!(connection = name, upstream, by = by.name, "consent begun");
    Ok(ConsentStarted {
        authorize_url: request.url,
        redirect_uri: app.redirect_uri.to_string(),
        expires_at: began_at.after(CONSENT_MAX),
        id,
    })
}

/// Ends the consent that a person comes back from.
///
/// They need no session: it may be another browser than the panel's, and a browser sends the panel's own cookie with no
/// redirect from elsewhere. That an admin began it is what the state proves.
pub(crate) async fn end(
    app: &App,
    answer: ConsentAnswer,
    browser: Option<Digest>,
) -> Result<ConsentGiven, ConsentLost> {
    let state = answer.state.as_deref().filter(|state| state.len() <= STATE_BYTES_MAX);
    let taken = app.consents.take(state.unwrap_or_default(), browser, now());
    let (key, waiting) = taken.map_err(not_taken)?;
    let (connection, upstream) = (waiting.source.key.connection.clone(), waiting.source.upstream.clone());
    let ended = exchange(app, answer, *waiting).await;
    app.consents.ended(
        key,
        ended.as_ref().map(|_| ()).map_err(|problem| problem.detail.clone()),
    );
    match ended {
        Ok(()) => Ok(ConsentGiven {
            connection: connection.to_string(),
            upstream: upstream.to_string(),
        }),
        Err(problem) => {
            tracing::warn!(%connection, %upstream, code = problem.code, "a consent gave no tokens");
            Err(ConsentLost {
                problem,
                connection: Some(connection.to_string()),
            })
        }
    }
}

async fn exchange(app: &App, answer: ConsentAnswer, waiting: Waiting) -> Result<(), Problem> {
    let failed = |code: &str, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let by = &waiting.by;
    let still_admin = app
        .tokens
        .of(&by.workspace)
        .iter()
        .any(|token| token.role == Role::Admin && token.name == by.name && token.created_at == by.created_at);
    if !still_admin {
        let detail = "the token of the person who began this consent has been revoked since: begin again";
        return Err(failed("consent-void", detail.to_owned()));
    }
    let name = waiting.source.key.connection.as_str();
    let present = source(app, &by.workspace, name, waiting.source.upstream.as_str());
    let unchanged =
        present.is_ok_and(|(connection, source)| connection.revision == waiting.revision && source == waiting.source);
    if !unchanged {
        let detail = format!("connection {name} has changed since this consent began: begin again");
        return Err(failed("consent-void", detail));
    }
    check_issuer(answer.iss.as_deref(), &waiting.source).map_err(|detail| failed("wrong-issuer", detail))?;
    if let Some(error) = &answer.error {
        // What a server writes there may be anything, so only what is known is repeated.
        let said = match error.as_str() {
            "access_denied" => "the person or the authorization server has refused (access_denied)",
            "invalid_scope" => "the authorization server knows no such scope, or gives it to nobody (invalid_scope)",
            "unauthorized_client" => "this client may not ask for consent (unauthorized_client)",
            "invalid_request" => "the authorization server does not understand the request (invalid_request)",
            "server_error" | "temporarily_unavailable" => "the authorization server does not work now: try again",
            _ => "the authorization server has refused, with a code that is not known",
        };
        return Err(failed("consent-refused", said.to_owned()));
    }
    let Some(code) = answer.code else {
        let detail = "the authorization server has sent neither a code nor an error";
        return Err(failed("consent-refused", detail.to_owned()));
    };
    let consent = ConsentCode {
        code: Zeroizing::new(code),
        verifier: waiting.verifier,
        redirect_uri: waiting.redirect_uri.to_string(),
        by: by.name.clone(),
    };
    let connection = waiting.source.key.connection.clone();
    let consented = app.oauth2.consented(waiting.source, consent).await;
    consented.map_err(|error| failed("consent-failed", error.to_string()))?;
    actions::release(app, &waiting.by, connection.as_str()).await?;
    Ok(())
}

/// RFC 9207: an answer that another server has sent is not taken to this one's token endpoint. Where the issuer is not
/// written down, one that says so must at least be of the authorize URL's origin.
fn check_issuer(iss: Option<&str>, source: &TokenSource) -> Result<(), String> {
    let origin = |url: &url::Url| url.origin();
    match (&source.grant.issuer, iss) {
        (Some(expected), Some(iss)) if expected == iss => Ok(()),
        (Some(_), _) => Err("the answer is not from the issuer that the connection names".to_owned()),
        (None, None) => Ok(()),
        (None, Some(iss)) => {
            let ours = source.grant.authorize_url.as_ref().map(|url| origin(url.as_url()));
            let theirs = url::Url::parse(iss).ok().map(|url| origin(&url));
            if theirs.is_some() && theirs == ours {
                Ok(())
            } else {
                Err("the answer is from another issuer than the person was sent to".to_owned())
            }
        }
    }
}

fn not_taken(why: NotTaken) -> ConsentLost {
    let detail = match why {
        NotTaken::Unknown => "This consent is not known, or was used already. Begin again on the connection's page.",
        NotTaken::Expired => "This consent has taken longer than ten minutes. Begin again on the connection's page.",
        NotTaken::OtherBrowser => {
            "This consent was begun in another browser, or this one keeps no cookies. End it there, or begin again."
        }
    };
    // Anybody who reaches the page can ask for it as often as they like.
    tracing::debug!(?why, "a person came back with a consent that is not taken");
    ConsentLost {
        problem: Problem::new(StatusCode::BAD_REQUEST, "unknown-consent", detail),
        connection: None,
    }
}

/// An upstream that takes access tokens.
fn source(
    app: &App,
    workspace: &WorkspaceName,
    name: &str,
    upstream: &str,
) -> Result<(Arc<Connection>, TokenSource), Problem> {
    let connection = actions::connection(app, workspace, name)?;
    let missing = || {
        Problem::not_found(format_args!(
            "upstream {upstream} of connection {name} that takes OAuth 2.0 tokens"
        ))
    };
    let wanted: UpstreamName = upstream.parse().map_err(|_| missing())?;
    let found = sources(app, &connection).find(|source| source.upstream == wanted);
    Ok((Arc::clone(&connection), found.ok_or_else(missing)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(issuer: Option<&str>) -> TokenSource {
        let connection: Connection = serde_json::from_value(serde_json::json!({
            "workspace": "w", "name": "c", "connector": "x", "enabled": true, "revision": 1, "updated_at": Timestamp::ZERO,
            "upstreams": {"api": {"base_url": "https://a.test", "credential": "tokens", "attach": "oauth2", "oauth2": {
                "grant": "authorization-code", "token_url": "https://as.test/t", "client_id": "us",
                "authorize_url": "https://as.test/tenant/authorize", "issuer": issuer}}},
        }))
        .unwrap();
        TokenSource::of(&connection, &"api".parse().unwrap(), None).unwrap()
    }

    #[test]
    fn an_answer_of_another_issuer_is_not_taken() {
        for (expected, iss, good) in [
            (None, None, true),
            (None, Some("https://as.test"), true),
            (None, Some("https://as.test/tenant/v2.0"), true),
            (None, Some("https://as.test:8443"), false),
            (None, Some("http://as.test"), false),
            (None, Some("https://evil.test"), false),
            (None, Some("https://as.test.evil.test"), false),
            (None, Some(""), false),
            (Some("https://as.test/tenant"), Some("https://as.test/tenant"), true),
            (Some("https://as.test/tenant"), Some("https://as.test/other"), false),
            (Some("https://as.test/tenant"), None, false),
        ] {
            assert_eq!(
                check_issuer(iss, &source(expected)).is_ok(),
                good,
                "{expected:?} {iss:?}"
            );
        }
    }
}
