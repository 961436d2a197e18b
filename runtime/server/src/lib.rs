//! Ingest, dispatch, admin API, panel, telemetry and the composition root.
//!
//! It wires the parts together and speaks HTTP; what an attempt's result means is decided in `cofferdam-domain`, what may
//! leave in `cofferdam-egress`, what is kept in `cofferdam-queue` and `cofferdam-vault`.

pub mod admin;
mod app;
pub mod budgets;
mod clock;
pub mod config;
pub mod connections;
mod consents;
mod credentials;
mod disk;
mod dispatch;
mod house;
pub mod ingest;
mod listener;
mod metrics;
mod oauth2;
mod panel;
mod plugins;
pub mod problem;
mod redrive;
mod schedule;
mod serve;
pub mod subscriptions;
pub mod telemetry;
pub mod timeline;
pub mod tokens;
mod vault_key;

pub use app::App;
pub use serve::{ServeError, ServeOptions, Server};
pub use vault_key::{KeyFound, KeyPlaces, VAULT_KEY_CREDENTIAL, VAULT_KEY_VARIABLE};
