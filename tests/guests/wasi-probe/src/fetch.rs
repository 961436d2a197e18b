//! One request through `wasi:http`.

use cofferdam_sdk::log;
use serde::Deserialize;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::memory::unhex;

/// Longest part of a body that is reported, in bytes.
const QUOTED_BYTES_MAX: usize = 900;

/// A request, `GET` unless it says otherwise.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    #[serde(default)]
    url: String,
    #[serde(default)]
    scheme: Option<String>,
    #[serde(default)]
    authority: Option<String>,
    #[serde(default)]
    path_with_query: Option<String>,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// More headers, whose values are hex digits.
    #[serde(default)]
    hex_headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_bytes: Option<usize>,
    /// Exactly these bytes.
    #[serde(skip)]
    raw_body: Option<Vec<u8>>,
    #[serde(default)]
    connect_timeout_ms: Option<u64>,
    #[serde(default)]
    first_byte_timeout_ms: Option<u64>,
    #[serde(default)]
    between_bytes_timeout_ms: Option<u64>,
    /// Sends a trailer behind the body.
    #[serde(default)]
    trailer: bool,
    /// Drops the body before it is finished.
    #[serde(default)]
    abandon: bool,
}

/// What came back.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// A request under way. Dropped, it is ended.
pub(crate) struct Begun(FutureIncomingResponse);

fn get() -> String {
    "GET".to_owned()
}

impl Got {
    pub(crate) fn quoted(&self) -> String {
        let end = self.body.len().min(QUOTED_BYTES_MAX);
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body[..end]))
    }
}

impl Fetch {
    /// Sends it and takes the whole answer; the log tells what came.
    pub(crate) fn send(&self) -> Result<Got, String> {
        let got = self.begin().and_then(Begun::finish);
        match &got {
            Ok(got) => log::info(&format!("got {}", got.quoted()), &[]),
            Err(code) => log::info(&format!("got error {code}"), &[]),
        }
        got
    }

    /// `POST` of these bytes.
    pub(crate) fn post(url: &str, body: Vec<u8>) -> Result<Got, String> {
        let fetch = Self {
            url: url.to_owned(),
            method: "POST".to_owned(),
            raw_body: Some(body),
            ..Self::default()
        };
        fetch.begin().and_then(Begun::finish)
    }

    /// Hands it over.
    pub(crate) fn begin(&self) -> Result<Begun, String> {
        let refused = |what: &'static str| move |()| what.to_owned();
        let (scheme, authority, path_with_query) = self.parts();
        let headers = Fields::new();
        for (name, value) in &self.headers {
            headers
                .append(name, value.as_bytes())
                .map_err(|error| format!("append {}", header_error(error)))?;
        }
        for (name, digits) in &self.hex_headers {
            let value = unhex(digits).ok_or("hex_headers hold hex digits")?;
            headers
                .append(name, &value)
                .map_err(|error| format!("append {}", header_error(error)))?;
        }
        let request = OutgoingRequest::new(headers);
        request
            .set_method(&method(&self.method))
            .map_err(refused("set-method"))?;
        request.set_scheme(scheme.as_ref()).map_err(refused("set-scheme"))?;
        request
            .set_authority(authority.as_deref())
            .map_err(refused("set-authority"))?;
        request
            .set_path_with_query(path_with_query.as_deref())
            .map_err(refused("set-path-with-query"))?;
        let filler = self.body_bytes.map(|bytes| vec![b'b'; bytes]);
        let text = self.body.clone().map(String::into_bytes);
        let body = match self.raw_body.clone().or(filler).or(text) {
            None => None,
            Some(bytes) => Some((request.body().map_err(refused("body"))?, bytes)),
        };
        let begun = outgoing_handler::handle(request, self.options()).map_err(|error| name(&error))?;
        if let Some((body, bytes)) = body {
            // A host that has had enough closes the stream; its answer says why.
            let _ = write(&body, &bytes);
            if self.abandon {
                drop(body);
            } else {
                let trailers = self.trailer.then(Fields::new);
                if let Some(trailers) = &trailers {
                    trailers
                        .append("x-trailer", b"1")
                        .map_err(|error| format!("trailer {}", header_error(error)))?;
                }
                OutgoingBody::finish(body, trailers).map_err(|error| name(&error))?;
            }
        }
        Ok(Begun(begun))
    }

