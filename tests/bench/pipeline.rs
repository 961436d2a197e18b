//! The whole path on the real binary: events by HTTP, durable commits, a fresh guest, a request through the gate to a
//! loopback server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use cofferdam_store::Engine;
use cofferdam_tests::artifacts::test_guest;
use cofferdam_tests::{Running, Setup, wait};
use serde_json::json;

use crate::report::{Report, quantile};

/// When each event arrived at the upstream; its number is in the path.
pub(crate) type Arrivals = Arc<Mutex<Vec<Option<Instant>>>>;

struct Load {
    producers: usize,
    events: usize,
    engine: Engine,
}

struct Measured {
    accepted_per_s: f64,
    delivered_per_s: f64,
    ack_ms: Vec<f64>,
    end_to_end_ms: Vec<f64>,
    processor_us_per_event: f64,
}

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    let one = run(&Load {
        producers: 1,
        events: 500,
        engine,
    })
    .await;
    report.row(
        "http_accept_per_s_1",
        one.accepted_per_s,
        "events/s",
        "one producer: acknowledged, durable",
    );
    report.row(
        "delivered_per_s_1",
        one.delivered_per_s,
        "events/s",
        "one producer: arrived at the upstream",
    );
    report.row(
        "ack_p50_ms_1",
        quantile(&one.ack_ms, 0.5),
        "ms",
        "one producer: request to 202",
    );
    report.row("ack_p99_ms_1", quantile(&one.ack_ms, 0.99), "ms", "");
    report.row(
        "delivery_p50_ms_1",
        quantile(&one.end_to_end_ms, 0.5),
        "ms",
        "one producer: 202 to arrival at the upstream",
    );
    report.row("delivery_p99_ms_1", quantile(&one.end_to_end_ms, 0.99), "ms", "");
    measure_many(report, engine).await;
}

/// The same with 64 producers.
pub(crate) async fn measure_many(report: &mut Report, engine: Engine) {
    let many = run(&Load {
        producers: 64,
        events: 10_000,
        engine,
    })
    .await;
    report.row(
        "http_accept_per_s_64",
        many.accepted_per_s,
        "events/s",
        "64 producers: acknowledged, durable",
    );
    report.row(
        "delivered_per_s_64",
        many.delivered_per_s,
        "events/s",
        "64 producers: arrived at the upstream",
    );
    report.row(
        "ack_p50_ms_64",
        quantile(&many.ack_ms, 0.5),
        "ms",
        "64 producers: request to 202",
    );
    report.row("ack_p99_ms_64", quantile(&many.ack_ms, 0.99), "ms", "");
    report.row(
        "delivery_p50_ms_64",
        quantile(&many.end_to_end_ms, 0.5),
        "ms",
        "64 producers: 202 to arrival at the upstream",
    );
    report.row("delivery_p99_ms_64", quantile(&many.end_to_end_ms, 0.99), "ms", "");
    report.row(
        "processor_us_per_event_64",
        many.processor_us_per_event,
        "µs",
        "processor time of the server for one event, from its receipt to its settle",
    );
}

async fn run(load: &Load) -> Measured {
    let arrivals: Arrivals = Arc::new(Mutex::new(vec![None; load.events]));
    let upstream = start_upstream(Arc::clone(&arrivals)).await;
    let server = start_server(&upstream, load.engine).await;
    let (began, before) = (Instant::now(), server.processor_time());
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..load.producers {
        let api = server.api.clone();
        let (step, events) = (load.producers, load.events);
        producers.spawn(async move {
            let mut acks = Vec::new();
            for number in (producer..events).step_by(step) {
                let sent = Instant::now();
                api.send_event(
                    &number.to_string(),
                    "test.bench",
                    json!({"do": "call", "path": format!("/{number}")}),
                )
                .await;
                acks.push((number, sent, Instant::now()));
            }
            acks
        });
    }
    let acks = producers.join_all().await.concat();
    let accepted_in = began.elapsed();
    wait::until("the last delivery", || async {
        locked(&arrivals).iter().all(Option::is_some).then_some(())
    })
    .await;
    let arrived = locked(&arrivals).clone();
    let last = arrived.iter().flatten().max().copied().unwrap_or(began);
    let sorted = |mut samples: Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples
    };
    let end_to_end = acks.iter().map(|(number, _, acked)| {
        // A delivery may overtake the acknowledgement on its way to the client.
        arrived[*number].map_or(Duration::ZERO, |at| at.saturating_duration_since(*acked))
    });
    Measured {
        accepted_per_s: per_second(load.events, accepted_in),
        delivered_per_s: per_second(load.events, last.duration_since(began)),
        ack_ms: sorted(
            acks.iter()
                .map(|(_, sent, acked)| millis(acked.duration_since(*sent)))
                .collect(),
        ),
        end_to_end_ms: sorted(end_to_end.map(millis).collect()),
        processor_us_per_event: 1e6 / per_second(load.events, server.processor_time() - before),
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn per_second(events: usize, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn locked(arrivals: &Arrivals) -> std::sync::MutexGuard<'_, Vec<Option<Instant>>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn start_upstream(arrivals: Arrivals) -> String {
    async fn arrive(State(arrivals): State<Arrivals>, Path(number): Path<usize>) -> &'static str {
        if let Some(slot) = locked(&arrivals).get_mut(number) {
            slot.get_or_insert_with(Instant::now);
        }
        "{}"
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let router = Router::new()
        .route("/{number}", axum::routing::get(arrive))
        .with_state(arrivals);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

pub(crate) async fn start_server(upstream: &str, engine: Engine) -> Running {
    let server = Setup::new()
        .plugin(&test_guest("probe"))
        .config(&format!("\n[store]\nengine = \"{engine}\"\n"))
        .start()
        .await;
    let file = format!(
        "name = \"bench\"\nconnector = \"probe\"\nsubscribe = [\"test.bench\"]\n[upstreams.target]\nbase_url = \"{upstream}\"\n\
         networks = [\"127.0.0.0/8\"]\nattach = \"none\"\n[policy]\nconcurrency = 64\n"
    );
    server.api.apply(&file).await;
    server
}
