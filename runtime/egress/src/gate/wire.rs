//! Sends one checked request and reads the whole answer, bounded; says in the gate's own words what went wrong.
//!
//! The texts made here reach guests and records. None is taken from a library, whose errors name addresses and URLs.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use reqwest::{Client, Response};
use rustls::{AlertDescription, CertificateError};

use super::channel::RESPONSE_HEADER_BYTES_MAX;
use super::decode::{self, Incoming};
use super::record::{Entry, SentFlag, is_change};
use super::reflect::{Scanner, Watch};
use super::resolve::Pinned;
use crate::account::{AnswerAccount, Room};
use crate::exchange::HttpError;

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub client: &'a Client,
    pub pinned: &'a Pinned,
}

/// What an answer is read by.
pub(crate) struct Reading<'a> {
    /// Largest body, decoded.
    pub body_bytes_max: u64,
    /// What must not be in it; none if nothing must not.
    pub scanner: Option<&'a Scanner>,
    /// What it counts against while it is held here.
    pub account: &'a AnswerAccount,
}

/// A response as it came, within its bounds.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether a secret may be in the body.
    pub suspicious: bool,
    /// What it takes of the account.
    pub room: Room,
}

/// Sends and receives. Dropped at any point, it leaves nothing behind but a closed connection.
pub(crate) async fn exchange(
    line: Line<'_>,
    mut request: http::Request<Bytes>,
    reading: Reading<'_>,
    entry: &Entry,
) -> Result<Answer, HttpError> {
    // RFC 9110 section 8.6: a length is expected where a body would mean something.
    if request.body().is_empty() && is_change(request.method().as_str()) {
        request.headers_mut().insert(CONTENT_LENGTH, 0.into());
    }
    let accepted = HeaderValue::from_static(decode::ACCEPTED);
    request.headers_mut().insert(ACCEPT_ENCODING, accepted);
    let request = request.map(|body| {
        reqwest::Body::wrap(Outgoing {
            bytes: body,
            sent: entry.sent().clone(),
        })
    });
    let request =
        reqwest::Request::try_from(request).map_err(|_| HttpError::Unreachable("its URL is not HTTP".into()))?;
    let response = line.client.execute(request).await.map_err(|error| {
        let failed = before_answer(&error, entry.sent());
        if matches!(
            failed,
            HttpError::Unreachable(_) | HttpError::TimedOut { request_sent: false }
        ) {
            line.pinned.forget();
        }
        failed
    })?;
    entry.note(|exchange| {
        exchange.address = response.remote_addr();
        exchange.timings.first_byte_ms = Some(entry.elapsed_ms());
    });
    read(response, reading).await
}

async fn read(mut response: Response, reading: Reading<'_>) -> Result<Answer, HttpError> {
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
    check_framing(response.version(), &headers)?;
    let mut body = Incoming::new(&headers, response.content_length(), reading.body_bytes_max)?;
    let mut watch = reading.scanner.map(Watch::new);
    let mut room = reading.account.room();
    // Trailers are no data and are passed over.
    while let Some(piece) = response.chunk().await.map_err(|error| amid_answer(&error))? {
        body.push(piece)?;
        if !room.grow_to(body.so_far().len()) {
            return Err(HttpError::Interrupted(
                "the call has no memory left for the rest of the response".to_owned(),
            ));
        }
        if let Some(watch) = &mut watch {
            watch.grown(body.so_far());
        }
    }
    let body = body.finish()?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers,
        suspicious: watch.is_some_and(|watch| watch.finish(&body)),
        body,
        room,
    })
}

/// Refuses what two readers could take for two different messages (RFC 9112 section 6.3), and a transfer coding that would
/// hide the body from us.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), HttpError> {
    if version > Version::HTTP_11 || !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(protocol(
            "the response has both a content-length and a transfer-encoding".to_owned(),
        ));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings
        .next()
        .is_some_and(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if !chunked || codings.next().is_some() {
        return Err(protocol(
            "the response has a transfer-encoding that was not asked for".to_owned(),
        ));
    }
    Ok(())
}

fn before_answer(error: &reqwest::Error, sent: &SentFlag) -> HttpError {
    let request_sent = sent.is_set() && !error.is_connect();
    if error.is_timeout() {
        return HttpError::TimedOut { request_sent };
    }
    let tls = |problem: &str| HttpError::Unreachable(format!("the TLS handshake failed: {problem}"));
    if is_about_us(error) {
        return tls("the upstream asks for a client certificate, or does not accept ours");
    }
    if let Some(problem) = caused_by::<rustls::Error>(error).filter(|_| !request_sent) {
        return tls(tls_problem(problem));
    }
    if !request_sent {
        return HttpError::Unreachable(
            if caused_by::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
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

/// What an upstream says that does not like our certificate.
const ABOUT_US: [AlertDescription; 9] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    // A signature in the handshake is wrong, which is how a chain to a CA of the same name looks.
    AlertDescription::DecryptError,
];

/// Whether the upstream ended the handshake because of our certificate. In TLS 1.3 its word comes after we have begun to send,
/// and what was sent has not been read as a request all the same (RFC 8446 sections 4.4.2.4 and 6.2). HTTP/2's library
/// keeps the words of an error and not the error, so it is told by those; an upstream that forges them deceives itself.
fn is_about_us(error: &reqwest::Error) -> bool {
    let said = ABOUT_US.map(rustls::Error::AlertReceived);
    let words = said.each_ref().map(ToString::to_string);
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if words.iter().any(|words| text.contains(words)) {
            return true;
        }
        next = error.source();
    }
    caused_by::<rustls::Error>(error).is_some_and(|error| said.contains(error))
}

fn tls_problem(problem: &rustls::Error) -> &'static str {
    match problem {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the upstream's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the upstream's certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the upstream's certificate is for another name"
            }
            // A CA of the same name with another key looks like a wrong signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the upstream's certificate is signed by no CA that is trusted; an admin can add one as the upstream's `tls.ca`"
            }
            CertificateError::Revoked => "the upstream's certificate is revoked",
            _ => "the upstream's certificate cannot be verified",
        },
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            "the upstream speaks no TLS 1.2 or 1.3 that suits"
        }
        rustls::Error::AlertReceived(_) => "the upstream ended it",
        rustls::Error::InvalidMessage(_) => "the upstream does not speak TLS",
        _ => "it broke off",
    }
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