    fn parts(&self) -> (Option<Scheme>, Option<String>, Option<String>) {
        let (scheme, rest) = match self.url.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, self.url.as_str()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let or =
            |given: &Option<String>, cut: &str| given.clone().or_else(|| (!cut.is_empty()).then(|| cut.to_owned()));
        let scheme = self.scheme.clone().or(scheme).map(|scheme| match scheme.as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => Scheme::Other(scheme),
        });
        (scheme, or(&self.authority, authority), or(&self.path_with_query, path))
    }

    fn options(&self) -> Option<RequestOptions> {
        let nanos = |ms: Option<u64>| ms.map(|ms| ms.saturating_mul(1_000_000));
        let set = [
            self.connect_timeout_ms,
            self.first_byte_timeout_ms,
            self.between_bytes_timeout_ms,
        ];
        if set.iter().all(Option::is_none) {
            return None;
        }
        let options = RequestOptions::new();
        // The host knows all three; what it would not take shows in what it does.
        let _ = options.set_connect_timeout(nanos(set[0]));
        let _ = options.set_first_byte_timeout(nanos(set[1]));
        let _ = options.set_between_bytes_timeout(nanos(set[2]));
        Some(options)
    }
}

impl Begun {
    /// Waits for the answer and takes all of it.
    pub(crate) fn finish(self) -> Result<Got, String> {
        let response = self.response()?;
        let headers = response.headers().entries();
        for (name, value) in &headers {
            log::info(&format!("header {name}: {}", String::from_utf8_lossy(value)), &[]);
        }
        let status = response.status();
        Ok(Got {
            status,
            headers,
            body: read(&response)?,
        })
    }

    /// Waits for the answer and takes its head.
    pub(crate) fn response(self) -> Result<IncomingResponse, String> {
        self.0.subscribe().block();
        self.0
            .get()
            .ok_or("no response although it was ready")?
            .map_err(|()| "the response was taken already")?
            .map_err(|error| name(&error))
    }
}

fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    let Ok(stream) = body.write() else {
        return Err(StreamError::Closed);
    };
    let ready = stream.subscribe();
    let mut rest = bytes;
    while !rest.is_empty() {
        ready.block();
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at(rest.len().min(room));
        stream.write(now)?;
        rest = later;
    }
    stream.flush()
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "the body was taken already")?;
    let stream = body.stream().map_err(|()| "the stream was taken already")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn header_error(error: HeaderError) -> &'static str {
    match error {
        HeaderError::InvalidSyntax => "invalid-syntax",
        HeaderError::Forbidden => "forbidden",
        HeaderError::Immutable => "immutable",
    }
}

/// As the interface spells it, with what it carries.
fn name(error: &ErrorCode) -> String {
    match error {
        ErrorCode::HttpRequestDenied => "HTTP-request-denied".to_owned(),
        ErrorCode::HttpRequestBodySize(max) => sized("HTTP-request-body-size", *max),
        ErrorCode::HttpRequestHeaderSectionSize(_) => "HTTP-request-header-section-size".to_owned(),
        ErrorCode::HttpRequestTrailerSectionSize(_) => "HTTP-request-trailer-section-size".to_owned(),
        ErrorCode::HttpResponseBodySize(max) => sized("HTTP-response-body-size", *max),
        ErrorCode::HttpResponseTimeout => "HTTP-response-timeout".to_owned(),
        ErrorCode::HttpProtocolError => "HTTP-protocol-error".to_owned(),
        ErrorCode::ConnectionLimitReached => "connection-limit-reached".to_owned(),
        ErrorCode::ConnectionTimeout => "connection-timeout".to_owned(),
        ErrorCode::ConnectionTerminated => "connection-terminated".to_owned(),
        ErrorCode::DestinationUnavailable => "destination-unavailable".to_owned(),
        ErrorCode::InternalError(message) => format!("internal-error {}", message.as_deref().unwrap_or_default()),
        other => format!("{other:?}"),
    }
}

fn sized(code: &str, max: Option<u64>) -> String {
    max.map_or_else(|| code.to_owned(), |max| format!("{code} {max}"))
}
