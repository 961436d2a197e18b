//! What the gate costs: the same request to the same server by plain reqwest and through the gate, with policy, hashes, a
//! credential and the search of the answer, over connections that are open already.
//!
//! The two are measured in turns, round by round, one request at a time; the ratios are medians of the rounds' ratios. Server
//! and client share the processors.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use cofferdam_domain::descriptor::UpstreamRequest;
use cofferdam_domain::{
    ConnectionName, CredentialName, CredentialSlot, Timestamp, TraceContext, UpstreamGrant, UpstreamName, WorkspaceName,
};
use cofferdam_egress::{
    Credentials, CredentialsUnavailable, Gate, GateConfig, GuestRequest, Passport, Route, SystemResolver, Trail,
    is_suspicious,
};
use cofferdam_vault::Secret;

use crate::report::{Report, median};

const ROUNDS: usize = 30;
const SMALL_BYTES: usize = 256;
const LARGE_BYTES: usize = 1024 * 1024;
const SMALL_REQUESTS: u32 = 200;
const LARGE_REQUESTS: u32 = 8;
const SCANS: u32 = 64;

/// As long as a provider's token is.
const SECRET: &[u8] = b"xoxb-263594206564-FGqddMF8t08v8N7Oq4i57vs1";

struct OneSecret;

impl Credentials for OneSecret {
    fn reveal(
        &self,
        _workspace: &WorkspaceName,
        _connection: &ConnectionName,
        _credential: &CredentialName,
    ) -> Result<Option<Secret>, CredentialsUnavailable> {
        Ok(Secret::new(SECRET.to_vec()).ok())
    }
}

/// Both ways to one server.
struct Bed {
    url: String,
    plain: reqwest::Client,
    gate: Gate,
    passport: Passport,
}

impl Bed {
    async fn new() -> Self {
        let at = serve().await;
        let upstream: UpstreamName = "api".parse().expect("a name");
        let asked = UpstreamRequest {
            name: upstream.clone(),
            base_url: None,
            reason: "to be measured".to_owned(),
            methods: vec!["POST".to_owned()],
            path_prefixes: vec!["/echo".to_owned()],
            credential: CredentialSlot::Bearer,
        };
        let grant = format!(r#"{{"base_url": "http://{at}", "networks": ["127.0.0.0/8"], "credential": "key"}}"#);
        let grant: UpstreamGrant = serde_json::from_str(&grant).expect("a grant");
        let gate = Gate::new(GateConfig {
            credentials: Arc::new(OneSecret),
            resolver: Arc::new(SystemResolver),
            clock: now,
            own_listeners: Vec::new(),
        });
        let passport = Passport {
            workspace: WorkspaceName::default(),
            connection: "bench".parse().expect("a name"),
            routes: Arc::new(BTreeMap::from([(upstream, Route::new(&grant, &asked))])),
            request_timeout: Duration::from_secs(20),
            response_bytes_max: 2 * LARGE_BYTES as u64,
            idempotency_key: Some("key".to_owned()),
            trace: TraceContext::mint(&mut rand::rng()),
            deadline: now().after(Duration::from_secs(3600)),
            trail: Trail::default(),
        };
        Self {
            url: format!("http://{at}/echo"),
            plain: cofferdam_tests::api::client(),
            gate: gate.expect("TLS can be set up"),
            passport,
        }
    }

    async fn plainly(&self, body: &Bytes) {
        let sent = self.plain.post(&self.url).body(body.clone()).send().await;
        let answer = sent.expect("the server answers");
        black_box(answer.bytes().await.expect("the answer has an end"));
    }

    async fn through_the_gate(&self, body: &Bytes) {
        // A trail of its own, as each attempt has.
        let passport = Passport {
            trail: Trail::default(),
            ..self.passport.clone()
        };
        let request = GuestRequest {
            upstream: "api".to_owned(),
            method: "POST".to_owned(),
            path: "/echo".to_owned(),
            body: body.clone(),
            ..GuestRequest::default()
        };
        let answer = self
            .gate
            .send(&passport, request)
            .await
            .expect("the gate lets it through");
        assert_eq!(answer.body.len(), body.len());
        black_box(answer);
    }

    /// The time of a request in microseconds, plainly and through the gate, and the median ratio.
    async fn compare(&self, body: &Bytes, requests: u32) -> (f64, f64, f64) {
        let (mut plain, mut gated, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let began = Instant::now();
            for _ in 0..requests {
                self.plainly(body).await;
            }
            let one = micros_each(began, requests);
            let began = Instant::now();
            for _ in 0..requests {
                self.through_the_gate(body).await;
            }
            let other = micros_each(began, requests);
            // The first opens the connections.
            if round > 0 {
                plain.push(one);
                gated.push(other);
                ratios.push(other / one);
            }
        }
        (median(plain), median(gated), median(ratios))
    }
}

pub(crate) async fn measure(report: &mut Report) {
    let bed = Bed::new().await;
    let small = Bytes::from(json_like(SMALL_BYTES));
    let large = Bytes::from(json_like(LARGE_BYTES));
    let (plain, gated, ratio) = bed.compare(&small, SMALL_REQUESTS).await;
    report.row(
        "reqwest_us_small",
        plain,
        "µs",
        "plain reqwest: 256 bytes there and back, connection open",
    );
    report.row("gate_us_small", gated, "µs", "through the gate");
    report.row("gate_vs_reqwest_small", ratio, "ratio", "");
    let (plain, gated, ratio) = bed.compare(&large, LARGE_REQUESTS).await;
    report.row(
        "reqwest_us_1mib",
        plain,
        "µs",
        "plain reqwest: 1 MiB there and back, connection open",
    );
    report.row(
        "gate_us_1mib",
        gated,
        "µs",
        "through the gate: both bodies hashed, the answer searched",
    );
    report.row("gate_vs_reqwest_1mib", ratio, "ratio", "");
    let scans = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        for _ in 0..SCANS {
            assert!(!black_box(is_suspicious(SECRET, black_box(&large))));
        }
        f64::from(SCANS) * LARGE_BYTES as f64 / began.elapsed().as_secs_f64() / 1e9
    });
    let scans = median(scans.collect());
    report.row(
        "scan_gb_per_s",
        scans,
        "GB/s",
        "the search of 1 MiB of JSON for one secret in every form, one core",
    );
}

/// An echo on a free port of loopback.
async fn serve() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("there is a port");
    let at = listener.local_addr().expect("it listens");
    let echo = Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .layer(DefaultBodyLimit::max(2 * LARGE_BYTES));
    tokio::spawn(async { axum::serve(listener, echo).await });
    at
}

/// Text with the punctuation of JSON.
fn json_like(bytes: usize) -> Vec<u8> {
    let one =
        br#"{"id":"evt_1MqqbKLt4dXK03v5","type":"invoice.paid","amount":1999,"note":"thank you, 50 percent off"},"#;
    one.iter().copied().cycle().take(bytes).collect()
}

fn micros_each(began: Instant, requests: u32) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / f64::from(requests)
}

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
