//! A stand-in for an authorization server on a real socket: it checks what a real one checks, and answers by a script.
//!
//! By itself it knows one client, sends a person straight back with a code, verifies PKCE, and gives out `at-1`, `at-2`, …
//! with a refresh token that each refresh replaces: one that was replaced is `invalid_grant` for ever.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// The client that it knows.
pub const CLIENT_ID: &str = "cofferdam-client";

/// The client's secret.
pub const CLIENT_SECRET: &str = "client-secret-5b0e7a";

/// How a token starts, whichever it is: what must be found nowhere.
pub const TOKEN_MARK: &str = "tok-9c41d7";

/// What the token endpoint does instead of what it does by itself.
#[derive(Clone, Debug)]
pub enum TokenAnswer {
    /// This status and body, as JSON.
    Json(u16, String),
    /// As by itself, and the access token lives for so many seconds.
    LivesFor(u64),
    /// `200`, and so many bytes.
    Huge(usize),
}

impl TokenAnswer {
    /// A no with this code, and a description that repeats what was sent.
    pub fn no(code: &str) -> Self {
        Self::Json(
            400,
            format!(r#"{{"error":"{code}","error_description":"{TOKEN_MARK} {CLIENT_SECRET}"}}"#),
        )
    }
}

#[derive(Default)]
struct Book {
    script: VecDeque<TokenAnswer>,
    requests: Vec<HashMap<String, String>>,
    /// Codes that were given out, with their challenge and redirect URI.
    codes: HashMap<String, (String, String)>,
    /// The one refresh token that is good.
    refresh: Option<String>,
    issued: u32,
    denies: bool,
}

type Shared = Arc<Mutex<Book>>;

/// A running stand-in.
#[derive(Clone)]
pub struct AuthorizationServer {
    book: Shared,
    address: SocketAddr,
}

impl AuthorizationServer {
    /// Starts one.
    pub async fn start() -> Self {
        let book = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = Router::new()
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { book, address }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The table `[upstreams.NAME.oauth2]` of a connection file for this server.
    pub fn table(&self, upstream: &str, grant: &str) -> String {
        let url = self.url();
        let authorize = if grant == "authorization-code" {
            format!("authorize_url = \"{url}/authorize\"\n")
        } else {
            String::new()
        };
        format!(
            "\n[upstreams.{upstream}.oauth2]\ngrant = \"{grant}\"\ntoken_url = \"{url}/token\"\n{authorize}client_id = \
             \"{CLIENT_ID}\"\nclient_secret = \"app\"\nscopes = [\"read\", \"write\"]\nnetworks = [\"127.0.0.0/8\"]\n"
        )
    }

    /// What the token endpoint does next.
    pub fn script(&self, answers: impl IntoIterator<Item = TokenAnswer>) {
        self.lock().script.extend(answers);
    }

    /// The person says no from now on.
    pub fn deny(&self) {
        self.lock().denies = true;
    }

    /// Every token request so far, by its form.
    pub fn requests(&self) -> Vec<HashMap<String, String>> {
        self.lock().requests.clone()
    }

    /// The one refresh token that is good.
    pub fn refresh_token(&self) -> Option<String> {
        self.lock().refresh.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

fn locked(book: &Shared) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Consents at once, or says no.
async fn authorize(State(book): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let asked = |name: &str| query.get(name).cloned().unwrap_or_default();
    let right = asked("response_type") == "code"
        && asked("client_id") == CLIENT_ID
        && asked("code_challenge_method") == "S256"
        && asked("scope") == "read write";
    if !right {
        return (
            StatusCode::BAD_REQUEST,
            format!("this is no authorization request: {query:?}"),
        )
            .into_response();
    }
    let (redirect_uri, state) = (asked("redirect_uri"), asked("state"));
    let mut book = locked(&book);
    if book.denies {
        return Redirect::to(&format!("{redirect_uri}?error=access_denied&state={state}")).into_response();
    }
    let code = format!("{TOKEN_MARK}-code-{}", book.codes.len() + 1);
    book.codes
        .insert(code.clone(), (asked("code_challenge"), redirect_uri.clone()));
    Redirect::to(&format!("{redirect_uri}?code={code}&state={state}")).into_response()
}

async fn token(State(book): State<Shared>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let mut book = locked(&book);
    book.requests.push(form.clone());
    let mut lives_s = 3600;
    match book.script.pop_front() {
        Some(TokenAnswer::Json(status, body)) => {
            let status = StatusCode::from_u16(status).expect("a script holds real statuses");
            return (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
        Some(TokenAnswer::Huge(bytes)) => {
            let body = format!("{{\"access_token\":\"{}\"}}", "x".repeat(bytes));
            return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
        Some(TokenAnswer::LivesFor(seconds)) => lives_s = seconds,
        None => {}
    }
    let no = |code: &str| {
        let body = format!(r#"{{"error":"{code}"}}"#);
        (
            StatusCode::BAD_REQUEST,
            [(header::CONTENT_TYPE, "application/json")],
            body,
        )
            .into_response()
    };
    let basic = format!(
        "Basic {}",
        BASE64.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes())
    );
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|sent| sent != basic.as_str())
    {
        return no("invalid_client");
    }
    let sent = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let of_person = match sent("grant_type") {
        "client_credentials" => false,
        "refresh_token" if book.refresh.as_deref() == Some(sent("refresh_token")) => true,
        "authorization_code" => {
            let Some((challenge, redirect_uri)) = book.codes.remove(sent("code")) else {
                return no("invalid_grant");
            };
            let verified = BASE64URL_NOPAD.encode(&Sha256::digest(sent("code_verifier").as_bytes()));
            if verified != challenge || sent("redirect_uri") != redirect_uri {
                return no("invalid_grant");
            }
            true
        }
        _ => return no("invalid_grant"),
    };
    book.issued += 1;
    let nth = book.issued;
    let mut answer = serde_json::json!({
        "access_token": format!("{TOKEN_MARK}-at-{nth}"), "token_type": "Bearer", "expires_in": lives_s,
    });
    if of_person {
        let refresh = format!("{TOKEN_MARK}-rt-{nth}");
        answer["refresh_token"] = refresh.clone().into();
        book.refresh = Some(refresh);
    }
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
