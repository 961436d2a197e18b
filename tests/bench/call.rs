//! One delivery through a fresh instance with one host call: the product's own way, bare wasmtime on the same bytes with the
//! same settings, and the same work in native Rust.
//!
//! The three are measured in turns, round by round; the figures are medians of rounds and the ratios are taken round by
//! round.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_domain::event::{Event, Origin};
use cofferdam_domain::{Digest, EventId, Timestamp, TraceContext};
use cofferdam_host::{
    CallLimits, Connector, DeliverRequest, Engine, EngineSettings, Environment, HttpRequest, HttpResponse, LaneSlots,
    SendFuture,
};
use cofferdam_tests::artifacts::test_guest;
use serde::Deserialize;
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use crate::report::{Report, median};

const ROUNDS: usize = 40;
const CALLS_PER_ROUND: u32 = 100;
const WARM_UP: u32 = 200;

/// What the probe is told.
const ACT: &[u8] = br#"{"do": "call", "path": "/x"}"#;

pub(crate) mod bare {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "sinks",
        imports: { "cofferdam:connector/http.send": async | trappable, default: trappable },
        exports: { default: async },
    });
}

use bare::cofferdam::connector::{credentials, http, log, settings, state, types};

struct Instant200;

impl Environment for Instant200 {
    fn send(&self, _request: HttpRequest) -> SendFuture<'_> {
        Box::pin(async {
            Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: b"{}".to_vec(),
            })
        })
    }

    fn settings(&self) -> &str {
        "{}"
    }

    fn credential_exists(&self, _upstream: &str) -> bool {
        false
    }
}

pub(crate) fn event() -> Event {
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
        body_bytes: ACT.len() as u64,
        body_hash: Digest::of(ACT),
        dedupe_key: None,
    }
}

pub(crate) async fn measure(report: &mut Report) {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let settings = EngineSettings::new(dir.path().join("compiled"));
    let ours = Ours::new(&settings).await;
    let bare = Bare::new(&settings);
    for _ in 0..WARM_UP {
        ours.call().await;
        bare.call().await;
        native();
    }
    let (mut ours_us, mut bare_us, mut native_us) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            ours.call().await;
        }
        ours_us.push(per_call(began.elapsed()));
        let began = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            bare.call().await;
        }
        bare_us.push(per_call(began.elapsed()));
        let began = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            native();
        }
        native_us.push(per_call(began.elapsed()));
    }
    let ratios = |of: &[f64]| median(ours_us.iter().zip(of).map(|(ours, other)| ours / other).collect());
    let (vs_bare, vs_native) = (ratios(&bare_us), ratios(&native_us));
    report.row(
        "call_fresh_us",
        median(ours_us),
        "µs",
        "a delivery in a fresh instance with one host call",
    );
    report.row(
        "call_bare_us",
        median(bare_us),
        "µs",
        "the same bytes under bare wasmtime, same settings",
    );
    report.row(
        "call_native_us",
        median(native_us),
        "µs",
        "the same work in native Rust",
    );
    report.row("call_vs_bare", vs_bare, "x", "ours / bare wasmtime, round by round");
    report.row("call_vs_native", vs_native, "x", "ours / native, round by round");
}

fn per_call(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(CALLS_PER_ROUND)
}

struct Ours {
    slots: LaneSlots,
    connector: Connector,
    environment: Arc<dyn Environment>,
    event: Event,
}

impl Ours {
    async fn new(settings: &EngineSettings) -> Self {
        let engine = Engine::new(settings).expect("the engine can be made");
        assert!(engine.is_pooled(), "the comparison is between pooled engines");
        let connector = Connector::load(&engine, &test_guest("probe"))
            .await
            .expect("the probe loads");
        Self {
            slots: engine.lane_slots(),
            connector,
            environment: Arc::new(Instant200),
            event: event(),
        }
    }

    async fn call(&self) {
        let request = DeliverRequest {
            event: self.event.clone(),
            body: ACT.to_vec(),
            number: 1,
            idempotency_key: "key".to_owned(),
            deadline: Timestamp::ZERO,
        };
        let slot = self
            .slots
            .try_take()
            .expect("a lane that holds nothing has its own slot");
        let limits = CallLimits {
            deadline: Duration::from_secs(30),
            cpu: Duration::from_secs(2),
            memory_bytes: 64 * 1024 * 1024,
        };
        let report = self
            .connector
            .deliver(request, Arc::clone(&self.environment), limits, slot)
            .await;
        assert!(
            matches!(report.result, Ok(cofferdam_domain::CallResult::Done(_))),
            "{report:?}"
        );
    }
}

/// Wasmtime with nothing around it: no limits, no deadline, no meter, no permit.
struct Bare {
    engine: wasmtime::Engine,
    component: InstancePre<BareHost>,
    event: types::Event,
}

struct BareHost;

impl Bare {
    fn new(settings: &EngineSettings) -> Self {
        let engine = wasmtime::Engine::new(&Engine::bare_config(settings)).expect("the engine can be made");
        let bytes = std::fs::read(test_guest("probe")).expect("the probe is built");
        let component = Component::new(&engine, bytes).expect("the probe compiles");
        let mut linker = Linker::new(&engine);
        bare::Sinks::add_to_linker::<_, HasSelf<BareHost>>(&mut linker, |host| host).expect("the imports link");
        let component = linker.instantiate_pre(&component).expect("the imports link");
        let event = event();
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
            data: ACT.to_vec(),
        };
        Self {
            engine,
            component,
            event,
        }
    }

    async fn call(&self) {
        let mut store = Store::new(&self.engine, BareHost);
        // Nobody advances this engine's epoch.
        store.set_epoch_deadline(1_000_000);
        let attempt = types::Attempt {
            number: 1,
            idempotency_key: "key".to_owned(),
            deadline: 0,
        };
        let instance = self
            .component
            .instantiate_async(&mut store)
            .await
            .expect("the probe instantiates");
        let sink = bare::Sinks::new(&mut store, &instance).expect("the probe is a sink");
        let called = sink
            .cofferdam_connector_sink()
            .call_deliver(&mut store, &self.event, &attempt)
            .await;
        assert!(called.expect("no trap").is_ok());
    }
}

impl types::Host for BareHost {}

impl http::Host for BareHost {
    async fn send(&mut self, _request: http::Request) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        Ok(Ok(http::Response {
            status: 200,
            headers: Vec::new(),
            body: b"{}".to_vec(),
        }))
    }
}

impl settings::Host for BareHost {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok("{}".to_owned())
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

/// What the probe does for [`ACT`], without a wall around it.
fn native() {
    #[derive(Deserialize)]
    struct Act {
        #[serde(rename = "do")]
        act: String,
        path: String,
    }
    let act: Act = serde_json::from_slice(black_box(ACT)).expect("it is JSON");
    let (status, body) = send(&act.path);
    assert_eq!(act.act, "call");
    black_box(format!("{status} {}", String::from_utf8_lossy(&body)));
}

#[inline(never)]
fn send(path: &str) -> (u16, Vec<u8>) {
    black_box(path);
    (200, b"{}".to_vec())
}
