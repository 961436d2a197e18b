//! The outside world: one stand-in for all lanes, that outlives every server and keeps a book of what reached it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::lane::Lane;

/// How long the slow lane's destination takes: long enough that kills fall into it.
const SLOW: Duration = Duration::from_millis(60);

/// What reached one lane's destination of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// Requests.
    pub(crate) requests: u32,
    /// Those that had their effect here, whether or not the answer was heard.
    pub(crate) effects: u32,
    /// Idempotency keys that they came under; one, if all is well.
    pub(crate) keys: Vec<String>,
    /// How many first effects there had been at all destinations before its own.
    pub(crate) place: u64,
}

/// By lane and event.
pub(crate) type Book = HashMap<(Lane, String), Reached>;

/// The stand-in.
#[derive(Clone)]
pub(crate) struct Destination {
    book: Arc<Mutex<Book>>,
    places: Arc<AtomicU64>,
    address: SocketAddr,
}

impl Destination {
    /// Starts it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let destination = Self {
            book: Arc::default(),
            places: Arc::default(),
            address: listener.local_addr()?,
        };
        let router = Router::new()
            .route("/{lane}/", post(answer))
            .with_state(destination.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(destination)
    }

    /// The base URL of a lane.
    pub(crate) fn url(&self, lane: Lane) -> String {
        format!("http://{}/{}", self.address, lane.name())
    }

    /// Everything so far.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body is the event's id.
async fn answer(
    State(destination): State<Destination>,
    Path(lane): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, StatusCode> {
    let lane = Lane::named(&lane).ok_or(StatusCode::NOT_FOUND)?;
    let id = String::from_utf8_lossy(&body).into_owned();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    let status = {
        let mut book = destination.book();
        let reached = book.entry((lane, id.clone())).or_default();
        reached.requests += 1;
        if !reached.keys.contains(&key) {
            reached.keys.push(key);
        }
        let status = lane.answers(&id, reached.requests);
        if status.is_success() {
            if reached.effects == 0 {
                reached.place = destination.places.fetch_add(1, Ordering::SeqCst);
            }
            reached.effects += 1;
        }
        status
    };
    if lane == Lane::Slow {
        tokio::time::sleep(SLOW).await;
    }
    Ok(status)
}
