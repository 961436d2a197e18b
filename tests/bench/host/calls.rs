//! Instantiate and call, for a guest in Rust, one in JavaScript and one in Python: the product's own way, and bare wasmtime on
//! the same bytes with the same settings.
//!
//! The two are measured in turns, round by round; the figures are medians of rounds and the ratios are taken round by round.
//! What the guests do is the same on both sides: the one in Rust and the one in Python make one host call that answers, the
//! one in JavaScript asks for its settings and fails at a URL that is none, so that no HTTP of WASI is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::event::{Event, Origin};
use cofferdam_domain::{CallResult, Digest, EventId, Timestamp, TraceContext};
use cofferdam_host::{
    CallLimits, Connector, DeliverRequest, Engine, EngineSettings, Environment, HttpRequest, HttpResponse, LaneSlots,
    Reuse, SendFuture, Version,
};
use cofferdam_tests::artifacts::{target_dir, test_guest};
use wasmtime::Store;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, Val};

use crate::report::{Report, median};
mod bare {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "sinks",
        imports: { "cofferdam:connector/http.send": async | trappable, default: trappable },
        exports: { default: async },
    });
}

use bare::cofferdam::connector::{credentials, http, log, settings, state, types};

/// A guest, and what it is asked for.
pub(crate) struct Subject {
    guest: &'static str,
    pub(crate) body: &'static [u8],
    settings: &'static str,
    answer: &'static [u8],
    rounds: usize,
    calls_per_round: u32,
}

pub(crate) const RUST: Subject = Subject {
    guest: "probe",
    body: br#"{"do": "call", "path": "/x"}"#,
    settings: "{}",
    answer: b"{}",
    rounds: 40,
    calls_per_round: 100,
};

const JAVASCRIPT: Subject = Subject {
    guest: "js-connector",
    body: b"{}",
    settings: r#"{"api": "no URL"}"#,
    answer: b"{}",
    rounds: 20,
    calls_per_round: 20,
};

const PYTHON: Subject = Subject {
    guest: "python-connector",
    body: b"{}",
    settings: "{}",
    answer: br#"{"id": "P-1"}"#,
    rounds: 20,
    calls_per_round: 20,
};

/// Calls that one instance serves where instances are used again: the most that a policy may say. No subject is called a whole
/// number of times as often, so that there is an instance in the end.
const CALLS_OF_ONE_INSTANCE: u32 = 1000;

/// Keys of a subject's rows.
struct Keys {
    fresh: &'static str,
    reused: &'static str,
    bare: &'static str,
    vs_bare: &'static str,
    bare_warm: &'static str,
}

pub(crate) async fn measure(report: &mut Report) {
    let engine = Engine::new(&settings()).expect("the engine can be made");
    for (subject, keys) in [
        (
            &RUST,
            Keys {
                fresh: "fresh_us_rust",
                reused: "reused_us_rust",
                bare: "bare_us_rust",
                vs_bare: "fresh_vs_bare_rust",
                bare_warm: "bare_warm_us_rust",
            },
        ),
        (
            &JAVASCRIPT,
            Keys {
                fresh: "fresh_us_js",
                reused: "reused_us_js",
                bare: "bare_us_js",
                vs_bare: "fresh_vs_bare_js",
                bare_warm: "bare_warm_us_js",
            },
        ),
        (
            &PYTHON,
            Keys {
                fresh: "fresh_us_python",
                reused: "reused_us_python",
                bare: "bare_us_python",
                vs_bare: "fresh_vs_bare_python",
                bare_warm: "bare_warm_us_python",
            },
        ),
    ] {
        measure_one(report, &engine, subject, &keys).await;
    }
}

/// The pool of a server, and the code that tests have compiled already: a large guest takes many seconds.
pub(crate) fn settings() -> EngineSettings {
    EngineSettings::new(target_dir().join("test-compiled"))
}

async fn measure_one(report: &mut Report, engine: &Engine, subject: &'static Subject, keys: &Keys) {
    let ours = Ours::new(engine, subject).await;
    let reused = Ours::new(engine, subject).await.reusing();
    let bare = Bare::new(subject);
    let mut warm = bare.instantiate().await;
    let calls = subject.calls_per_round;
    ours.round(calls).await;
    reused.round(calls).await;
    bare.round(calls).await;
    warm.round(calls, &bare.event).await;
    reused.assert_kept(engine);
    let (mut fresh_us, mut reused_us) = (Vec::new(), Vec::new());
    let (mut bare_us, mut warm_us) = (Vec::new(), Vec::new());
    for _ in 0..subject.rounds {
        fresh_us.push(ours.round(calls).await);
        reused_us.push(reused.round(calls).await);
        bare_us.push(bare.round(calls).await);
        warm_us.push(warm.round(calls, &bare.event).await);
    }
    reused.assert_kept(engine);
    engine.forget_kept(&reused.slots);
    let vs_bare = median(fresh_us.iter().zip(&bare_us).map(|(ours, bare)| ours / bare).collect());
    report.row(keys.fresh, median(fresh_us), "µs", "a delivery in a fresh instance");
    report.row(
        keys.reused,
        median(reused_us),
        "µs",
        "a delivery in an instance that serves up to 1000",
    );
    report.row(
        keys.bare,
        median(bare_us),
        "µs",
        "the same bytes under bare wasmtime, same settings",
    );
    report.row(keys.vs_bare, vs_bare, "x", "ours / bare wasmtime, round by round");
    report.row(
        keys.bare_warm,
        median(warm_us),
        "µs",
        "bare wasmtime, in one instance again and again",
    );
}

