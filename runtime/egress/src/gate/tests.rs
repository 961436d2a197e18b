//! The gate against real sockets on loopback.

mod answers;
mod by_url;
mod refusals;
mod upstream;
mod wiring;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_domain::{ConnectionName, CredentialName, Exchange, Timestamp, TraceContext, WorkspaceName};
use cofferdam_vault::Secret;

use super::{Gate, GateConfig};
use crate::credentials::{Credentials, CredentialsUnavailable};
use crate::exchange::{GuestRequest, GuestResponse, HttpError};
use crate::gate::record::Trail;
use crate::gate::resolve::{Lookup, Resolver};
use crate::passport::{Passport, Route};

/// What the credential named `good` holds.
const SECRET: &str = "xoxb-17-secret/Value+?";

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Counts how often a credential is read.
#[derive(Default)]
struct Counting {
    reads: AtomicUsize,
}

impl Credentials for Counting {
    fn reveal(
        &self,
        _: &WorkspaceName,
        _: &ConnectionName,
        credential: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match credential.as_str() {
            "good" => Ok(Some(Secret::new(SECRET.into()).unwrap())),
            "basic" => Ok(Some(Secret::new(format!("user:{SECRET}").into()).unwrap())),
            "broken-line" => Ok(Some(Secret::new(b"a\nb".to_vec()).unwrap())),
            "tokens" => Ok(Some(Secret::new(br#"{"cofferdam-oauth2":1}"#.to_vec()).unwrap())),
            "unreadable" => Err(CredentialsUnavailable(Box::new(io::Error::other("disk")))),
            _ => Ok(None),
        }
    }
}

/// Knows the names of the tests only.
#[derive(Default)]
struct Names {
    known: BTreeMap<&'static str, Vec<SocketAddr>>,
    lookups: AtomicUsize,
}

impl Resolver for Names {
    fn lookup<'a>(&'a self, host: &'a str, _port: u16) -> Lookup<'a> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match host {
                "silent.test" => std::future::pending().await,
                _ => self
                    .known
                    .get(host)
                    .cloned()
                    .ok_or_else(|| io::Error::other("no such name")),
            }
        })
    }
}

/// A gate, one route under the name `up`, and what they saw.
struct World {
    gate: Gate,
    credentials: Arc<Counting>,
    names: Arc<Names>,
    passport: Passport,
}

impl World {
    /// With `slot` and the credential `good`; loopback is granted.
    fn new(base_url: &str, slot: &str) -> Self {
        Self::with(base_url, slot, Names::default(), Vec::new())
    }

    fn with(base_url: &str, slot: &str, names: Names, own_listeners: Vec<SocketAddr>) -> Self {
        let credentials = Arc::new(Counting::default());
        let names = Arc::new(names);
        let gate = Gate::new(GateConfig {
            credentials: credentials.clone(),
            resolver: names.clone(),
            clock: || NOW,
            own_listeners,
        });
        let route = Route {
            base_url: base_url.parse().unwrap(),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            path_prefixes: vec!["/ok".to_owned()],
            slot: slot.parse().unwrap(),
            credential: Some("good".parse().unwrap()),
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            oauth2: None,
        };
        let passport = Passport {
            workspace: "w".parse().unwrap(),
            connection: "c".parse().unwrap(),
            routes: Arc::new([("up".parse().unwrap(), route)].into()),
            request_timeout: Duration::from_secs(10),
            response_bytes_max: 64 * 1024,
            idempotency_key: Some("key".to_owned()),
            trace: TraceContext::mint(&mut rand::rng()),
            deadline: NOW.after(Duration::from_secs(30)),
            trail: Trail::default(),
        };
        Self {
            gate: gate.unwrap(),
            credentials,
            names,
            passport,
        }
    }

    fn route(mut self, change: impl FnOnce(&mut Route)) -> Self {
        let routes = Arc::get_mut(&mut self.passport.routes).unwrap();
        change(routes.get_mut(&"up".parse().unwrap()).unwrap());
        self
    }

    async fn send(&self, request: GuestRequest) -> Result<GuestResponse, HttpError> {
        self.gate.send(&self.passport, request).await
    }

    fn last(&self) -> Exchange {
        self.passport.trail.exchanges().pop().unwrap()
    }

    fn reads(&self) -> usize {
        self.credentials.reads.load(Ordering::Relaxed)
    }
}

fn get() -> GuestRequest {
    GuestRequest {
        upstream: "up".to_owned(),
        method: "GET".to_owned(),
        path: "/ok".to_owned(),
        ..GuestRequest::default()
    }
}

fn post(body: &'static str) -> GuestRequest {
    GuestRequest {
        method: "POST".to_owned(),
        body: Bytes::from_static(body.as_bytes()),
        ..get()
    }
}
