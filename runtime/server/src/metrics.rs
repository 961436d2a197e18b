//! Counters and histograms for Prometheus. Label sets are closed: connections, classes, outcomes.

use cofferdam_domain::{Connection, Outcome};
use cofferdam_queue::Retired;
use cofferdam_vault::{CredentialInfo, FactKind};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

/// A connection of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Lane {
    workspace: String,
    connection: String,
}

impl Lane {
    /// The labels of this connection.
    pub(crate) fn of(connection: &Connection) -> Self {
        Self {
            workspace: connection.workspace.to_string(),
            connection: connection.spec.name.to_string(),
        }
    }
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AttemptLabels {
    workspace: String,
    connection: String,
    outcome: &'static str,
    class: &'static str,
}

impl AttemptLabels {
    /// The labels of this outcome; the class is empty for a delivery.
    pub(crate) fn of(connection: &Connection, outcome: &Outcome, class: &'static str) -> Self {
        let Lane { workspace, connection } = Lane::of(connection);
        let outcome = match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Parked => "parked",
            Outcome::Dead => "dead",
        };
        Self {
            workspace,
            connection,
            outcome,
            class,
        }
    }
}

/// How an incoming request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct IngestLabels {
    /// `hook` or `api`.
    pub door: &'static str,
    /// `accepted`, `duplicate`, `handshake`, `unverified`, `refused`, `kept-raw`, `failed`.
    pub answer: &'static str,
}

/// Why a request to a hook failed its check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UnverifiedLabels {
    workspace: String,
    connection: String,
    reason: &'static str,
}

impl UnverifiedLabels {
    /// The labels of this reason, one of a few words.
    pub(crate) fn of(connection: &Connection, reason: &'static str) -> Self {
        let Lane { workspace, connection } = Lane::of(connection);
        Self {
            workspace,
            connection,
            reason,
        }
    }
}

/// Why producers are told to come back later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusedLabels {
    /// `hook` or `api`.
    pub door: &'static str,
    /// The mark that was met.
    pub reason: &'static str,
}

/// Whose event came again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DuplicateLabels {
    /// `api` or `connection`.
    pub origin: &'static str,
}

/// A kind of record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RecordLabels {
    /// `events`, `deliveries`, `dead-letters`, `bodies` or `attempts`.
    pub kind: &'static str,
}

/// What a connection's filter said of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FilterLabels {
    workspace: String,
    connection: String,
    answer: &'static str,
}

impl FilterLabels {
    /// The labels of this answer: `wanted`, `unwanted`, `error` or `overrun`.
    pub(crate) fn of(connection: &Connection, answer: &'static str) -> Self {
        let Lane { workspace, connection } = Lane::of(connection);
        Self {
            workspace,
            connection,
            answer,
        }
    }
}

/// What happened to credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FactLabels {
    /// As the fact's kind is called.
    pub kind: &'static str,
}

/// A credential of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub(crate) struct CredentialLabels {
    workspace: String,
    connection: String,
    credential: String,
}

impl CredentialLabels {
    /// The labels of this credential.
    pub(crate) fn of(credential: &CredentialInfo) -> Self {
        Self {
            workspace: credential.workspace.to_string(),
            connection: credential.connection.to_string(),
            credential: credential.name.to_string(),
        }
    }
}

/// What became of a file of the plugins folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadResult {
    /// It runs.
    Loaded,
    /// It is not used before it changes.
    Refused,
    /// It is tried again.
    NotNow,
}

/// What became of files of the plugins folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LoadLabels {
    /// `loaded`, `refused` or `not-now`.
    pub result: &'static str,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    /// Requests by door and answer.
    pub ingest: Family<IngestLabels, Counter>,
    /// Requests to hooks that failed their check, by connection and reason.
    pub unverified: Family<UnverifiedLabels, Counter>,
    /// Attempts by outcome and class.
    pub attempts: Family<AttemptLabels, Counter>,
    /// Wall time of an attempt.
    pub attempt_seconds: Seconds,
    /// From acceptance to delivery.
    pub delivery_seconds: Seconds,
    /// Requests that were not taken: they met a high-water mark, or found no place.
    pub refused: Family<RefusedLabels, Counter>,
    /// Events that had been taken in before.
    pub duplicates: Family<DuplicateLabels, Counter>,
    /// Records that retention has removed.
    pub retired: Family<RecordLabels, Counter>,
    /// Room on the disk of the data folder.
    pub free_bytes: Gauge,
    /// Body bytes of deliveries that wait.
    pub pending_bytes: Family<Lane, Gauge>,
    /// How long the first delivery of a lane has been due, in milliseconds.
    pub lag_ms: Family<Lane, Gauge>,
    /// Events by what a connection's filter said of them.
    pub filters: Family<FilterLabels, Counter>,
    /// Attempts of a lane that may be under way at once as things are: less than its policy's concurrency while it ramps up,
    /// none while it is held.
    pub lane_limit: Family<Lane, Gauge>,
    /// Whether a lane's breaker is open.
    pub breaker_open: Family<Lane, Gauge>,
    /// Requests that the budget of their upstream held back.
    pub held_back: Family<Lane, Counter>,
    /// The longest time for which an upstream still holds a budget of a connection, in milliseconds.
    pub held_ms: Family<Lane, Gauge>,
    /// Attempts whose lease ran out in this process.
    pub interrupted: Counter,
    /// What happened to credentials, repetitions included.
    pub credential_facts: Family<FactLabels, Counter>,
    /// When credentials expire, in seconds since 1970, for those of which that is known.
    pub credential_expiry: Family<CredentialLabels, Gauge>,
    /// Files of the plugins folder by what became of them.
    pub plugin_loads: Family<LoadLabels, Counter>,
    /// Connectors that are there.
    pub connectors: Gauge,
    /// Versions that were put in quarantine for a connection.
    pub quarantined: Counter,
    /// Deliveries that wait.
    pub pending: Family<Lane, Gauge>,
    /// Dead letters.
    pub dead: Family<Lane, Gauge>,
}

