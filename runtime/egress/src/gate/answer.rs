//! From an upstream's answer to what the guest gets and what is recorded of it.

use bytes::Bytes;
use cofferdam_domain::limits::clipped;
use cofferdam_domain::{Digest, ExchangeResult};
use http::HeaderMap;
use http::header::LOCATION;

use super::reflect::Scanner;
use super::wire::Answer;
use crate::account::Room;
use crate::exchange::{GuestResponse, HttpError};

/// Longest header value that is recorded, in bytes.
const RECORDED_VALUE_BYTES_MAX: usize = 256;

/// Most response headers that are recorded.
const RECORDED_HEADERS_MAX: usize = 24;

/// Response headers that are recorded: what joins our record to the upstream's, what explains a wait, and no more.
const RECORDED: [&str; 16] = [
    "cf-ray",
    "content-type",
    "date",
    "request-id",
    "retry-after",
    "server",
    "x-amzn-requestid",
    "x-amz-request-id",
    "x-correlation-id",
    "x-github-request-id",
    "x-ms-request-id",
    "x-request-id",
    "x-shopify-request-id",
    "x-slack-req-id",
    "x-slack-unique-id",
    "x-trace-id",
];

/// As [`RECORDED`], any name that starts so.
const RECORDED_PREFIXES: [&str; 3] = ["ratelimit", "x-ratelimit", "x-rate-limit"];

/// Largest body that is searched where it is; a larger one would keep the executor's thread from its other work.
const SEARCHED_IN_PLACE_BYTES_MAX: usize = 256 * 1024;

/// Headers of the connection rather than of the answer, the length, which decoding and redaction change, and cookies: a
/// session is a credential, and a guest, which cannot send one back, is to hold none.
const DROPPED: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "keep-alive",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
];

/// An answer with the credential taken out.
pub(crate) struct Cleaned {
    pub response: GuestResponse,
    /// What the answer takes of its account, until it is handed over.
    pub room: Room,
    pub reflected: bool,
    /// Whether it was in `Location`, where it could be carried on.
    pub location_reflected: bool,
}

/// Takes out what `scanner` finds. Without a credential there is nothing to look for.
///
/// A search on a thread of its own goes on when the caller is dropped; it ends by itself, since its body is bounded.
pub(crate) async fn clean(answer: Answer, scanner: Option<Scanner>) -> Result<Cleaned, HttpError> {
    // A body that was found clean while it came in is not searched again.
    let bytes = if answer.suspicious { answer.body.len() } else { 0 };
    off_the_executor(bytes, move || cleaned(answer, scanner.as_ref())).await
}

/// Runs what takes time in proportion to `bytes` where it holds up nobody.
async fn off_the_executor<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HttpError> {
    if bytes <= SEARCHED_IN_PLACE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer could not be searched for the credential"
        );
        HttpError::Interrupted("the host could not search the response for the credential".to_owned())
    })
}

fn cleaned(answer: Answer, scanner: Option<&Scanner>) -> Cleaned {
    let room = answer.room;
    let mut reflected = false;
    let mut location_reflected = false;
    let body = match scanner.filter(|_| answer.suspicious) {
        Some(scanner) => {
            let (clean, found) = scanner.redact_suspicious(answer.body);
            reflected |= found;
            clean
        }
        None => answer.body,
    };
    let scanner = scanner.filter(|scanner| suspicious_headers(scanner, &answer.headers));
    let mut headers = Vec::new();
    for (name, value) in &answer.headers {
        let name = name.as_str();
        let value = Bytes::copy_from_slice(value.as_bytes());
        let (value, in_name) = match scanner {
            Some(scanner) => {
                let (clean, found) = scanner.redact(value);
                reflected |= found;
                let is_carried_on = || scanner.is_in_lower_case(&clean.to_ascii_lowercase());
                location_reflected |= name == LOCATION.as_str() && (found || is_carried_on());
                (clean, scanner.is_in_lower_case(name.as_bytes()))
            }
            None => (value, false),
        };
        reflected |= in_name;
        if !in_name && !DROPPED.contains(&name) && !name.starts_with("proxy-") {
            headers.push((name.to_owned(), value.to_vec()));
        }
    }
    let response = GuestResponse {
        status: answer.status,
        headers,
        body,
    };
    Cleaned {
        response,
        room,
        reflected,
        location_reflected,
    }
}

/// Looks at all headers in one go, since there are many and hardly ever anything in them.
fn suspicious_headers(scanner: &Scanner, headers: &HeaderMap) -> bool {
    let mut all = Vec::new();
    let mut lower_case = Vec::new();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            all.extend_from_slice(part);
            all.push(b'\n');
        }
        lower_case.extend_from_slice(name.as_str().as_bytes());
        lower_case.push(b'\n');
        // A URL's host is put into lower case on its way.
        if name == LOCATION {
            lower_case.extend(value.as_bytes().to_ascii_lowercase());
            lower_case.push(b'\n');
        }
    }
    scanner.suspects(&all) || scanner.may_be_in_lower_case(&lower_case)
}

/// What is recorded of a response. It has been cleaned before.
pub(crate) fn result(response: &GuestResponse, retry_after_ms: Option<u64>) -> ExchangeResult {
    let recorded =
        |name: &str| RECORDED.contains(&name) || RECORDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let headers = response
        .headers
        .iter()
        .filter(|(name, _)| recorded(name))
        .take(RECORDED_HEADERS_MAX)
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value).into_owned();
            (
                clipped(name.clone(), RECORDED_VALUE_BYTES_MAX),
                clipped(text, RECORDED_VALUE_BYTES_MAX),
            )
        })
        .collect();
    ExchangeResult::Answered {
        status: response.status,
        body_hash: Digest::of(&response.body),
        body_bytes: response.body.len() as u64,
        headers,
        retry_after_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_answer_is_searched_on_another_thread() {
        let here = std::thread::current().id();
        for (bytes, in_place) in [
            (SEARCHED_IN_PLACE_BYTES_MAX, true),
            (SEARCHED_IN_PLACE_BYTES_MAX + 1, false),
        ] {
            let there = off_the_executor(bytes, || std::thread::current().id()).await.unwrap();
            assert_eq!(there == here, in_place, "{bytes}");
        }
    }

    #[test]
    fn only_listed_headers_are_recorded_and_long_values_are_clipped() {
        let response = GuestResponse {
            status: 200,
            headers: vec![
                ("x-request-id".to_owned(), b"r".repeat(1000)),
                ("x-ratelimit-remaining".to_owned(), b"7".to_vec()),
                ("set-cookie".to_owned(), b"session=1".to_vec()),
                ("location".to_owned(), b"/users/ann".to_vec()),
            ],
            body: Bytes::new(),
        };
        let ExchangeResult::Answered { headers, .. } = result(&response, None) else {
            panic!("a response is an answer");
        };
        assert_eq!(headers.len(), 2);
        assert_eq!(headers[0].1.len(), RECORDED_VALUE_BYTES_MAX);
        assert_eq!(headers[1], ("x-ratelimit-remaining".to_owned(), "7".to_owned()));
    }
}
