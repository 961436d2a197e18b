//! What running connectors costs and what it costs those beside: calls in three languages against bare wasmtime, the start
//! with a hundred connectors, a neighbour's latency beside every kind of bad guest and beside a compile, and memory.

pub(crate) mod calls;
mod footprint;
pub(crate) mod neighbour;
mod start;

use cofferdam_store::Engine;

use crate::report::Report;

pub(crate) async fn measure(report: &mut Report, engine: Engine) {
    calls::measure(report).await;
    start::measure(report, engine).await;
    footprint::measure(report, engine).await;
    neighbour::measure(report, engine).await;
}
