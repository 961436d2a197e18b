//! A stand-in for somebody's webhook endpoint. It verifies signatures with code of its own, written from the Standard Webhooks
//! specification and sharing nothing with the server:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

use super::secrets::WEBHOOK_PREFIX;
use super::stand_in::StandIn;

/// How far `webhook-timestamp` may be off, in seconds.
const TOLERANCE_S: u64 = 300;

/// The type of event that it refuses the first time, as a receiver with a bug would.
const REFUSED_ONCE: &str = "com.github.push";

/// The endpoint.
pub(super) struct Receiver {
    stand_in: StandIn,
    book: Arc<Mutex<Vec<Call>>>,
}

/// One request that it got.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// When it was answered.
    pub(super) at: Instant,
    /// `webhook-id`.
    pub(super) id: String,
    /// Whether the signature holds.
    pub(super) is_verified: bool,
    /// The event's `type`.
    pub(super) kind: String,
    /// HTTP status of the answer.
    pub(super) answered: StatusCode,
}

/// What it reads of a CloudEvent.
#[derive(Deserialize)]
struct CloudEvent {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone)]
struct Desk {
    key: Arc<[u8]>,
    book: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    pub(super) async fn start(secret: &str) -> anyhow::Result<Self> {
        let key = BASE64.decode(secret.trim_start_matches(WEBHOOK_PREFIX).as_bytes())?;
        let desk = Desk {
            key: key.into(),
            book: Arc::default(),
        };
        let book = Arc::clone(&desk.book);
        let routes = Router::new().route("/events", post(receive)).with_state(desk);
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

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let is_verified = verify(&desk.key, &headers, &body, now_s);
    let kind = serde_json::from_slice(&body).map_or(String::new(), |event: CloudEvent| event.kind);
    let id = headers
        .get("webhook-id")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();

    let mut book = locked(&desk.book);
    let is_first = book.iter().all(|call| call.kind != kind);
    let (answered, answer) = if !is_verified {
        (StatusCode::UNAUTHORIZED, json!({ "error": "bad signature" }))
    } else if kind == REFUSED_ONCE && is_first {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "error": "this version does not know pushes" }),
        )
    } else {
        (
            StatusCode::CREATED,
            json!({ "id": format!("audit-{}", book.len() + 1) }),
        )
    };
    book.push(Call {
        at: Instant::now(),
        id,
        is_verified,
        kind,
        answered,
    });
    (answered, Json(answer)).into_response()
}

/// `webhook-signature` holds `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, perhaps among others.
fn verify(key: &[u8], headers: &HeaderMap, body: &[u8], now_s: u64) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return false;
    };
    if timestamp
        .parse::<u64>()
        .is_ok_and(|sent_s| sent_s.abs_diff(now_s) <= TOLERANCE_S)
    {
        signed(
            key,
            &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body],
            signatures,
        )
    } else {
        false
    }
}

fn signed(key: &[u8], parts: &[&[u8]], signatures: &str) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return false;
    };
    for part in parts {
        mac.update(part);
    }
    let given = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"));
    let mut decoded = given.filter_map(|encoded| BASE64.decode(encoded.as_bytes()).ok());
    decoded.any(|signature| mac.clone().verify_slice(&signature).is_ok())
}

/// A panic while the book was held would have ended the demo already.
fn locked(book: &Mutex<Vec<Call>>) -> MutexGuard<'_, Vec<Call>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_calls_signed_is_verified() {
        // The example of the specification's reference libraries.
        let key = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |signature: &str, timestamp: &str, body: &[u8], now_s, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
            headers.insert("webhook-timestamp", timestamp.parse().unwrap());
            headers.insert("webhook-signature", signature.parse().unwrap());
            assert_eq!(
                verify(&key, &headers, body, now_s),
                expected,
                "{signature} {timestamp} {now_s}"
            );
        };
        let (sent, body) = (1_614_265_330, br#"{"test": 2432232314}"#);
        check(good, "1614265330", body, sent, true);
        check(&format!("v1,AAAA {good}"), "1614265330", body, sent, true);
        check(good, "1614265330", body, sent + TOLERANCE_S, true);
        check(good, "1614265330", body, sent + TOLERANCE_S + 1, false);
        check(good, "1614265331", body, sent, false);
        check(good, "soon", body, sent, false);
        check(good, "1614265330", b"{}", sent, false);
        check("v1,AAAA", "1614265330", body, sent, false);
        assert!(!verify(&key, &HeaderMap::new(), body, sent));
    }
}
