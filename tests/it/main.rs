//! Flows across the whole product, on the real binary.

mod connections;
mod crash;
mod delivery;
mod github_examples;
mod ingest;
mod isolation;
mod manifests;
mod panel;
mod start;
