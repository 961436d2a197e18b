//! What a case runs on: the real host, the real gate, and around it the outside, the names and the credential of the case.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use cofferdam_domain::{
    ConnectionName, Exchange, Policy, Timestamp, TraceContext, UpstreamGrant, UpstreamName, WorkspaceName,
};
use cofferdam_egress::{
    Credentials, Destination, Gate, GateConfig, GuestRequest, GuestResponse, HttpError as GateError, Passport, Route,
    Trail,
};
use cofferdam_host::{
    CallLimits, CallReport, Connector, DeliverRequest, Engine, EngineSettings, Environment, HttpDestination, HttpError,
    HttpRequest, HttpResponse, SendFuture,
};

use super::case::{Ask, Case, Rounds};
use super::credential::{Credential, Kind};
use super::door::{Door, Report, event};
use super::names::Names;
use super::text::fill;
use super::tokens;
use super::upstream::Outside;

/// The upstream that a guest reports to; never the gate's.
const REPORT: &str = "report";

/// Where a guest that names URLs reports to.
const REPORT_AUTHORITY: &str = "report.suite.test";

/// As many requests of one call leave room below the gate's own bound.
const ASKS_PER_CALL_MAX: usize = 30;

/// Doors with their guests.
pub(crate) struct Bed {
    engine: Engine,
    doors: Vec<(Box<dyn Door>, Connector)>,
}

/// One case through one door.
pub(crate) struct Ran {
    pub(crate) credential: Arc<Credential>,
    pub(crate) outside: Outside,
    pub(crate) lookups: usize,
    /// Call by call.
    pub(crate) calls: Vec<Called>,
    /// The first reply's body, with nothing left to fill in.
    pub(crate) body: Vec<u8>,
}

/// One call of a case.
pub(crate) struct Called {
    pub(crate) reports: Vec<Report>,
    pub(crate) trail: Vec<Exchange>,
    /// How the call ended, what the guest logged, and what it returned.
    pub(crate) told: String,
    /// Whether the guest came to its end.
    pub(crate) whole: bool,
}

impl Bed {
    /// The engine and a guest for each door, compiled.
    pub(crate) async fn new(dir: &Path, doors: Vec<Box<dyn Door>>) -> anyhow::Result<Self> {
        let engine = Engine::new(&EngineSettings::new(dir.join("compiled")))?;
        let mut loaded = Vec::new();
        for door in doors {
            let connector = Connector::load(&engine, &door.component()).await;
            let connector =
                connector.map_err(|problem| anyhow::anyhow!("{}: {}", problem.path.display(), problem.reason))?;
            loaded.push((door, connector));
        }
        Ok(Self { engine, doors: loaded })
    }

    /// Every door, in order.
    pub(crate) fn doors(&self) -> impl Iterator<Item = &dyn Door> {
        self.doors.iter().map(|(door, _)| door.as_ref())
    }

