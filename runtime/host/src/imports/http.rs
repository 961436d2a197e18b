//! `http`: hands the request to the environment. What may leave is decided behind it.

use std::sync::Arc;
use std::time::Duration;

use crate::bindings::http::{self, Host};
use crate::environment::{HttpError, HttpRequest};
use crate::imports::Guest;

impl Host for Guest {
    async fn send(&mut self, request: http::Request) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        self.entered()?;
        let environment = Arc::clone(&self.environment);
        let mut held = self.memory.held();
        held.grow(request.body.len() + header_bytes(&request.headers))?;
        let answer = environment
            .send(HttpRequest {
                upstream: request.upstream,
                method: request.method,
                path: request.path,
                query: request.query,
                headers: request.headers,
                body: request.body,
                memory: self.memory.clone(),
                timeout: request.timeout_ms.map(|ms| Duration::from_millis(ms.into())),
                deadline_moved: self.meter.kept_waiting(),
            })
            .await;
        drop(held);
        Ok(match answer {
            Ok(response) => {
                // The host holds it while the guest makes room for its own; that it has done so shows in its next call.
                let mut held = self.memory.held();
                held.grow(response.body.len() + header_bytes(&response.headers))?;
                self.answer = Some(held);
                Ok(http::Response {
                    status: response.status,
                    headers: response.headers,
                    body: response.body,
                })
            }
            Err(error) => Err(to_guest(error)),
        })
    }
}

fn header_bytes(headers: &[(String, Vec<u8>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn to_guest(error: HttpError) -> http::HttpError {
    match error {
        HttpError::Refused { code, message } => http::HttpError::Refused(http::Refusal { code, message }),
        HttpError::RateLimited { wait_ms } => http::HttpError::RateLimited(wait_ms),
        HttpError::TimedOut { request_sent } => http::HttpError::TimedOut(http::SentState { request_sent }),
        HttpError::Unreachable(message) => http::HttpError::Unreachable(message),
        HttpError::Interrupted(message) => http::HttpError::Interrupted(message),
        HttpError::ResponseTooLarge { bytes_max } => http::HttpError::ResponseTooLarge(bytes_max),
        HttpError::ProtocolError(message) => http::HttpError::ProtocolError(message),
    }
}
