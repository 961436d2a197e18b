//! `[retention]`: what is kept, and for how long.

use cofferdam_queue::Retention;

use super::Config;
use super::reader::{Document, Section};

/// The longest that anything can be kept other than for ever: ten years, in days.
const KEPT_DAYS_MAX: u64 = 3650;

/// The highest that a bound of bytes that are kept can be set.
const KEPT_BYTES_MAX: u64 = 1 << 50;

/// Reads the section.
pub(super) fn read(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<Retention> {
    let mut days = |root: &mut Document<'_>, key, read: fn(&Retention) -> u32| {
        let default = defaults.map(|config| u64::from(read(&config.retention)));
        section.within(root, key, default, 0..=KEPT_DAYS_MAX)
    };
    let delivered = days(root, "delivered_days", |kept| kept.delivered_days);
    let bodies = days(root, "bodies_days", |kept| kept.bodies_days);
    let attempts = days(root, "attempts_days", |kept| kept.attempts_days);
    let dead = days(root, "dead_days", |kept| kept.dead_days);
    let mut bytes = |root: &mut Document<'_>, key, read: fn(&Retention) -> u64| {
        let default = defaults.map(|config| read(&config.retention));
        section.within(root, key, default, 0..=KEPT_BYTES_MAX)
    };
    let bodies_bytes = bytes(root, "bodies_bytes", |kept| kept.bodies_bytes);
    let attempts_bytes = bytes(root, "attempts_bytes", |kept| kept.attempts_bytes);
    section.finish(root);
    Some(Retention {
        delivered_days: u32::try_from(delivered?).ok()?,
        bodies_days: u32::try_from(bodies?).ok()?,
        attempts_days: u32::try_from(attempts?).ok()?,
        dead_days: u32::try_from(dead?).ok()?,
        bodies_bytes: bodies_bytes?,
        attempts_bytes: attempts_bytes?,
    })
}
