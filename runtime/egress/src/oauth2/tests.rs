//! The engine in virtual time, against an authorization server with a script and a vault that may fail.

mod answers;
mod consent;
mod failures;
mod one_request;
mod unauthorized;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::Notify;
use url::form_urlencoded;

use super::endpoint::{EndpointError, Posting};
use super::sets::{Kept, NotWritten, Noting, Write, Writing};
use super::*;
use crate::exchange::HttpError;

const HOUR: Duration = Duration::from_secs(3600);

/// The client's secret.
const APP: &str = "app-secret-91";

/// What the server does with a request.
enum Reply {
    Json(u16, String),
    Fails(EndpointError),
}

/// A token answer.
fn tokens(access: &str, refresh: Option<&str>, lives_s: u64) -> Reply {
    let mut json = serde_json::json!({"access_token": access, "token_type": "Bearer", "expires_in": lives_s});
    if let Some(refresh) = refresh {
        json["refresh_token"] = refresh.into();
    }
    Reply::Json(200, json.to_string())
}

fn no(code: &str) -> Reply {
    let description = format!("{APP} rt-1 at-1");
    Reply::Json(
        400,
        serde_json::json!({"error": code, "error_description": description}).to_string(),
    )
}

fn status(status: u16, retry_after_s: Option<u64>) -> Reply {
    Reply::Fails(EndpointError::Status {
        status,
        retry_after: retry_after_s.map(Duration::from_secs),
    })
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    form: HashMap<String, String>,
    authorization: Option<String>,
}

#[derive(Default)]
struct Server {
    script: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    /// How long each answer takes.
    takes: Mutex<Duration>,
    answered: Notify,
}

impl Server {
    fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().extend(replies);
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl TokenEndpoint for Arc<Server> {
    fn post<'a>(&'a self, _: &'a TokenSource, request: ::oauth2::HttpRequest) -> Posting<'a> {
        let authorization = request.headers().get("authorization");
        self.asked.lock().unwrap().push(Asked {
            at: Instant::now(),
            form: form_urlencoded::parse(request.body()).into_owned().collect(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
        });
        Box::pin(async move {
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            let reply = self.script.lock().unwrap().pop_front().expect("the script goes on");
            self.answered.notify_waiters();
            match reply {
                Reply::Fails(error) => Err(error),
                Reply::Json(status, body) => Ok(http::Response::builder()
                    .status(status)
                    .header("content-type", "application/json; charset=utf-8")
                    .body(body.into_bytes())
                    .unwrap()),
            }
        })
    }
}

/// The vault as a map. Writes may fail, or take time.
#[derive(Default)]
struct Sets {
    kept: Mutex<HashMap<TokenKey, (Vec<u8>, u64)>>,
    failing: AtomicU32,
    takes: Mutex<Duration>,
    writes: AtomicUsize,
    notes: Mutex<Vec<String>>,
}

fn edition(version: u64) -> Edition {
    Edition {
        version,
        created_at: Timestamp::ZERO,
    }
}

impl TokenSets for Sets {
    fn read(&self, key: &TokenKey) -> Result<Option<Kept>, CredentialsUnavailable> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.get(key).map(|(value, version)| Kept {
            value: Secret::new(value.clone()).unwrap(),
            edition: edition(*version),
        }))
    }

    fn write<'a>(&'a self, key: &'a TokenKey, write: Write) -> Writing<'a> {
        Box::pin(async move {
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            let failing = self.failing.load(Ordering::Relaxed);
            if failing > 0 {
                self.failing.store(failing - 1, Ordering::Relaxed);
                let error = io::Error::other("the disk is full");
                return Err(NotWritten::Unavailable(CredentialsUnavailable(Box::new(error))));
            }
            let mut kept = self.kept.lock().unwrap();
            let there = kept.get(key).map(|(_, version)| *version);
            let expected = match write.over {
                cofferdam_vault::Expect::Any => true,
                cofferdam_vault::Expect::Absent => there.is_none(),
                cofferdam_vault::Expect::Edition(expected) => there == Some(expected.version),
            };
            if !expected {
                return Err(NotWritten::Changed);
            }
            let version = there.unwrap_or(0) + 1;
            kept.insert(key.clone(), (write.value.expose().to_vec(), version));
            self.writes.fetch_add(1, Ordering::Relaxed);
            Ok(version)
        })
    }

