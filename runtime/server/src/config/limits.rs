//! `[limits]`: bounds on what comes in, high-water marks among them.

use std::time::Duration;

use cofferdam_domain::limits::{BODY_BYTES_MAX, DEDUPE_WINDOW_HOURS_MAX, DEDUPE_WINDOW_HOURS_MIN};

use super::Config;
use super::reader::{Document, Section};

/// The highest that a mark of bytes can be set.
const PENDING_BYTES_MAX: u64 = 1 << 50;

/// The longest that a mark of age can be set: a year.
const PENDING_AGE_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// Bounds on what comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body and event body, in bytes.
    pub body_bytes: usize,
    /// Deliveries that may wait in all before producers are told to come back later.
    pub pending: u64,
    /// The same for the bytes of their bodies.
    pub pending_bytes: u64,
    /// As `pending`, for each connection: one that is off or slow stops only what it is owed itself. A connection's policy may
    /// say otherwise, as of the two that follow.
    pub pending_per_connection: u64,
    /// As `pending_bytes`, for each connection.
    pub pending_bytes_per_connection: u64,
    /// How long the first delivery of a connection may have been due, in milliseconds; 0 for ever.
    pub pending_age_ms_per_connection: u64,
    /// What callers of `POST /v1/events`, who come back, leave of each mark to webhook providers, who may not; in percent.
    pub headroom_percent: u64,
    /// How long a dedupe key of an event from `POST /v1/events` is remembered.
    pub dedupe_window: Duration,
}

/// Reads the section.
pub(super) fn read(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<Limits> {
    let most = BODY_BYTES_MAX as u64 * 8;
    let body = section.within(
        root,
        "body_bytes",
        defaults.map(|config| config.limits.body_bytes as u64),
        1024..=most,
    );
    let pending = section.within(
        root,
        "pending",
        defaults.map(|config| config.limits.pending),
        1..=100_000_000,
    );
    let per_connection = section.within(
        root,
        "pending_per_connection",
        defaults.map(|config| config.limits.pending_per_connection),
        1..=100_000_000,
    );
    let of = |read: fn(&Limits) -> u64| defaults.map(|config| read(&config.limits));
    let bytes = section.within(
        root,
        "pending_bytes",
        of(|limits| limits.pending_bytes),
        1..=PENDING_BYTES_MAX,
    );
    let bytes_per_connection = section.within(
        root,
        "pending_bytes_per_connection",
        of(|limits| limits.pending_bytes_per_connection),
        1..=PENDING_BYTES_MAX,
    );
    let age = section.within(
        root,
        "pending_age_ms_per_connection",
        of(|limits| limits.pending_age_ms_per_connection),
        0..=PENDING_AGE_MS_MAX,
    );
    let headroom = section.within(root, "headroom_percent", of(|limits| limits.headroom_percent), 0..=90);
    let window = section.within(
        root,
        "dedupe_window_hours",
        of(|limits| limits.dedupe_window.as_secs() / 3600),
        u64::from(DEDUPE_WINDOW_HOURS_MIN)..=u64::from(DEDUPE_WINDOW_HOURS_MAX),
    );
    section.finish(root);
    Some(Limits {
        body_bytes: usize::try_from(body?).ok()?,
        pending: pending?,
        pending_bytes: bytes?,
        pending_per_connection: per_connection?,
        pending_bytes_per_connection: bytes_per_connection?,
        pending_age_ms_per_connection: age?,
        headroom_percent: headroom?,
        dedupe_window: Duration::from_secs(window? * 3600),
    })
}
