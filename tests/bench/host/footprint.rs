//! Resident memory of the real binary: for each connection that has nothing to do, and for each instance while its guest waits
//! for its upstream.

use std::fs;

use cofferdam_host::{Connector, EngineSettings};
use cofferdam_store::Engine;
use cofferdam_tests::artifacts::{target_dir, test_guest};
use cofferdam_tests::{Answer, Running, Setup, Upstream};
use serde_json::{Value, json};

use crate::report::Report;

const CONNECTIONS: usize = 200;

/// Connections whose guests are alive at once, and calls of each: its own and what it may have of the shared ones.
const LANES: usize = 4;
const CALLS: usize = 8;

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    let idle = idle_connection(engine).await;
    report.row("idle_connection_kib", idle, "KiB", "a connection without work, of 200");
    for (key, guest, upstream, data) in [
        (
            "live_instance_kib_rust",
            "probe",
            "target",
            json!({"do": "call", "path": "/"}),
        ),
        ("live_instance_kib_js", "js-connector", "tickets", json!({})),
        ("live_instance_kib_python", "python-connector", "pager", json!({})),
    ] {
        let live = live_instance(engine, guest, upstream, &data).await;
        report.row(key, live, "KiB", "an instance that waits for its upstream, of 32");
    }
}

async fn idle_connection(engine: Engine) -> f64 {
    let server = server(engine, "probe").await;
    // The first makes what all of them share.
    apply(&server, "first", "probe", "target", "http://127.0.0.1:9").await;
    let before = server.resident_bytes();
    for number in 0..CONNECTIONS {
        apply(&server, &format!("c{number}"), "probe", "target", "http://127.0.0.1:9").await;
    }
    kib_each(before, server.resident_bytes(), CONNECTIONS)
}

async fn live_instance(engine: Engine, guest: &str, name: &str, data: &Value) -> f64 {
    let held = Upstream::start([], Answer::held()).await;
    let server = server(engine, guest).await;
    for lane in 0..LANES {
        apply(&server, &format!("c{lane}"), guest, name, &held.url()).await;
    }
    let before = server.resident_bytes();
    for number in 0..CALLS {
        server
            .api
            .send_event(&number.to_string(), "test.bench", data.clone())
            .await;
    }
    held.wait_for(LANES * CALLS).await;
    let live = kib_each(before, server.resident_bytes(), LANES * CALLS);
    held.release();
    live
}

/// A server that finds the guest compiled: compiling it takes memory of its own.
async fn server(engine: Engine, guest: &str) -> Running {
    let setup = Setup::new()
        .plugin(&test_guest(guest))
        .config(&format!("\n[store]\nengine = \"{engine}\"\n"));
    let compiled = target_dir().join("test-compiled");
    let host = cofferdam_host::Engine::new(&EngineSettings::new(compiled.clone())).expect("the engine can be made");
    let connector = Connector::load(&host, &test_guest(guest)).await;
    let digest = connector.map(|connector| connector.digest.to_string());
    let digest = digest.unwrap_or_else(|problem| panic!("{guest} does not load: {}", problem.reason));
    let seeded = setup.data().join("compiled");
    fs::create_dir_all(&seeded).expect("the folder is ours");
    for entry in fs::read_dir(compiled).expect("the cache is there") {
        let entry = entry.expect("the cache can be read");
        if entry.file_name().to_string_lossy().starts_with(&digest) {
            fs::copy(entry.path(), seeded.join(entry.file_name())).expect("the folder is ours");
        }
    }
    setup.start().await
}

async fn apply(server: &Running, name: &str, guest: &str, upstream: &str, url: &str) {
    let settings = if guest == "js-connector" {
        format!("[settings]\napi = \"{url}\"\n")
    } else {
        String::new()
    };
    let file = format!(
        "name = \"{name}\"\nconnector = \"{guest}\"\nsubscribe = [\"test.bench\"]\n{settings}[upstreams.{upstream}]\n\
         base_url = \"{url}\"\nnetworks = [\"127.0.0.0/8\"]\nattach = \"none\"\n"
    );
    server.api.apply(&file).await;
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB")]
fn kib_each(before: u64, after: u64, count: usize) -> f64 {
    after.saturating_sub(before) as f64 / 1024.0 / count as f64
}