/// Microseconds of each of so many calls.
pub(crate) fn per_call(began: Instant, calls: u32) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// Answers at once.
struct Outside(&'static Subject);

impl Environment for Outside {
    fn send(&self, _request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async {
            Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: self.0.answer.to_vec(),
            })
        })
    }

    fn settings(&self) -> &str {
        self.0.settings
    }

    fn credential_exists(&self, _upstream: &str) -> bool {
        false
    }
}

fn event(body: &[u8]) -> Event {
    let rng = &mut rand::rng();
    Event {
        id: EventId::mint(Timestamp::ZERO, rng),
        workspace: cofferdam_domain::WorkspaceName::default(),
        correlation_id: cofferdam_domain::CorrelationId::mint(Timestamp::ZERO, rng),
        trace: TraceContext::mint(rng),
        kind: "test.bench".to_owned(),
        source: "/bench".to_owned(),
        subject: None,
        time: None,
        received_at: Timestamp::ZERO,
        origin: Origin::Api("bench".to_owned()),
        data_content_type: "application/json".to_owned(),
        data_schema: None,
        extensions: std::collections::BTreeMap::new(),
        body_bytes: body.len() as u64,
        body_hash: Digest::of(body),
        dedupe_key: None,
    }
}

/// The product's own way.
pub(crate) struct Ours {
    subject: &'static Subject,
    connector: Connector,
    slots: LaneSlots,
    environment: Arc<dyn Environment>,
    event: Event,
    limits: CallLimits,
    reuse: Reuse,
}

impl Ours {
    pub(crate) async fn new(engine: &Engine, subject: &'static Subject) -> Self {
        let connector = Connector::load(engine, &test_guest(subject.guest)).await;
        Self {
            subject,
            connector: connector
                .unwrap_or_else(|problem| panic!("{} does not load: {}", subject.guest, problem.reason)),
            slots: engine.lane_slots(),
            environment: Arc::new(Outside(subject)),
            event: event(subject.body),
            limits: CallLimits {
                deadline: Duration::from_secs(30),
                cpu: Duration::from_secs(2),
                ..CallLimits::default()
            },
            reuse: Reuse::default(),
        }
    }

    /// In instances that serve as many calls as they may.
    fn reusing(mut self) -> Self {
        self.reuse = Reuse {
            version: Version::default(),
            calls_max: CALLS_OF_ONE_INSTANCE,
        };
        self
    }

    /// That the calls so far were really made in an instance that serves again: one is kept. Were each call's kept and none taken
    /// up again, there would be many; did none outlive its call, there would be none. What other subjects had kept is forgotten.
    fn assert_kept(&self, engine: &Engine) {
        let kept = engine.usage().kept;
        let guest = self.subject.guest;
        assert_eq!(
            kept.in_use, 1,
            "{guest} is not called in the same instance again and again"
        );
    }

    /// So many calls; microseconds of each. What they deliver is made ahead: whoever delivers has it already.
    pub(crate) async fn round(&self, calls: u32) -> f64 {
        let request = |_| DeliverRequest {
            event: self.event.clone(),
            body: self.subject.body.to_vec(),
            number: 1,
            idempotency_key: "key".to_owned(),
            deadline: Timestamp::ZERO,
        };
        let requests: Vec<_> = (0..calls).map(request).collect();
        let began = Instant::now();
        for request in requests {
            self.call(request).await;
        }
        per_call(began, calls)
    }

    async fn call(&self, request: DeliverRequest) {
        let slot = self
            .slots
            .try_take()
            .expect("a lane that holds nothing has its own slot")
            .reusing(self.reuse);
        let environment = Arc::clone(&self.environment);
        let report = self.connector.deliver(request, environment, self.limits, slot).await;
        assert!(
            matches!(report.result, Ok(CallResult::Done(_) | CallResult::Failed(_))),
            "{report:?}"
        );
    }
}

/// Wasmtime with nothing around it: no limits, no deadline, no meter, no permit.
pub(crate) struct Bare {
    engine: wasmtime::Engine,
    component: InstancePre<BareHost>,
    subject: &'static Subject,
    event: types::Event,
}

