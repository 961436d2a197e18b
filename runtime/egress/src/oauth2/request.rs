//! Token requests and what their answers mean (RFC 6749 sections 4.1.3, 4.4, 5 and 6), built and read by the `oauth2`
//! crate.
//!
//! Of an answer's own words none goes further: a code is one of a closed set, a scope is one that was asked for, a
//! description is dropped. The copies that the parser makes while it reads are not wiped.

use std::fmt;
use std::time::Duration;

use cofferdam_domain::connection::oauth2::ClientAuth;
use cofferdam_vault::Secret;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken, TokenUrl,
};
use serde::{Deserialize, Serialize, Serializer};

use super::endpoint::{EndpointError, Posting, TokenEndpoint};
use super::refused::TokenRefusal;
use super::source::TokenSource;
use super::token_set::{ACCESS_TOKEN_BYTES_MAX, LIFETIME_MAX, REFRESH_TOKEN_BYTES_MAX, SCOPES_BYTES_MAX, Token};

/// What is asked for a token.
pub(crate) enum Ask<'a> {
    /// As the client itself.
    Own,
    /// With a refresh token.
    Refresh(&'a Token),
    /// With the code of a consent.
    Code(CodeAsk<'a>),
}

/// The code of a consent, and what proves that it is ours.
#[derive(Clone, Copy)]
pub(crate) struct CodeAsk<'a> {
    pub(crate) code: &'a str,
    pub(crate) verifier: &'a str,
    pub(crate) redirect_uri: &'a str,
}

/// A yes, checked.
pub(crate) struct Granted {
    pub(crate) access_token: Token,
    pub(crate) refresh_token: Option<Token>,
    pub(crate) lives: Option<Duration>,
    pub(crate) refresh_lives: Option<Duration>,
    pub(crate) scopes: Vec<String>,
}

/// Anything but a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// A no for good.
    Refused(TokenRefusal),
    /// The endpoint may not be dialled.
    Blocked(String),
    /// Neither yes nor no: later perhaps.
    Unavailable {
        /// The server asks to slow down.
        limited: bool,
        reason: String,
        retry_after: Option<Duration>,
    },
}

type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Asks once.
pub(crate) async fn ask(
    endpoint: &dyn TokenEndpoint,
    source: &TokenSource,
    secret: Option<&Secret>,
    asked: Ask<'_>,
) -> Result<Granted, NotGranted> {
    let (grant, posts) = (&source.grant, Posts { endpoint, source });
    let client = client(source, secret)?;
    let parameters = grant.token_parameters.iter();
    let answered = match asked {
        Ask::Own => {
            let mut request = client.exchange_client_credentials();
            request = request.add_scopes(grant.scopes().iter().cloned().map(Scope::new));
            for (name, value) in parameters {
                request = request.add_extra_param(name, value);
            }
            if let Some(audience) = &grant.audience {
                request = request.add_extra_param("audience", audience);
            }
            request.request_async(&posts).await
        }
        Ask::Refresh(token) => {
            let token = RefreshToken::new(token.expose().to_owned());
            let mut request = client.exchange_refresh_token(&token);
            for (name, value) in parameters {
                request = request.add_extra_param(name, value);
            }
            request.request_async(&posts).await
        }
        Ask::Code(code) => {
            let redirect_uri =
                RedirectUrl::new(code.redirect_uri.to_owned()).map_err(|_| unusable("no redirect URI"))?;
            let mut request = client
                .exchange_code(AuthorizationCode::new(code.code.to_owned()))
                .set_pkce_verifier(PkceCodeVerifier::new(code.verifier.to_owned()))
                .set_redirect_uri(std::borrow::Cow::Owned(redirect_uri));
            for (name, value) in parameters {
                request = request.add_extra_param(name, value);
            }
            request.request_async(&posts).await
        }
    };
    match answered {
        Ok(answer) => checked(&answer, source),
        Err(error) => Err(not_granted(error)),
    }
}

fn client(source: &TokenSource, secret: Option<&Secret>) -> Result<Client, NotGranted> {
    let token_url = TokenUrl::from_url(source.grant.token_url.as_url().clone());
    let auth_type = match source.grant.client_auth {
        ClientAuth::Basic => AuthType::BasicAuth,
        ClientAuth::Body => AuthType::RequestBody,
    };
    let client: oauth2::Client<_, _, _, _, _> = oauth2::Client::new(ClientId::new(source.grant.client_id.clone()));
    let client = client.set_auth_type(auth_type).set_token_uri(token_url);
    let Some(secret) = secret else {
        return Ok(client);
    };
    let text = std::str::from_utf8(secret.expose()).map_err(|_| unusable("the client's secret is not text (UTF-8)"))?;
    Ok(client.set_client_secret(ClientSecret::new(text.to_owned())))
}

/// The crate's way to the endpoint.
struct Posts<'a> {
    endpoint: &'a dyn TokenEndpoint,
    source: &'a TokenSource,
}

impl<'c> AsyncHttpClient<'c> for Posts<'_> {
    type Error = EndpointError;
    type Future = Posting<'c>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Posting<'c> {
        Box::pin(async move { as_the_rfc_says(self.endpoint.post(self.source, request).await?) })
    }
}

