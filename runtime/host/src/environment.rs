//! What a call may reach outside the guest. The server implements it with the gate; the descriptor call gets none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use cofferdam_domain::state::StateView;

use crate::memory::CallMemory;

/// The answer to `http.send`, under way.
pub type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

/// The host's side of a guest's imports, for one call of one connection.
pub trait Environment: Send + Sync + 'static {
    /// Sends a request through the gate.
    fn send(&self, request: HttpRequest) -> SendFuture<'_>;
    /// Sends a request that names a URL instead of an upstream: `request.upstream`, `path` and `query` are found from
    /// `destination`. An environment that knows no URLs takes it for a request to no upstream.
    fn send_to(&self, _destination: HttpDestination, request: HttpRequest) -> SendFuture<'_> {
        self.send(request)
    }
    /// The connection's state as this call sees it; none where it is not granted.
    fn state(&self) -> Option<&Mutex<StateView>> {
        None
    }
    /// What clocks and random numbers show.
    fn ambience(&self) -> Ambience {
        Ambience::Real
    }
    /// The connection's settings, as JSON.
    fn settings(&self) -> &str;
    /// Whether a usable credential is bound to this upstream.
    fn credential_exists(&self, upstream: &str) -> bool;
}

/// What a call sees of time and chance through WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambience {
    /// The machine's.
    Real,
    /// The same in every call: the clock stands at its beginning, and the numbers repeat.
    Frozen,
}

/// A URL as a guest's HTTP client names it, in its parts, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpDestination {
    /// Without `://`.
    pub scheme: String,
    /// What is between `://` and the path.
    pub authority: String,
    /// Empty, or starting with `/` or `?`.
    pub path_with_query: String,
}

/// A guest's request, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// As the guest names it.
    pub upstream: String,
    /// As the guest names it.
    pub method: String,
    /// Below the base URL.
    pub path: String,
    /// Without `?`.
    pub query: Option<String>,
    /// Any bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Any bytes.
    pub body: Vec<u8>,
    /// What the guest is ready to wait.
    pub timeout: Option<Duration>,
    /// How much later than it was made for the call is ended by now: it was kept waiting while others computed.
    pub deadline_moved: Duration,
    /// The call's memory: whoever holds the answer while it comes in counts it against this.
    pub memory: CallMemory,
}

/// What the guest gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Scanned for secrets.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Scanned for secrets.
    pub body: Vec<u8>,
}

/// `http-error` of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// See the contract.
    Refused {
        /// See the contract.
        code: String,
        /// See the contract.
        message: String,
    },
    /// See the contract.
    RateLimited {
        /// See the contract.
        wait_ms: u64,
    },
    /// See the contract.
    TimedOut {
        /// See the contract.
        request_sent: bool,
    },
    /// See the contract.
    Unreachable(String),
    /// See the contract.
    Interrupted(String),
    /// See the contract.
    ResponseTooLarge {
        /// See the contract.
        bytes_max: u64,
    },
    /// See the contract.
    ProtocolError(String),
}

/// Refuses everything: what a descriptor call gets.
pub(crate) struct Nothing;

impl Environment for Nothing {
    fn send(&self, _request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async {
            Err(HttpError::Refused {
                code: "no-capability".to_owned(),
                message: "`describe` runs without any capability".to_owned(),
            })
        })
    }

    fn ambience(&self) -> Ambience {
        Ambience::Frozen
    }

    fn settings(&self) -> &str {
        "{}"
    }

    fn credential_exists(&self, _upstream: &str) -> bool {
        false
    }
}