    /// Runs a case through the nth door.
    pub(crate) async fn run(&self, case: &Case, door: usize) -> anyhow::Result<Ran> {
        let (door, connector) = &self.doors[door];
        let outside = Outside::listen().await?;
        let credential = Arc::new(Credential::random(case.kind));
        let text = |text: &str| fill(text, outside.port(), &credential);
        let replies: Vec<_> = case
            .replies
            .iter()
            .map(|reply| super::text::reply(reply, outside.port(), &credential))
            .collect();
        let body = replies.first().map(|reply| reply.pieces.concat()).unwrap_or_default();
        outside.answer(replies);

        let grant = grant(case, &credential, &text)?;
        let names = Arc::new(Names::new(case.names.clone()));
        let credentials: Arc<dyn Credentials> = match case.kind {
            Kind::OAuth => tokens::source(&credential, &workspace()?, &connection()?, Arc::clone(&names) as _).await?,
            _ => Arc::clone(&credential) as _,
        };
        let gate = Gate::new(GateConfig {
            credentials,
            resolver: Arc::clone(&names) as _,
            clock: now,
            own_listeners: Vec::new(),
        })?;
        let gate = Arc::new(gate);
        let asked = connector
            .descriptor
            .upstreams
            .first()
            .context("the guest asks for no upstream")?;
        let target: UpstreamName = "target".parse()?;
        let routes = Arc::new(BTreeMap::from([(target, Route::new(&grant, asked))]));

        let needles = credential.needles().masked();
        let asks: Vec<_> = case.asks.iter().map(|ask| filled(ask, &text)).collect();
        let mut left = match case.rounds {
            Rounds::Once => 1,
            Rounds::EveryCut => body.len() + 1,
        };
        let mut calls = Vec::new();
        while left > 0 {
            let rounds = left.min((ASKS_PER_CALL_MAX / asks.len()).max(1));
            left -= rounds;
            let asks: Vec<_> = std::iter::repeat_n(&asks, rounds).flatten().cloned().collect();
            let told = door.told(&asks, grant.base_url.as_str(), &needles);
            let surroundings = Arc::new(Surroundings {
                gate: Arc::clone(&gate),
                passport: passport(case, Arc::clone(&routes))?,
                reports: Mutex::default(),
            });
            calls.push(
                self.call(connector, told.to_string().into_bytes(), surroundings)
                    .await?,
            );
        }
        let lookups = names.lookups();
        Ok(Ran {
            credential,
            outside,
            lookups,
            calls,
            body,
        })
    }

    async fn call(
        &self,
        connector: &Connector,
        told: Vec<u8>,
        surroundings: Arc<Surroundings>,
    ) -> anyhow::Result<Called> {
        let request = DeliverRequest {
            event: event(&told),
            body: told,
            number: 1,
            idempotency_key: "key".to_owned(),
            deadline: surroundings.passport.deadline,
        };
        let limits = CallLimits {
            deadline: Duration::from_secs(60),
            cpu: Duration::from_secs(20),
            ..CallLimits::default()
        };
        let slot = self
            .engine
            .lane_slots()
            .try_take()
            .context("a lane has a slot of its own")?;
        let report = connector
            .deliver(request, Arc::clone(&surroundings) as _, limits, slot)
            .await;
        let raw = std::mem::take(&mut *surroundings.reports.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Called {
            reports: raw.into_iter().map(Report::read).collect::<anyhow::Result<_>>()?,
            trail: surroundings.passport.trail.exchanges(),
            whole: matches!(report.result, Ok(cofferdam_domain::CallResult::Done(_))),
            told: told_of(&report),
        })
    }
}

fn told_of<T: std::fmt::Debug>(report: &CallReport<T>) -> String {
    format!("{:?} {:?}", report.result, report.logs)
}

fn filled(ask: &Ask, text: &impl Fn(&str) -> Vec<u8>) -> Ask {
    let string = |value: &str| String::from_utf8_lossy(&text(value)).into_owned();
    Ask {
        upstream: string(&ask.upstream),
        url: ask.url.as_deref().map(string),
        path: string(&ask.path),
        query: ask.query.as_deref().map(string),
        ..ask.clone()
    }
}

/// What an admin wrote, read as the server reads it.
fn grant(case: &Case, credential: &Credential, text: &impl Fn(&str) -> Vec<u8>) -> anyhow::Result<UpstreamGrant> {
    let usual = [
        ("base_url", "\"http://127.0.0.2:{port}\"".to_owned()),
        ("methods", "[\"GET\", \"POST\"]".to_owned()),
        ("path_prefixes", "[\"/ok\"]".to_owned()),
        ("networks", "[\"127.0.0.2/32\"]".to_owned()),
        ("attach", format!("{:?}", credential.slot())),
        ("credential", "\"key\"".to_owned()),
    ];
    let mut lines: BTreeMap<&str, String> = usual.into();
    if case.kind == Kind::OAuth {
        lines.insert("oauth2", oauth2("http://127.0.0.2:{port}/token"));
    }
    lines.extend(case.grant.iter().cloned());
    let written: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let written = String::from_utf8(text(&written))?;
    toml::from_str(&written).with_context(|| format!("the case's grant is none:\n{written}"))
}

