//! Flows across the whole product, on the real binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod back_pressure;
mod bodies;
mod budgets;
mod compile;
mod compute;
mod connections;
mod crash;
mod dead_letters;
mod delete;
mod delivery;
mod faults;
mod folder;
mod github_examples;
mod hooks;
mod ingest;
mod isolation;
mod js_connector;
mod lanes;
mod limits;
mod manifests;
mod oauth2;
mod panel;
mod poller;
mod probes;
mod providers;
mod python_connector;
mod reuse;
mod secrets;
mod signing;
mod start;
mod state;
mod store;
mod subscriptions;
mod threat_model;
mod wasi;
mod wasi_guest;
