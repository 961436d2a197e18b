//! Sends one checked request and reads the whole answer, bounded; says in the gate's own words what went wrong.
//!
//! The texts made here reach guests and records. None is taken from a library, whose errors name addresses and URLs.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use reqwest::Response;

use super::channel::{Channel, RESPONSE_HEADER_BYTES_MAX};
use super::record::{Entry, SentFlag, is_change};
use crate::exchange::HttpError;

/// A response as it came, within its bounds.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Sends and receives. Dropped at any point, it leaves nothing behind but a closed connection.
pub(crate) async fn exchange(
    channel: &Channel,
    mut request: http::Request<Bytes>,
    body_bytes_max: u64,
    entry: &Entry,
) -> Result<Answer, HttpError> {
    // RFC 9110 section 8.6: a length is expected where a body would mean something.
    if request.body().is_empty() && is_change(request.method().as_str()) {
        request.headers_mut().insert(CONTENT_LENGTH, 0.into());
    }
    let request = request.map(|body| {
        reqwest::Body::wrap(Outgoing {
            bytes: body,
            sent: entry.sent().clone(),
        })
    });
    let request =
        reqwest::Request::try_from(request).map_err(|_| HttpError::Unreachable("its URL is not HTTP".into()))?;
    let response = channel.client.execute(request).await.map_err(|error| {
        let failed = before_answer(&error, entry.sent());
        if matches!(
            failed,
            HttpError::Unreachable(_) | HttpError::TimedOut { request_sent: false }
        ) {
            channel.pinned.forget();
        }
        failed
    })?;
    entry.note(|exchange| {
        exchange.address = response.remote_addr();
        exchange.timings.first_byte_ms = Some(entry.elapsed_ms());
    });
    read(response, body_bytes_max).await
}

async fn read(mut response: Response, body_bytes_max: u64) -> Result<Answer, HttpError> {
    let headers = response.headers().clone();
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > RESPONSE_HEADER_BYTES_MAX as usize {
        return Err(protocol(format!(
            "the response's headers are larger than {RESPONSE_HEADER_BYTES_MAX} bytes"
        )));
    }
    // What the client decodes it takes out of the headers. What is left would hide a reflected secret from the scan.
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded && response.content_length() != Some(0) {
        return Err(protocol(
            "the response has a content-encoding that was not asked for".to_owned(),
        ));
    }
    let too_large = || HttpError::ResponseTooLarge(body_bytes_max);
    if response.content_length().is_some_and(|length| length > body_bytes_max) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| amid_answer(&error))? {
        if (body.len() + chunk.len()) as u64 > body_bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status().as_u16(),
        headers,
        body: body.freeze(),
    })
}

fn before_answer(error: &reqwest::Error, sent: &SentFlag) -> HttpError {
    let request_sent = sent.is_set() && !error.is_connect();
    if error.is_timeout() {
        return HttpError::TimedOut { request_sent };
    }
    if !request_sent {
        return HttpError::Unreachable(
            if caused_by::<rustls::Error>(error).is_some() {
                "the TLS handshake failed"
            } else if caused_by::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
                "the connection was refused"
            } else {
                "no connection could be made"
            }
            .to_owned(),
        );
    }
    if caused_by::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        return protocol("the response is not HTTP, or its head is too large".to_owned());
    }
    HttpError::Interrupted("the connection broke before the response came".to_owned())
}

fn amid_answer(error: &reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return HttpError::TimedOut { request_sent: true };
    }
    let malformed = caused_by::<io::Error>(error)
        .is_some_and(|io| matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    if malformed || caused_by::<hyper::Error>(error).is_none() {
        return protocol("the response's body could not be decoded".to_owned());
    }
    HttpError::Interrupted("the connection broke in the middle of the response".to_owned())
}

fn protocol(problem: String) -> HttpError {
    HttpError::ProtocolError(problem)
}

/// The first error of this type in the chain, inside `io::Error` wrappers too.
fn caused_by<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        if let Some(found) = wrapped.and_then(|inner| caused_by::<E>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A request body that tells when the client begins to write the request.
///
/// hyper asks whether the body is at its end when, and only when, it has a connection and encodes the head. Were it to ask
/// earlier one day, an unsent request would count as sent, which costs a retry its certainty and nothing else.
struct Outgoing {
    bytes: Bytes,
    sent: SentFlag,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.set();
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.set();
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
