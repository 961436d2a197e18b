//! A stand-in for somebody's API: answers by a script, and keeps a book of what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Every header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// One line of the script.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    echo: bool,
    hold: bool,
}

impl Answer {
    /// This status with an empty JSON object.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: "{}".to_owned(),
            echo: false,
            hold: false,
        }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::status(200)
        }
    }

    /// 200, answering with every header and the body that it was sent.
    pub fn echo() -> Self {
        Self {
            echo: true,
            ..Self::status(200)
        }
    }

    /// No answer until [`Upstream::release`] or [`Upstream::release_one`].
    pub fn held() -> Self {
        Self {
            hold: true,
            ..Self::status(200)
        }
    }

    /// Another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

struct Book {
    script: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Answer>,
    asked: Mutex<Vec<Asked>>,
    released: Notify,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Upstream {
    book: Arc<Book>,
    address: SocketAddr,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    /// Starts one that answers by the script, and then with `otherwise` for ever.
    pub async fn start(script: impl IntoIterator<Item = Answer>, otherwise: Answer) -> Self {
        let book = Arc::new(Book {
            script: Mutex::new(script.into_iter().collect()),
            otherwise: Mutex::new(otherwise),
            asked: Mutex::default(),
            released: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { book, address }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.book.asked).clone()
    }

    /// Next, behind what is left of the script.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        locked(&self.book.script).extend(answers);
    }

    /// From now on, once the script is through.
    pub fn answer_with(&self, answer: Answer) {
        *locked(&self.book.otherwise) = answer;
    }

    /// Lets every held request go, and those that come later.
    pub fn release(&self) {
        self.answer_with(Answer::status(200));
        self.book.released.notify_waiters();
    }

    /// Lets one held request go: one that is held already or, if there is none, the next.
    pub fn release_one(&self) {
        self.book.released.notify_one();
    }

    /// Waits until it was asked this often, and hands all of it back.
    pub async fn wait_for(&self, count: usize) -> Vec<Asked> {
        crate::wait::until(&format!("request {count} to the stand-in"), || async {
            let asked = self.asked();
            (asked.len() >= count).then_some(asked)
        })
        .await
    }
}

async fn answer(State(book): State<Arc<Book>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let released = book.released.notified();
    let next = locked(&book.script).pop_front();
    let line = next.unwrap_or_else(|| locked(&book.otherwise).clone());
    locked(&book.asked).push(Asked {
        at: Instant::now(),
        method,
        uri,
        headers: headers.clone(),
        body: body.clone(),
    });
    if line.hold {
        let _ = tokio::time::timeout(Duration::from_secs(120), released).await;
    }
    let text = if line.echo {
        let headers = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        format!(
            "{}\n\n{}",
            headers.collect::<Vec<_>>().join("\n"),
            String::from_utf8_lossy(&body)
        )
    } else {
        line.body
    };
    let mut response = (
        StatusCode::from_u16(line.status).expect("a script holds real statuses"),
        text,
    )
        .into_response();
    for (name, value) in line.headers {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a script holds real headers"));
    }
    response
}
