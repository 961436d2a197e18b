//! One request on its way: out of the guest's resources, through the environment, back as a response.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_domain::limits::REQUEST_BYTES_MAX;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::{Semaphore, mpsc};
use wasmtime::component::Resource;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Method, Scheme};
use wasmtime_wasi_http::p2::body::{HyperIncomingBody, HyperOutgoingBody};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{Error, RequestOptions};

use super::errors::{out_of_memory, to_guest};
use super::order::Place;
use crate::environment::{Environment, HttpDestination, HttpRequest, HttpResponse};
use crate::memory::{CallMemory, Held};
use crate::wasi::{Gone, Wasi};

/// Requests that one call may begin, those that it gives up before they are sent included. The gate's own bound on those that
/// are sent is far below.
const REQUESTS_BEGUN_MAX: u64 = 256;

/// What the library expects of a response: with a task that goes on behind it, of which there is none here.
type Answered = (http::Response<HyperIncomingBody>, AbortOnDropJoinHandle<()>);

/// A request whose body may still be on its way.
struct Outgoing {
    destination: HttpDestination,
    request: HttpRequest,
    body: Option<HyperOutgoingBody>,
    environment: Arc<dyn Environment>,
    memory: CallMemory,
    turns: Arc<Semaphore>,
    place: Place,
    _alive: mpsc::Sender<Gone>,
}

impl Wasi {
    /// `outgoing-handler.handle`. The handle that it returns owns the request: dropped, it ends it.
    pub(super) fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
        let options = options.map(|options| self.table.delete(options)).transpose()?;
        let request = self.table.delete(request)?;
        if request.body.is_none() && announced_bytes(&request.headers).is_some_and(|announced| announced != 0) {
            return Ok(Err(ErrorCode::HttpRequestBodySize(Some(0))));
        }
        let Some(place) = self.order.next(REQUESTS_BEGUN_MAX) else {
            return Ok(Err(ErrorCode::ConnectionLimitReached));
        };
        let headers = request.headers.iter();
        let outgoing = Outgoing {
            destination: HttpDestination {
                scheme: request.scheme.map_or_else(|| "https".to_owned(), scheme),
                authority: request.authority.unwrap_or_default(),
                path_with_query: request.path_with_query.unwrap_or_default(),
            },
            request: HttpRequest {
                upstream: String::new(),
                method: method(request.method),
                path: String::new(),
                query: None,
                headers: headers
                    .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                body: Vec::new(),
                timeout: options.and_then(timeout),
                deadline_moved: self.meter.kept_waiting(),
                memory: self.memory.clone(),
            },
            body: request.body,
            environment: Arc::clone(&self.environment),
            memory: self.memory.clone(),
            turns: Arc::clone(&self.turns),
            place,
            _alive: self.alive.clone(),
        };
        let sending = spawn(self.meter.charged(outgoing.send()));
        Ok(Ok(self.table.push(HostFutureIncomingResponse::Pending(sending))?))
    }
}

impl Outgoing {
    async fn send(self) -> Result<Answered, Error> {
        let mut held = self.memory.held();
        let mut request = self.request;
        if let Some(body) = self.body {
            request.body = collected(body, &mut held).await?;
        }
        self.place.comes().await;
        let _turn = self.turns.acquire().await.map_err(|_| Error::ConnectionLimitReached)?;
        let mut sending = self.environment.send_to(self.destination, request);
        // Polled once, it is in the trail; from then on the next may follow.
        let first = std::future::poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        drop(self.place);
        let answer = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => sending.await,
        };
        drop(held);
        let response = answer.map_err(to_guest)?;
        let held = self.memory.held();
        Ok((incoming(response, held)?, spawn(std::future::ready(()))))
    }
}

/// The whole body. One over the cap is cut right behind it: the gate refuses it, and the refusal is recorded.
async fn collected(mut body: HyperOutgoingBody, held: &mut Held) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame?
            .into_data()
            .map_err(|_trailers| Error::HttpRequestTrailerSectionSize(Some(0)))?;
        let room = REQUEST_BYTES_MAX + 1 - whole.len();
        let data = data.slice(..data.len().min(room));
        held.grow(data.len()).map_err(|exceeded| out_of_memory(&exceeded))?;
        whole.extend_from_slice(&data);
        if whole.len() > REQUEST_BYTES_MAX {
            break;
        }
    }
    Ok(whole)
}

/// A body that counts against the call for as long as any part of it is there.
struct Counted {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn incoming(response: HttpResponse, mut held: Held) -> Result<http::Response<HyperIncomingBody>, Error> {
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for (name, value) in &response.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::HttpProtocolError)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Error::HttpProtocolError)?;
        headers.append(name, value);
    }
    held.grow(response.body.len())
        .map_err(|exceeded| out_of_memory(&exceeded))?;
    let body = Bytes::from_owner(Counted {
        bytes: response.body,
        _held: held,
    });
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut incoming = http::Response::new(body);
    *incoming.status_mut() = StatusCode::from_u16(response.status).map_err(|_| Error::HttpProtocolError)?;
    *incoming.headers_mut() = headers;
    Ok(incoming)
}

/// The request's `content-length`; the library has seen to it that there is one at most, and that it is a number.
fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn timeout(options: RequestOptions) -> Option<Duration> {
    let connect = options.connect_timeout.unwrap_or_default();
    options
        .first_byte_timeout
        .map(|first_byte| first_byte.saturating_add(connect))
}

fn scheme(scheme: Scheme) -> String {
    match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(other) => other,
    }
}

fn method(method: Method) -> String {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => return other,
    }
    .to_owned()
}
