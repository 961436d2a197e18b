//! What every part of the server shares.

use std::sync::Arc;

use cofferdam_egress::Gate;
use cofferdam_host::Catalogue;
use cofferdam_queue::StoreQueue;
use cofferdam_store::Store;
use cofferdam_vault::Vault;

use crate::config::Limits;
use crate::connections::Connections;
use crate::metrics::Metrics;
use crate::panel::Sessions;
use crate::tokens::Tokens;

/// Handles to everything. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Events, deliveries, attempts.
    pub queue: Arc<StoreQueue>,
    /// Secrets.
    pub vault: Arc<Vault>,
    /// The way out.
    pub gate: Arc<Gate>,
    /// Connectors.
    pub catalogue: Arc<Catalogue>,
    /// Connections.
    pub connections: Arc<Connections>,
    /// Tokens.
    pub tokens: Arc<Tokens>,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Who is signed in to the panel.
    pub sessions: Arc<Sessions>,
    /// The store under all of it, for its health.
    pub store: Store,
    /// Bounds on what comes in.
    pub limits: Limits,
}