/// The statuses that RFC 6749 knows: 200 for a yes, 400 for a no that says why. Some servers say no with a 200 and some
/// with 401 or 403; a no that does not say why is neither.
fn as_the_rfc_says(mut response: oauth2::HttpResponse) -> Result<oauth2::HttpResponse, EndpointError> {
    #[derive(Deserialize)]
    struct Peek {
        error: Option<serde::de::IgnoredAny>,
        access_token: Option<serde::de::IgnoredAny>,
    }
    let peek: Option<Peek> = serde_json::from_slice(response.body()).ok();
    let says_why = peek.is_some_and(|peek| peek.error.is_some() && peek.access_token.is_none());
    let status = response.status().as_u16();
    *response.status_mut() = match (status, says_why) {
        (200..=299, false) => http::StatusCode::OK,
        (200..=299 | 400 | 401 | 403, true) => http::StatusCode::BAD_REQUEST,
        _ => {
            return Err(EndpointError::Status {
                status,
                retry_after: None,
            });
        }
    };
    Ok(response)
}

fn not_granted(error: RequestTokenError<EndpointError, BasicErrorResponse>) -> NotGranted {
    let unavailable = |limited, reason: String, retry_after| NotGranted::Unavailable {
        limited,
        reason,
        retry_after,
    };
    match error {
        RequestTokenError::ServerResponse(said) => {
            let code: &str = match said.error() {
                BasicErrorResponseType::Extension(code) => code,
                known => known.as_ref(),
            };
            TokenRefusal::of(code).map_or_else(
                || unavailable(false, "it refused with a code that is not known".to_owned(), None),
                NotGranted::Refused,
            )
        }
        RequestTokenError::Request(EndpointError::Blocked(problem)) => NotGranted::Blocked(problem),
        RequestTokenError::Request(EndpointError::Status { status, retry_after }) => {
            unavailable(status == 429, format!("it answered {status}"), retry_after)
        }
        RequestTokenError::Request(EndpointError::Unreachable(reason) | EndpointError::Unanswered(reason)) => {
            unavailable(false, reason, None)
        }
        // Both hold text of the answer.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            unusable("its answer is not what RFC 6749 section 5.1 describes")
        }
    }
}

fn unusable(reason: &str) -> NotGranted {
    NotGranted::Unavailable {
        limited: false,
        reason: reason.to_owned(),
        retry_after: None,
    }
}

/// Bounds and meaning of a yes.
fn checked(answer: &Answer, source: &TokenSource) -> Result<Granted, NotGranted> {
    let bearer = match &answer.token_type {
        BasicTokenType::Bearer => true,
        BasicTokenType::Mac => false,
        BasicTokenType::Extension(kind) => kind.eq_ignore_ascii_case("bearer"),
    };
    if !bearer {
        return Err(unusable(
            "its token is no bearer token (RFC 6750), and no other kind is supported",
        ));
    }
    let access_token = Token::new(answer.access_token.secret(), ACCESS_TOKEN_BYTES_MAX)
        .map_err(|bad| unusable(&format!("its access token cannot be used: {bad}")))?;
    let refresh_token = match answer.refresh_token.as_ref().map(|token| token.secret().as_str()) {
        None | Some("") => None,
        Some(text) => Some(
            Token::new(text, REFRESH_TOKEN_BYTES_MAX)
                .map_err(|bad| unusable(&format!("its refresh token cannot be used: {bad}")))?,
        ),
    };
    let asked = source.grant.scopes();
    let scopes = match &answer.scope {
        // RFC 6749 section 5.1: no word means what was asked for.
        None => asked.to_vec(),
        Some(text) => {
            let granted: Vec<_> = text.split([' ', ',']).collect();
            let granted = |scope: &&String| granted.contains(&scope.as_str());
            asked.iter().filter(granted).cloned().collect()
        }
    };
    Ok(Granted {
        access_token,
        refresh_token,
        lives: answer.expires_in,
        refresh_lives: answer.refresh_token_expires_in,
        scopes: bounded(scopes),
    })
}

fn bounded(scopes: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |scope: &String| {
        bytes += scope.len() + 3;
        bytes <= SCOPES_BYTES_MAX
    };
    scopes.into_iter().take_while(fits).collect()
}

/// A yes as it comes. `refresh_token_expires_in` is GitHub's and others' own, `refresh_expires_in` Keycloak's.
#[derive(Deserialize)]
struct Answer {
    access_token: oauth2::AccessToken,
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default, alias = "refresh_expires_in", deserialize_with = "seconds")]
    refresh_token_expires_in: Option<Duration>,
    #[serde(default)]
    scope: Option<String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Answer")
    }
}

/// The crate asks for it; nothing of an answer is ever written.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl oauth2::TokenResponse for Answer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// Seconds as a number or, as Microsoft's older endpoint has them, as a text of digits. 0 says nothing: some servers write
/// it for a token without an end. More than [`LIFETIME_MAX`] is cut to that.
fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Whole(u64),
        Part(f64),
        Text(String),
    }
    let bad = || serde::de::Error::custom("no number of seconds");
    let seconds = match Option::<Seconds>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Seconds::Whole(seconds)) => Duration::from_secs(seconds),
        Some(Seconds::Part(seconds)) => {
            Duration::try_from_secs_f64(seconds.min(LIFETIME_MAX.as_secs_f64())).map_err(|_| bad())?
        }
        Some(Seconds::Text(text)) => Duration::from_secs(text.parse().map_err(|_| bad())?),
    };
    Ok(Some(seconds.min(LIFETIME_MAX)).filter(|seconds| !seconds.is_zero()))
}
