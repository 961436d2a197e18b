//! What a guest is told by `wasi:http` when there is no answer.
//!
//! | the gate says | the guest gets |
//! |---|---|
//! | refused, a body over the cap | `HTTP-request-body-size`, with the cap |
//! | refused, headers over their bounds | `HTTP-request-header-section-size` |
//! | refused, anything else | `HTTP-request-denied` |
//! | rate-limited | `internal-error`, with how long to wait |
//! | timed out before the request left | `connection-timeout` |
//! | timed out after it | `HTTP-response-timeout` |
//! | unreachable | `destination-unavailable` |
//! | interrupted | `connection-terminated` |
//! | response too large | `HTTP-response-body-size`, with the cap |
//! | protocol error | `HTTP-protocol-error` |
//!
//! The code and the sentence of a refusal have no place in these and are in the attempt's trail, which decides what the
//! attempt came to whatever the guest makes of the error.

use cofferdam_domain::limits::REQUEST_BYTES_MAX;
use wasmtime_wasi_http::Error;

use crate::environment::HttpError;
use crate::memory::MemoryExceeded;

pub(super) fn to_guest(error: HttpError) -> Error {
    match error {
        HttpError::Refused { code, .. } => match code.as_str() {
            "request-too-large" => Error::HttpRequestBodySize(Some(REQUEST_BYTES_MAX as u64)),
            "headers-too-large" => Error::HttpRequestHeaderSectionSize(None),
            _ => Error::HttpRequestDenied,
        },
        HttpError::RateLimited { wait_ms } => Error::InternalError(Some(format!("rate-limited: wait {wait_ms} ms"))),
        HttpError::TimedOut { request_sent: false } => Error::ConnectionTimeout,
        HttpError::TimedOut { request_sent: true } => Error::HttpResponseTimeout,
        HttpError::Unreachable(_) => Error::DestinationUnavailable,
        HttpError::Interrupted(_) => Error::ConnectionTerminated,
        HttpError::ResponseTooLarge { bytes_max } => Error::HttpResponseBodySize(Some(bytes_max)),
        HttpError::ProtocolError(_) => Error::HttpProtocolError,
    }
}

/// The call is judged by this; the guest only learns that it has no answer.
pub(super) fn out_of_memory(exceeded: &MemoryExceeded) -> Error {
    Error::InternalError(Some(format!("the call is out of memory: {exceeded}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_gates_answers_has_a_code_of_wasi() {
        let check = |error: HttpError, expected: &str| assert_eq!(format!("{:?}", to_guest(error)), expected);
        let refused = |code: &str| HttpError::Refused {
            code: code.to_owned(),
            message: String::new(),
        };
        check(refused("upstream-not-granted"), "HttpRequestDenied");
        check(refused("request-too-large"), "HttpRequestBodySize(Some(8388608))");
        check(refused("headers-too-large"), "HttpRequestHeaderSectionSize(None)");
        check(
            HttpError::RateLimited { wait_ms: 5 },
            r#"InternalError(Some("rate-limited: wait 5 ms"))"#,
        );
        check(HttpError::TimedOut { request_sent: false }, "ConnectionTimeout");
        check(HttpError::TimedOut { request_sent: true }, "HttpResponseTimeout");
        check(HttpError::Unreachable(String::new()), "DestinationUnavailable");
        check(HttpError::Interrupted(String::new()), "ConnectionTerminated");
        check(
            HttpError::ResponseTooLarge { bytes_max: 7 },
            "HttpResponseBodySize(Some(7))",
        );
        check(HttpError::ProtocolError(String::new()), "HttpProtocolError");
    }
}