/// How tokens are obtained, as TOML: from this URL.
pub(crate) fn oauth2(token_url: &str) -> String {
    format!(
        "{{ grant = \"client-credentials\", token_url = \"{token_url}\", client_id = \"client\", client_secret = \"app\", \
         networks = [\"127.0.0.2/32\"] }}"
    )
}

fn passport(case: &Case, routes: cofferdam_egress::Routes) -> anyhow::Result<Passport> {
    let policy = Policy {
        request_timeout_ms: case.request_timeout_ms,
        response_bytes_max: case.response_bytes_max,
        ..Policy::default()
    };
    let passport = Passport {
        workspace: workspace()?,
        connection: connection()?,
        routes,
        request_timeout: Duration::ZERO,
        response_bytes_max: 0,
        idempotency_key: Some("key".to_owned()),
        trace: TraceContext::mint(&mut rand::rng()),
        deadline: now().after(Duration::from_secs(60)),
        trail: Trail::default(),
    };
    Ok(passport.limited_by(&policy))
}

fn workspace() -> anyhow::Result<WorkspaceName> {
    Ok("suite".parse()?)
}

fn connection() -> anyhow::Result<ConnectionName> {
    Ok("hostile".parse()?)
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The host's side of the guest's imports, as the server makes it, with one upstream more that is the suite's own.
struct Surroundings {
    gate: Arc<Gate>,
    passport: Passport,
    reports: Mutex<Vec<Vec<u8>>>,
}

impl Surroundings {
    fn take_report(&self, body: Vec<u8>) -> HttpResponse {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        HttpResponse {
            status: 204,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

impl Environment for Surroundings {
    fn send(&self, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            if request.upstream == REPORT {
                return Ok(self.take_report(request.body));
            }
            to_host(self.gate.send(&self.passport, to_gate(request)).await)
        })
    }

    fn send_to(&self, destination: HttpDestination, request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async move {
            if destination.authority == REPORT_AUTHORITY {
                return Ok(self.take_report(request.body));
            }
            let destination = Destination {
                scheme: destination.scheme,
                authority: destination.authority,
                path_with_query: destination.path_with_query,
            };
            to_host(self.gate.send_to(&self.passport, &destination, to_gate(request)).await)
        })
    }

    fn settings(&self) -> &str {
        "{}"
    }

    fn credential_exists(&self, _upstream: &str) -> bool {
        true
    }
}

fn to_gate(request: HttpRequest) -> GuestRequest {
    GuestRequest {
        upstream: request.upstream,
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers,
        body: request.body.into(),
        timeout: request.timeout,
        ..GuestRequest::default()
    }
}

fn to_host(sent: Result<GuestResponse, GateError>) -> Result<HttpResponse, HttpError> {
    let response = sent.map_err(|error| match error {
        GateError::Refused(refusal) => HttpError::Refused {
            code: refusal.code.code().to_owned(),
            message: refusal.message,
        },
        GateError::RateLimited { wait } => HttpError::RateLimited {
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        },
        GateError::TimedOut { request_sent } => HttpError::TimedOut { request_sent },
        GateError::Unreachable(message) => HttpError::Unreachable(message),
        GateError::Interrupted(message) => HttpError::Interrupted(message),
        GateError::ResponseTooLarge(bytes_max) => HttpError::ResponseTooLarge { bytes_max },
        GateError::ProtocolError(message) => HttpError::ProtocolError(message),
    })?;
    Ok(HttpResponse {
        status: response.status,
        headers: response.headers,
        body: response.body.into(),
    })
}
