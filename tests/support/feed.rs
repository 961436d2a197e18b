//! A feed that is paged through: it answers by the cursor that it is asked with, so it is the same feed however often, and by
//! whichever process, it is asked. It takes deliveries too.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::wait;

/// What a cursor is answered with.
type Answers = HashMap<String, Vec<(u16, String)>>;

#[derive(Default)]
struct Book {
    items: usize,
    page: usize,
    /// Said instead, one after the other, before the cursor is answered as it should be.
    instead: Answers,
    asked: Vec<String>,
    delivered: Vec<String>,
    under_way: usize,
    most_under_way: usize,
}

/// A running feed.
#[derive(Clone)]
pub struct Feed {
    book: Arc<Mutex<Book>>,
    address: SocketAddr,
}

impl Feed {
    /// Starts a feed of so many items, so many to a page. Its cursors are the numbers of the items that were handed out;
    /// behind the last one it goes on answering with nothing.
    pub async fn start(items: usize, page: usize) -> Self {
        let book = Arc::new(Mutex::new(Book {
            items,
            page,
            ..Book::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = Router::new()
            .route("/items", get(items_of))
            .route("/delivered", post(take))
            .with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { book, address }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next time that it is asked behind this cursor ("" for none) it answers with this instead; several come in order.
    pub fn instead(&self, cursor: &str, status: u16, body: &Value) {
        let mut book = self.book();
        let answers = book.instead.entry(cursor.to_owned()).or_default();
        answers.push((status, body.to_string()));
    }

    /// From now on there are so many items.
    pub fn grow(&self, items: usize) {
        self.book().items = items;
    }

    /// The cursors that it was asked with, in order; "" for none.
    pub fn asked(&self) -> Vec<String> {
        self.book().asked.clone()
    }

    /// The ids of what was delivered to it, in order.
    pub fn delivered(&self) -> Vec<String> {
        self.book().delivered.clone()
    }

    /// The most requests that it ever had at once.
    pub fn most_at_once(&self) -> usize {
        self.book().most_under_way
    }

    /// Waits until it was asked this often.
    pub async fn wait_asked(&self, times: usize) -> Vec<String> {
        wait::until(&format!("poll {times} of the feed"), || async {
            let asked = self.asked();
            (asked.len() >= times).then_some(asked)
        })
        .await
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn items_of(State(book): State<Arc<Mutex<Book>>>, uri: Uri) -> Response {
    let cursor = uri
        .query()
        .and_then(|query| query.strip_prefix("after="))
        .unwrap_or_default()
        .to_owned();
    let (answer, _under_way) = {
        let mut book_ = locked(&book);
        book_.asked.push(cursor.clone());
        let instead = book_.instead.get_mut(&cursor).filter(|answers| !answers.is_empty());
        let answer = instead.map(|answers| answers.remove(0));
        (
            answer.unwrap_or_else(|| (200, book_.page_behind(&cursor))),
            UnderWay::begin(&book, &mut book_),
        )
    };
    let (status, body) = answer;
    let lies = body.contains("lie");
    let status = StatusCode::from_u16(status).expect("a test says real statuses");
    let mut response = (status, body).into_response();
    if lies {
        // The guest takes it for a wish to claim success.
        let yes = axum::http::HeaderValue::from_static("yes");
        response.headers_mut().insert("x-lie", yes);
    }
    response
}

impl Book {
    fn page_behind(&self, cursor: &str) -> String {
        let from: usize = cursor.parse().unwrap_or(0);
        let to = (from + self.page).min(self.items);
        let ids: Vec<String> = (from..to).map(|item| format!("item-{item}")).collect();
        json!({ "ids": ids, "next": to.to_string(), "more": to < self.items }).to_string()
    }
}

/// A request that it is answering.
struct UnderWay(Arc<Mutex<Book>>);

impl UnderWay {
    fn begin(book: &Arc<Mutex<Book>>, held: &mut Book) -> Self {
        held.under_way += 1;
        held.most_under_way = held.most_under_way.max(held.under_way);
        Self(Arc::clone(book))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        locked(&self.0).under_way -= 1;
    }
}

async fn take(State(book): State<Arc<Mutex<Book>>>, body: Bytes) -> StatusCode {
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = event["id"].as_str().unwrap_or("?").to_owned();
    let mut book_ = locked(&book);
    book_.delivered.push(id);
    StatusCode::OK
}
