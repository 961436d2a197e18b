//! The queue over the store: what accepting costs beside the device and the store alone, what a million waiting deliveries
//! change, how soon a restart is ready, and what a neighbour in trouble costs a healthy lane.

mod accept;
mod bed;
mod bodies;
mod cost;
mod neighbour;
mod replay;

use cofferdam_store::Engine;

use crate::pipeline;
use crate::report::Report;

pub(crate) use bodies::measure as measure_bodies;
pub(crate) use cost::child;

/// `delivered_per_s_64` belongs to both benchmarks; it is measured once.
pub(crate) async fn measure(report: &mut Report, engine: Engine, path_measured: bool) {
    accept::measure(report, engine).await;
    if !path_measured {
        eprintln!("  the whole path, by HTTP (about 20 s)");
        pipeline::measure_many(report, engine).await;
    }
    let million = cost::measure(report, engine).await;
    replay::measure(report, engine).await;
    neighbour::measure(report, engine, million).await;
}
