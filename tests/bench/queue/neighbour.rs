//! What a healthy lane feels of a neighbour in trouble, on the real binary: events at a steady pace, with the neighbour off
//! and on in turns. Each neighbour's figure is the median of its rounds' ratios.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use cofferdam_store::Engine;
use cofferdam_tests::{Running, Setup, wait};
use serde_json::json;

use super::bed::{connection, open_queue, seed};
use super::cost::DEEP;
use crate::report::{Report, median, quantile};

const ROUNDS: usize = 3;
const EVENTS_PER_ROUND: usize = 1_500;
const PACE: Duration = Duration::from_millis(5);

/// What waits for a neighbour that hangs or is limited when it is switched on.
const NEIGHBOUR_EVENTS: u64 = 20_000;

type Arrivals = Arc<Mutex<Vec<Option<Instant>>>>;

/// A neighbour, by its connection, and the row that it makes.
const NEIGHBOURS: [(&str, &str, &str); 3] = [
    ("hangs", "neighbour_p99_ratio_hangs", "its upstream never answers"),
    ("limited", "neighbour_p99_ratio_429", "its upstream answers 429"),
    (
        DEEP,
        "neighbour_p99_ratio_1m",
        "a million deliveries wait for it and are being made as fast as it goes",
    ),
];

pub(super) async fn measure(report: &mut Report, engine: Engine, million: Setup) {
    eprintln!("  a healthy lane beside neighbours in trouble (about 3 minutes)");
    let data = million.data();
    let queue = open_queue(&data, engine).await;
    for name in ["hangs", "limited"] {
        seed(&queue, &connection(name), 0..NEIGHBOUR_EVENTS).await;
    }
    drop(queue);
    let arrivals: Arrivals = Arc::default();
    let upstream = start_upstream(Arc::clone(&arrivals)).await;
    let server = million.start().await;
    apply(&server, "healthy", &format!("{upstream}/arrived")).await;
    for name in ["hangs", "limited"] {
        apply(&server, name, &format!("{upstream}/{name}")).await;
        server.api.post(&format!("/v1/connections/{name}/disable")).await;
    }
    apply(&server, DEEP, &format!("{upstream}/fine")).await;
    let mut worst: f64 = 0.0;
    let mut alone = Vec::new();
    let mut rows = Vec::new();
    let mut round = 0;
    for (name, key, what) in NEIGHBOURS {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            round += 1;
            let before = p99_ms(&server, &arrivals, round, "alone").await;
            server.api.post(&format!("/v1/connections/{name}/enable")).await;
            let beside = p99_ms(&server, &arrivals, round, name).await;
            server.api.post(&format!("/v1/connections/{name}/disable")).await;
            ratios.push(beside / before);
            alone.push(before);
        }
        let ratio = median(ratios);
        worst = worst.max(ratio);
        rows.push((key, ratio, what));
    }
    report.row(
        "healthy_p99_ms",
        median(alone),
        "ms",
        "request to arrival at the upstream, 200 events/s, no neighbour",
    );
    for (key, ratio, what) in rows {
        report.row(key, ratio, "ratio", what);
    }
    report.row("neighbour_p99_ratio", worst, "ratio", "the worst of the three");
    server.kill().await;
}

async fn apply(server: &Running, name: &str, base_url: &str) {
    let file = format!(
        "name = \"{name}\"\nconnector = \"probe\"\nsubscribe = [\"test.{name}\"]\n[upstreams.target]\nbase_url = \"{base_url}\"\n\
         networks = [\"127.0.0.0/8\"]\nattach = \"none\"\n"
    );
    server.api.apply(&file).await;
}

/// The 99th percentile from request to arrival, in milliseconds.
async fn p99_ms(server: &Running, arrivals: &Arrivals, round: usize, beside: &str) -> f64 {
    *locked(arrivals) = vec![None; EVENTS_PER_ROUND];
    let mut senders = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    for number in 0..EVENTS_PER_ROUND {
        pace.tick().await;
        let api = server.api.clone();
        let id = format!("{beside}-{round}-{number}");
        senders.spawn(async move {
            let sent = Instant::now();
            api.send_event(&id, "test.healthy", json!({"do": "call", "path": format!("/{number}")}))
                .await;
            (number, sent)
        });
    }
    let sent = senders.join_all().await;
    wait::until("the last delivery", || async {
        locked(arrivals).iter().all(Option::is_some).then_some(())
    })
    .await;
    let arrived = locked(arrivals).clone();
    let mut took: Vec<f64> = sent
        .iter()
        .filter_map(|(number, sent)| Some(arrived[*number]?.duration_since(*sent).as_secs_f64() * 1e3))
        .collect();
    took.sort_by(f64::total_cmp);
    quantile(&took, 0.99)
}

async fn start_upstream(arrivals: Arrivals) -> String {
    async fn arrived(State(arrivals): State<Arrivals>, Path(number): Path<usize>) -> &'static str {
        if let Some(slot) = locked(&arrivals).get_mut(number) {
            slot.get_or_insert_with(Instant::now);
        }
        "{}"
    }
    async fn limited() -> (StatusCode, HeaderMap) {
        let wait = [(axum::http::header::RETRY_AFTER, HeaderValue::from_static("1"))];
        (StatusCode::TOO_MANY_REQUESTS, wait.into_iter().collect())
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let router = Router::new()
        .route("/arrived/{number}", axum::routing::get(arrived))
        .route(
            "/hangs/{*rest}",
            axum::routing::any(std::future::pending::<&'static str>),
        )
        .route("/limited/{*rest}", axum::routing::any(limited))
        .route("/fine/{*rest}", axum::routing::any(|| async { "{}" }))
        .with_state(arrivals);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn locked(arrivals: &Arrivals) -> std::sync::MutexGuard<'_, Vec<Option<Instant>>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
