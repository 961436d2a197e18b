//! A host to test a connector against, on the machine at hand. It keeps no limits and checks no grant: whether the component
//! loads, and what it asks for, says `cofferdam plugin check`; the rest shows in a connection of a server.
//!
//! ```
//! use cofferdam_sdk::{Request, Response, credentials, testing::Host};
//!
//! let (answer, seen) = Host::new()
//!     .credential("slack")
//!     .answer(|request| Ok(Response { status: 200, headers: Vec::new(), body: request.path.clone().into_bytes() }))
//!     .run(|| {
//!         assert!(credentials::exists("slack"));
//!         Request::get("slack", "/auth.test").send()
//!     });
//! assert_eq!(answer?.body, b"/auth.test");
//! assert_eq!(seen.requests.len(), 1);
//! # Ok::<(), cofferdam_sdk::HttpError>(())
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::log::Level;
use crate::{HttpError, Request, Response};

type Answer = Box<dyn FnMut(&Request) -> Result<Response, HttpError>>;

/// What the connector under test finds, built piece by piece.
pub struct Host {
    settings: String,
    credentials: BTreeSet<String>,
    state: BTreeMap<String, Vec<u8>>,
    answer: Answer,
    seen: Seen,
}

/// What the connector under test did.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every request, in order.
    pub requests: Vec<Request>,
    /// Every log line, in order.
    pub logs: Vec<(Level, String)>,
    /// The state as it was left.
    pub state: BTreeMap<String, Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// No settings, credentials or state; nothing can be reached.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: "{}".to_owned(),
            credentials: BTreeSet::new(),
            state: BTreeMap::new(),
            answer: Box::new(|_| Err(HttpError::Unreachable("the test gives no answer".to_owned()))),
            seen: Seen::default(),
        }
    }

    /// The connection's settings.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that a call takes `json!({ … })` as it is"
    )]
    pub fn settings(mut self, settings: serde_json::Value) -> Self {
        self.settings = settings.to_string();
        self
    }

    /// A credential is bound to this upstream.
    #[must_use]
    pub fn credential(mut self, upstream: &str) -> Self {
        self.credentials.insert(upstream.to_owned());
        self
    }

    /// A value of the connection's state.
    #[must_use]
    pub fn state(mut self, key: &str, value: &[u8]) -> Self {
        self.state.insert(key.to_owned(), value.to_vec());
        self
    }

    /// What every request is answered with.
    #[must_use]
    pub fn answer(mut self, answer: impl FnMut(&Request) -> Result<Response, HttpError> + 'static) -> Self {
        self.answer = Box::new(answer);
        self
    }

    /// Runs `call` on this thread against this host. Returns what it returned, and what it did.
    pub fn run<T>(self, call: impl FnOnce() -> T) -> (T, Seen) {
        HOST.with_borrow_mut(|host| *host = Some(self));
        let returned = call();
        let host = HOST
            .with_borrow_mut(Option::take)
            .expect("only `run` takes the host away, and it does not nest");
        let mut seen = host.seen;
        seen.state = host.state;
        (returned, seen)
    }
}

/// What `crate::host` is elsewhere than in a component.
pub(crate) mod imports {
    use super::{HOST, Host};
    use crate::{HttpError, Request, Response, log::Level, state::StateError};

    fn with<T>(act: impl FnOnce(&mut Host) -> T) -> T {
        HOST.with_borrow_mut(|host| {
            act(host
                .as_mut()
                .expect("a native test calls the host inside `testing::Host::run`"))
        })
    }

    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        with(|host| {
            host.seen.requests.push(request.clone());
            (host.answer)(request)
        })
    }

    pub(crate) fn settings() -> String {
        with(|host| host.settings.clone())
    }

    pub(crate) fn credential_exists(upstream: &str) -> bool {
        with(|host| host.credentials.contains(upstream))
    }

    pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        with(|host| Ok(host.state.get(key).cloned()))
    }

    pub(crate) fn state_set(key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        with(|host| {
            match value {
                Some(value) => host.state.insert(key.to_owned(), value.to_vec()),
                None => host.state.remove(key),
            };
            Ok(())
        })
    }

    pub(crate) fn state_compare_and_swap(
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), StateError> {
        let found = state_get(key)?;
        if found.as_deref() == expected {
            state_set(key, value)
        } else {
            Err(StateError::Conflict(found))
        }
    }

    pub(crate) fn log(level: Level, message: &str, _fields: &[(String, String)]) {
        // A panic outside `run` must show as itself, not as a second one.
        HOST.with_borrow_mut(|host| {
            if let Some(host) = host {
                host.seen.logs.push((level, message.to_owned()));
            }
        });
    }
}
