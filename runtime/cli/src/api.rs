//! The client of the admin API: the only code of this crate that speaks HTTP to a server.
//!
//! The token goes to the address that was named and nowhere else: no redirect is followed, and a server on this machine is
//! spoken to without a proxy. Every answer has a size limit and every request a time limit.

mod arguments;
mod error;
mod request;

use cofferdam_server::problem::Problem;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::time::Duration;

pub(crate) use arguments::ApiArguments;
pub(crate) use error::ApiError;
pub(crate) use request::Request;

/// Largest answer that is read, in bytes. The largest a server gives is the trace of an id that was used a hundred times.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request and its answer may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A server and the right to ask it.
pub(crate) struct Api {
    http: Client,
    base: Url,
    authorization: HeaderValue,
}

impl Api {
    /// A server at this address, asked with this token.
    pub(crate) fn new(base: &str, token: &SecretString) -> Result<Self, ApiError> {
        let base = arguments::base_url(base)?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| ApiError::BadToken)?;
        authorization.set_sensitive(true);
        Ok(Self {
            http: client(&base)?,
            base,
            authorization,
        })
    }

    /// Whether the token would cross a network in the clear.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.base.scheme() == "http" && !is_loopback(&self.base)
    }

    /// Asks, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(&self, request: Request) -> Result<T, ApiError> {
        let bytes = self.send_for_bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|source| ApiError::Unreadable {
            base: self.base.clone(),
            source,
        })
    }

    /// Asks, and hands the answer on as it is.
    pub(crate) async fn send_for_bytes(&self, request: Request) -> Result<Vec<u8>, ApiError> {
        let unreachable = |error: reqwest::Error| ApiError::Unreachable {
            base: self.base.clone(),
            source: error.without_url(),
        };
        let built = request
            .build(&self.http, &self.base)
            .header(AUTHORIZATION, self.authorization.clone());
        let answer = built.send().await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = read_capped(answer, ANSWER_BYTES_MAX)
            .await
            .map_err(unreachable)?
            .ok_or(ApiError::TooLarge)?;
        if status.is_success() {
            return Ok(bytes);
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(ApiError::Refused(Box::new(problem))),
            Err(_) => Err(ApiError::NotOurs {
                base: self.base.clone(),
                status: status.as_u16(),
            }),
        }
    }
}

/// A client for this address. TLS needs a provider of its algorithms; a second one in the same process is ignored.
pub(crate) fn client(base: &Url) -> Result<Client, ApiError> {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder.build().map_err(ApiError::Client)
}

/// The body; none if it is over the limit.
pub(crate) async fn read_capped(mut answer: Response, bytes_max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