struct BareHost(&'static Subject);

/// An instance that is called again and again.
struct Warm {
    store: Store<BareHost>,
    sink: bare::Sinks,
}

impl Bare {
    pub(crate) fn new(subject: &'static Subject) -> Self {
        let engine = wasmtime::Engine::new(&Engine::bare_config(&settings())).expect("the engine can be made");
        let component = compiled(&engine, subject.guest);
        let mut linker = Linker::new(&engine);
        bare::Sinks::add_to_linker::<_, HasSelf<BareHost>>(&mut linker, |host| host).expect("the imports link");
        wasi(&mut linker, &engine, &component).expect("the imports link");
        let component = linker.instantiate_pre(&component).expect("the imports link");
        let event = event(subject.body);
        let event = types::Event {
            id: event.id.to_string(),
            correlation_id: event.correlation_id.to_string(),
            type_: event.kind,
            source: event.source,
            subject: None,
            time: None,
            received_at: 0,
            data_content_type: event.data_content_type,
            data_schema: None,
            extensions: Vec::new(),
            data: subject.body.to_vec(),
        };
        Self {
            engine,
            component,
            subject,
            event,
        }
    }

    async fn instantiate(&self) -> Warm {
        let mut store = Store::new(&self.engine, BareHost(self.subject));
        // Nobody advances this engine's epoch.
        store.set_epoch_deadline(1_000_000);
        let instance = self.component.instantiate_async(&mut store).await;
        let instance = instance.unwrap_or_else(|error| panic!("{} under bare wasmtime: {error:?}", self.subject.guest));
        let sink = bare::Sinks::new(&mut store, &instance).expect("the guest is a sink");
        Warm { store, sink }
    }

    /// So many calls; microseconds of each.
    pub(crate) async fn round(&self, calls: u32) -> f64 {
        let began = Instant::now();
        for _ in 0..calls {
            self.instantiate().await.call(&self.event).await;
        }
        per_call(began, calls)
    }
}

impl Warm {
    /// So many calls; microseconds of each.
    async fn round(&mut self, calls: u32, event: &types::Event) -> f64 {
        let began = Instant::now();
        for _ in 0..calls {
            self.call(event).await;
        }
        per_call(began, calls)
    }

    async fn call(&mut self, event: &types::Event) {
        let attempt = types::Attempt {
            number: 1,
            idempotency_key: "key".to_owned(),
            deadline: 0,
        };
        let sink = self.sink.cofferdam_connector_sink();
        let called = sink.call_deliver(&mut self.store, event, &attempt).await;
        called.unwrap_or_else(|error| panic!("a trap: {error:?}")).ok();
    }
}

fn compiled(engine: &wasmtime::Engine, guest: &str) -> Component {
    let bytes = std::fs::read(test_guest(guest)).expect("the guest is built");
    Component::new(engine, bytes).expect("the guest compiles")
}

fn empty_list(
    _: wasmtime::StoreContextMut<'_, BareHost>,
    _: ComponentFunc,
    _: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    results.fill(Val::List(Vec::new()));
    Ok(())
}

/// What a guest calls of WASI on the way, and traps in the place of the rest.
fn wasi(linker: &mut Linker<BareHost>, engine: &wasmtime::Engine, component: &Component) -> wasmtime::Result<()> {
    for (name, _) in component.component_type().imports(engine) {
        let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
        match interface {
            "wasi:clocks/monotonic-clock" => linker.instance(name)?.func_wrap("now", |_, ()| Ok((0_u64,)))?,
            "wasi:cli/environment" => {
                let mut environment = linker.instance(name)?;
                environment.func_new("get-environment", empty_list)?;
                environment.func_new("get-arguments", empty_list)?;
            }
            "wasi:random/random" => {
                let zeros = |_: wasmtime::StoreContextMut<'_, BareHost>, (count,): (u64,)| {
                    Ok((vec![0_u8; usize::try_from(count)?],))
                };
                linker.instance(name)?.func_wrap("get-random-bytes", zeros)?;
            }
            "wasi:filesystem/preopens" => linker.instance(name)?.func_new("get-directories", empty_list)?,
            _ => {}
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

impl types::Host for BareHost {}

impl http::Host for BareHost {
    async fn send(&mut self, _request: http::Request) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        Ok(Ok(http::Response {
            status: 200,
            headers: Vec::new(),
            body: self.0.answer.to_vec(),
        }))
    }
}

impl settings::Host for BareHost {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok(self.0.settings.to_owned())
    }
}

impl credentials::Host for BareHost {
    fn exists(&mut self, _upstream: String) -> wasmtime::Result<bool> {
        Ok(false)
    }
}

impl state::Host for BareHost {
    fn get(&mut self, _key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, state::StateError>> {
        Ok(Err(state::StateError::NotGranted))
    }

    fn set(&mut self, _key: String, _value: Option<Vec<u8>>) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(Err(state::StateError::NotGranted))
    }

    fn compare_and_swap(
        &mut self,
        _key: String,
        _expected: Option<Vec<u8>>,
        _value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(Err(state::StateError::NotGranted))
    }
}

impl log::Host for BareHost {
    fn emit(&mut self, _level: log::Level, _message: String, _fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        Ok(())
    }
}
