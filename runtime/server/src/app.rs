//! What every part of the server shares.

use std::sync::Arc;

use cofferdam_domain::connection::Maximum;
use cofferdam_egress::{Gate, OAuth2};
use cofferdam_host::Engine;
use cofferdam_queue::{Retention, StoreQueue};
use cofferdam_store::Store;
use cofferdam_vault::Vault;

use crate::budgets::Shares;
use crate::config::Limits;
use crate::connections::Connections;
use crate::consents::Consents;
use crate::disk::Disk;
use crate::house::House;
use crate::ingest::{Entrances, Refusals};
use crate::metrics::Metrics;
use crate::panel::Sessions;
use crate::plugins::Plugins;
use crate::redrive::Bell;
use crate::subscriptions::Tallies;
use crate::tokens::Tokens;

/// Handles to everything. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Events, deliveries, attempts.
    pub(crate) queue: Arc<StoreQueue>,
    /// Secrets.
    pub(crate) vault: Arc<Vault>,
    /// The way out.
    pub(crate) gate: Arc<Gate>,
    /// Access tokens that the host obtains.
    pub(crate) oauth2: OAuth2,
    /// Consents that people were sent away for.
    pub(crate) consents: Arc<Consents>,
    /// Where they come back to.
    pub(crate) redirect_uri: Arc<str>,
    /// What runs connectors.
    pub(crate) engine: Engine,
    /// Connectors.
    pub(crate) plugins: Arc<Plugins>,
    /// Connections.
    pub(crate) connections: Arc<Connections>,
    /// What limits the budgets that connections share.
    pub(crate) shares: Arc<Shares>,
    /// Tokens.
    pub(crate) tokens: Arc<Tokens>,
    /// Counters and histograms.
    pub(crate) metrics: Arc<Metrics>,
    /// The ways in of what connectors are to read.
    pub(crate) entrances: Arc<Entrances>,
    /// Requests to hooks that failed their check, and what was said of them.
    pub(crate) refusals: Arc<Refusals>,
    /// How filters have answered.
    pub(crate) filters: Arc<Tallies>,
    /// Tells the runner of redrives that there is a new one.
    pub(crate) redrives: Arc<Bell>,
    /// Who is signed in to the panel.
    pub(crate) sessions: Arc<Sessions>,
    /// The store under all of it, for its health.
    pub(crate) store: Store,
    /// How much room is left on the disk.
    pub(crate) disk: Arc<Disk>,
    /// What housekeeping knows.
    pub(crate) house: Arc<House>,
    /// Names by which the admin listener may be called.
    pub(crate) admin_hosts: Arc<[String]>,
    /// What is kept, and for how long.
    pub(crate) retention: Retention,
    /// The most that any connection's policy may ask for.
    pub(crate) maximum: Maximum,
    /// The most that any connection may keep between calls, in bytes.
    pub(crate) state_bytes_max: u64,
    /// Bounds on what comes in.
    pub(crate) limits: Limits,
}
