//! A stand-in for Slack's `chat.postMessage` that keeps its own books.
//!
//! It answers as <https://docs.slack.dev/reference/methods/chat.postMessage> and
//! <https://docs.slack.dev/apis/web-api/rate-limits> say: 200 with `ok`, 429 with `Retry-After`; and it has trouble with the
//! first tries of one message.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cofferdam_domain::Digest;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::github::ISSUE_TITLE;
use super::stand_in::StandIn;

/// What it answers to the first tries of the issue's message; after that it works.
const TROUBLE: [StatusCode; 3] = [
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::TOO_MANY_REQUESTS,
];

/// What it asks to wait with a 429, in seconds.
pub(super) const RETRY_AFTER_S: u64 = 1;

/// Slack, as far as the demo needs it.
pub(super) struct Slack {
    stand_in: StandIn,
    book: Arc<Mutex<Vec<Call>>>,
}

/// One request that it got.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// When it was answered.
    pub(super) at: Instant,
    /// `Idempotency-Key`.
    pub(super) key: String,
    /// Whether `Authorization` was the bot token, whole.
    pub(super) token_is_right: bool,
    /// Whether it is the issue's message.
    pub(super) is_issue: bool,
    /// SHA-256 of the body as it arrived.
    pub(super) body_hash: Digest,
    /// HTTP status of the answer.
    pub(super) answered: StatusCode,
    /// `channel/ts` of the message, if one was posted.
    pub(super) posted: Option<String>,
}

/// The arguments that it reads.
#[derive(Deserialize)]
struct Message {
    channel: String,
    text: String,
}

#[derive(Clone)]
struct Desk {
    token: Arc<str>,
    book: Arc<Mutex<Vec<Call>>>,
}

impl Slack {
    pub(super) async fn start(token: &str) -> anyhow::Result<Self> {
        let desk = Desk {
            token: token.into(),
            book: Arc::default(),
        };
        let book = Arc::clone(&desk.book);
        let routes = Router::new()
            .route("/api/chat.postMessage", post(post_message))
            .with_state(desk);
        Ok(Self {
            stand_in: StandIn::start(routes).await?,
            book,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.stand_in.address()
    }

    /// Every request so far, in order.
    pub(super) fn calls(&self) -> Vec<Call> {
        locked(&self.book).clone()
    }
}

async fn post_message(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let bearer = text("authorization").strip_prefix("Bearer ").unwrap_or_default();
    let token_is_right = bool::from(bearer.as_bytes().ct_eq(desk.token.as_bytes()));
    let message: Option<Message> = serde_json::from_slice(&body).ok();
    let is_issue = message
        .as_ref()
        .is_some_and(|message| message.text.contains(ISSUE_TITLE));

    let mut book = locked(&desk.book);
    let tries = book.iter().filter(|call| call.is_issue).count();
    let trouble = if is_issue { TROUBLE.get(tries).copied() } else { None };
    let (answered, ok) = match (trouble, &message) {
        (Some(status @ StatusCode::TOO_MANY_REQUESTS), _) => (status, Err("ratelimited")),
        (Some(status), _) => (status, Err("service_unavailable")),
        (None, _) if !token_is_right => (StatusCode::OK, Err("invalid_auth")),
        (None, None) => (StatusCode::OK, Err("invalid_json")),
        (None, Some(message)) => {
            let ts = format!("1795446531.{:06}", book.len());
            (StatusCode::OK, Ok((message.channel.clone(), ts)))
        }
    };
    book.push(Call {
        at: Instant::now(),
        key: text("idempotency-key").to_owned(),
        token_is_right,
        is_issue,
        body_hash: Digest::of(&body),
        answered,
        posted: ok.as_ref().ok().map(|(channel, ts)| format!("{channel}/{ts}")),
    });
    let answer = match ok {
        Ok((channel, ts)) => json!({ "ok": true, "channel": channel, "ts": ts }),
        Err(error) => json!({ "ok": false, "error": error }),
    };
    match answered {
        StatusCode::TOO_MANY_REQUESTS => (
            answered,
            [(header::RETRY_AFTER, RETRY_AFTER_S.to_string())],
            Json(answer),
        )
            .into_response(),
        _ => (answered, Json(answer)).into_response(),
    }
}

/// A panic while the book was held would have ended the demo already.
fn locked(book: &Mutex<Vec<Call>>) -> MutexGuard<'_, Vec<Call>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
