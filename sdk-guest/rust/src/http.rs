//! Requests to upstreams, and what came back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, HttpError, Request, Response, host};

impl Request {
    /// A request without headers or body. `path` is below the upstream's base URL: `/chat.postMessage`.
    #[must_use]
    pub fn new(method: &str, upstream: &str, path: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// `GET`.
    #[must_use]
    pub fn get(upstream: &str, path: &str) -> Self {
        Self::new("GET", upstream, path)
    }

    /// `POST`.
    #[must_use]
    pub fn post(upstream: &str, path: &str) -> Self {
        Self::new("POST", upstream, path)
    }

    /// The query, percent-encoded, without `?`.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = Some(query.into());
        self
    }

    /// One more header. The host's own (`host`, `content-length`, the credential's slot, …) are refused.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The body, of this media type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// This value as a JSON body.
    ///
    /// # Errors
    /// `data-quality` when the value has no JSON form, such as a map whose keys are no strings.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Failure::data_quality(format!("the request has no JSON form: {error}")))?;
        Ok(self.body("application/json; charset=utf-8", body))
    }

    /// Ends the request after so many milliseconds; never later than the connection allows.
    #[must_use]
    pub fn timeout_ms(mut self, timeout: u32) -> Self {
        self.timeout_ms = Some(timeout);
        self
    }

    /// Sends it and waits for the whole response, whatever its status: see [`Response::success`].
    ///
    /// # Errors
    /// Why there is no response; `?` turns it into the right [`Failure`].
    pub fn send(&self) -> Result<Response, HttpError> {
        host::send(self)
    }
}

impl Response {
    /// The first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `dependency`, since an upstream that promises JSON and answers with something else is likely in trouble.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::dependency(format!("the upstream's answer cannot be read: {error}")).code("unreadable-answer")
        })
    }

    /// The response itself if its status is 200 to 299.
    ///
    /// # Errors
    /// The failure that the status stands for, by the host's own table.
    pub fn success(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        // Not a word of the body: messages are kept and shown, bodies are neither.
        let message = format!("the upstream answered {status}");
        let failure = match status {
            300..=399 => Failure::configuration(message),
            401 | 403 | 407 => Failure::auth(message),
            408 | 425 => Failure::dependency(message),
            410 => Failure::gone(message),
            429 => Failure::rate_limited(message),
            400..=499 => Failure::invalid(message),
            _ => Failure::dependency(message),
        };
        let failure = failure.code(status.to_string());
        Err(match self.retry_after_ms() {
            Some(wait) => failure.retry_after_ms(wait),
            None => failure,
        })
    }

    /// `Retry-After` in seconds (RFC 9110 section 10.2.3), in milliseconds. The form with a date needs a clock; the host,
    /// which reads the header too, has one.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        seconds.checked_mul(1000)
    }
}

/// The first header of this name, if it is text.
pub(crate) fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests;