type Seconds = Family<Lane, Histogram, fn() -> Histogram>;

/// Makes metrics at zero and registers each, under one name with one word of help.
struct Maker<'a>(&'a mut Registry);

impl Maker<'_> {
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    /// A histogram of durations from 1 ms to 65 s.
    fn seconds(&mut self, name: &str, help: &str) -> Seconds {
        let metric: Seconds = Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 17)));
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("cofferdam");
        let mut made = Maker(&mut registry);
        Self {
            ingest: made.metric("ingest_requests", "Incoming requests by answer"),
            unverified: made.metric(
                "hook_unverified",
                "Requests to a connection's hook that failed their check, by reason",
            ),
            attempts: made.metric("attempts", "Attempts by outcome and failure class"),
            attempt_seconds: made.seconds("attempt", "Wall time of attempts"),
            delivery_seconds: made.seconds("delivery", "Time from acceptance to delivery"),
            refused: made.metric(
                "ingest_refused",
                "Requests that met a high-water mark or found no place, by door and reason",
            ),
            duplicates: made.metric(
                "events_duplicate",
                "Events that had been taken in before, by kind of origin",
            ),
            retired: made.metric("records_retired", "Records that retention has removed, by kind"),
            free_bytes: made.metric("disk_free_bytes", "Room on the disk of the data folder"),
            pending_bytes: made.metric("deliveries_pending_bytes", "Body bytes of deliveries that wait"),
            lag_ms: made.metric(
                "lane_lag_milliseconds",
                "How long the first delivery of a connection has been due",
            ),
            filters: made.metric(
                "filter_answers",
                "Events by what a connection's filter said of them; error is not delivered, overrun is",
            ),
            lane_limit: made.metric("lane_limit", "Attempts that may be under way at once as things are"),
            breaker_open: made.metric("lane_breaker_open", "Whether the breaker of a connection is open"),
            held_back: made.metric(
                "budget_held_back",
                "Requests that the budget of their upstream held back, by connection",
            ),
            held_ms: made.metric(
                "budget_hold_milliseconds",
                "How long an upstream still holds a budget of a connection",
            ),
            interrupted: made.metric(
                "attempts_interrupted",
                "Attempts whose lease ran out before they were settled",
            ),
            credential_facts: made.metric("credential_facts", "What happened to credentials, by kind"),
            credential_expiry: made.metric(
                "credential_expiry_timestamp_seconds",
                "When a credential expires, in seconds since 1970",
            ),
            plugin_loads: made.metric(
                "plugin_loads",
                "Files of the plugins folder that were taken up, by result",
            ),
            quarantined: made.metric(
                "versions_quarantined",
                "Versions of connectors that were put in quarantine for a connection",
            ),
            connectors: made.metric("connectors", "Connectors that the plugins folder provides"),
            pending: made.metric("deliveries_pending", "Deliveries that wait"),
            dead: made.metric("dead_letters", "Deliveries that wait for a person"),
            registry,
        }
    }

    /// How a lane stands.
    pub(crate) fn pace(&self, lane: &Lane, limit: usize, open: bool) {
        self.lane_limit
            .get_or_create(lane)
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.breaker_open.get_or_create(lane).set(i64::from(open));
    }

    /// One more request.
    pub(crate) fn count_ingest(&self, door: &'static str, answer: &'static str) {
        self.ingest.get_or_create(&IngestLabels { door, answer }).inc();
    }

    /// One more file of the plugins folder.
    pub(crate) fn count_load(&self, result: LoadResult) {
        let result = match result {
            LoadResult::Loaded => "loaded",
            LoadResult::Refused => "refused",
            LoadResult::NotNow => "not-now",
        };
        self.plugin_loads.get_or_create(&LoadLabels { result }).inc();
    }

    /// One more fact of a credential.
    pub(crate) fn count_fact(&self, kind: FactKind) {
        self.credential_facts
            .get_or_create(&FactLabels { kind: kind.as_str() })
            .inc();
    }

    /// What one step of retention has removed.
    pub(crate) fn count_retired(&self, retired: &Retired) {
        let Retired {
            events,
            deliveries,
            dead,
            bodies,
            attempts,
            body_keys,
            more: _,
        } = *retired;
        for (kind, count) in [
            ("events", events),
            ("deliveries", deliveries),
            ("dead-letters", dead),
            ("bodies", bodies),
            ("attempts", attempts),
            ("body-keys", body_keys),
        ] {
            self.retired.get_or_create(&RecordLabels { kind }).inc_by(count);
        }
    }

    /// OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