    fn note_failure<'a>(&'a self, _: &'a TokenKey, reason: &'a str, _: Timestamp) -> Noting<'a> {
        self.notes.lock().unwrap().push(reason.to_owned());
        Box::pin(std::future::ready(()))
    }
}

impl Credentials for Sets {
    fn reveal(
        &self,
        _: &WorkspaceName,
        _: &ConnectionName,
        _: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        Ok(None)
    }
}

/// An engine, its server, its vault, and one source of tokens.
struct World {
    engine: OAuth2,
    server: Arc<Server>,
    sets: Arc<Sets>,
    source: TokenSource,
}

impl World {
    /// With this grant, and the client's secret set.
    fn new(kind: &str) -> Self {
        let authorize = if kind == "authorization-code" {
            r#""authorize_url":"https://as.test/authorize?tenant=1","#
        } else {
            ""
        };
        let grant = format!(
            r#"{{"grant":"{kind}","token_url":"https://as.test/token",{authorize}"client_id":"us","client_secret":"app",
                "scopes":["read","write"]}}"#
        );
        let name = |credential: &str| TokenKey {
            workspace: "w".parse().unwrap(),
            connection: "c".parse().unwrap(),
            credential: credential.parse().unwrap(),
        };
        let (server, sets) = (Arc::new(Server::default()), Arc::new(Sets::default()));
        sets.kept
            .lock()
            .unwrap()
            .insert(name("app"), (APP.as_bytes().to_vec(), 1));
        let source = TokenSource {
            key: name("tokens"),
            upstream: "api".parse().unwrap(),
            grant: Arc::new(serde_json::from_str(&grant).unwrap()),
        };
        Self {
            engine: engine(&server, &sets, Instant::now(), Timestamp::from_millis(1_000_000_000)),
            server,
            sets,
            source,
        }
    }

    /// An account that was connected now, with these tokens.
    async fn connected(access: &str, refresh: Option<&str>, lives: Duration) -> Self {
        let world = Self::new("authorization-code");
        world.server.next([tokens(access, refresh, lives.as_secs())]);
        world.consent("code-1").await.unwrap();
        world.server.asked.lock().unwrap().clear();
        world
    }

    async fn consent(&self, code: &str) -> Result<(), ConsentFailed> {
        let consent = ConsentCode {
            code: Zeroizing::new(code.to_owned()),
            verifier: Zeroizing::new("verifier-1".to_owned()),
            redirect_uri: "https://panel.test/oauth2/callback".to_owned(),
            by: "anna".to_owned(),
        };
        self.engine.consented(self.source.clone(), consent).await
    }

    async fn token(&self) -> Result<AccessToken, HttpError> {
        self.engine.access_token(self.source.clone()).await
    }

    /// The access token, or what there is instead.
    async fn says(&self) -> String {
        said(self.token().await)
    }

    fn stored(&self) -> TokenSet {
        let kept = TokenSets::read(&*self.sets, &self.source.key)
            .unwrap()
            .expect("a token set is kept");
        TokenSet::parse(&kept.value).unwrap()
    }

    /// The process after a restart: what lies in the vault, and nothing else.
    fn restarted(&self) -> Self {
        let now = (self.engine.inner.clock)();
        Self {
            engine: engine(&self.server, &self.sets, Instant::now(), now),
            server: Arc::clone(&self.server),
            sets: Arc::clone(&self.sets),
            source: self.source.clone(),
        }
    }
}

fn engine(server: &Arc<Server>, sets: &Arc<Sets>, began: Instant, at: Timestamp) -> OAuth2 {
    OAuth2 {
        inner: Arc::new(Inner {
            stored: Arc::clone(sets) as _,
            sets: Arc::clone(sets) as _,
            endpoint: Box::new(Arc::clone(server)),
            clock: Arc::new(move || at.after(Instant::now().duration_since(began))),
            spread: || 1.0,
            holders: Mutex::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            shares: Mutex::default(),
        }),
    }
}

fn said(token: Result<AccessToken, HttpError>) -> String {
    match token {
        Ok(token) => token.value.expose().to_owned(),
        Err(HttpError::Refused(refusal)) => refusal.code().to_owned(),
        Err(HttpError::RateLimited { wait }) => format!("rate-limited {}", wait.as_millis()),
        Err(HttpError::Unreachable(_)) => "unreachable".to_owned(),
        Err(other) => panic!("{other}"),
    }
}

/// Lets everything that is ready run, without any time passing.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
