//! Resident memory of the real binary: idle, and with 100,000 deliveries that wait.

use cofferdam_store::Engine;
use cofferdam_tests::api;
use serde_json::json;

use crate::pipeline::start_server;
use crate::report::Report;

const QUEUED: usize = 100_000;
const PER_REQUEST: usize = 50;
const PRODUCERS: usize = 8;

/// Body of each event, about 1 KiB.
const FILLER: usize = 1_000;

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    let server = start_server("http://127.0.0.1:9", engine).await;
    let idle = server.resident_bytes();
    server.api.post("/v1/connections/bench/disable").await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let api = server.api.clone();
        producers.spawn(async move {
            for request in (producer..QUEUED / PER_REQUEST).step_by(PRODUCERS) {
                let event = |at: usize| {
                    json!({"specversion": "1.0", "id": format!("{request}-{at}"), "source": "/bench", "type": "test.bench",
                           "data": {"do": "ok", "filler": "x".repeat(FILLER)}})
                };
                let batch: Vec<_> = (0..PER_REQUEST).map(event).collect();
                let request = api.public("/v1/events").bearer_auth(&api.token);
                let request = request.header("content-type", "application/cloudevents-batch+json");
                let sent = request.body(serde_json::Value::from(batch).to_string()).send().await;
                let _: serde_json::Value = api::read(sent.expect("the server answers")).await;
            }
        });
    }
    producers.join_all().await;
    let depth = server.api.connection("bench").await.depth;
    assert_eq!(depth.pending, QUEUED as u64);
    let queued = server.resident_bytes();
    report.row(
        "resident_idle_mib",
        mib(idle),
        "MiB",
        "one connector loaded, nothing queued",
    );
    report.row("resident_100k_mib", mib(queued), "MiB", "100,000 events of 1 KiB wait");
}

#[expect(clippy::cast_precision_loss, reason = "memory in MiB")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
