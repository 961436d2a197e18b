//! One delivery through a fresh instance with one host call: the product's own way, bare wasmtime on the same bytes with the
//! same settings, and the same work in native Rust.
//!
//! The three are measured in turns, round by round; the figures are medians of rounds and the ratios are taken round by
//! round.

use std::hint::black_box;
use std::time::Instant;

use cofferdam_host::Engine;
use serde::Deserialize;

use crate::host::calls::{Bare, Ours, RUST, per_call, settings};
use crate::report::{Report, median};

const ROUNDS: usize = 40;
const CALLS_PER_ROUND: u32 = 100;
const WARM_UP: u32 = 200;

pub(crate) async fn measure(report: &mut Report) {
    let engine = Engine::new(&settings()).expect("the engine can be made");
    assert!(engine.is_pooled(), "the comparison is between pooled engines");
    let ours = Ours::new(&engine, &RUST).await;
    let bare = Bare::new(&RUST);
    ours.round(WARM_UP).await;
    bare.round(WARM_UP).await;
    let (mut ours_us, mut bare_us, mut native_us) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours_us.push(ours.round(CALLS_PER_ROUND).await);
        bare_us.push(bare.round(CALLS_PER_ROUND).await);
        let began = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            native();
        }
        native_us.push(per_call(began, CALLS_PER_ROUND));
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

/// What the probe does for [`RUST`], without a wall around it.
fn native() {
    #[derive(Deserialize)]
    struct Act {
        #[serde(rename = "do")]
        act: String,
        path: String,
    }
    let act: Act = serde_json::from_slice(black_box(RUST.body)).expect("it is JSON");
    let (status, body) = send(&act.path);
    assert_eq!(act.act, "call");
    black_box(format!("{status} {}", String::from_utf8_lossy(&body)));
}

#[inline(never)]
fn send(path: &str) -> (u16, Vec<u8>) {
    black_box(path);
    (200, b"{}".to_vec())
}
