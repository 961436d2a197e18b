//! `[plugins]`: the plugins folder.

use std::time::Duration;

use super::Config;
use super::reader::{Document, Section};

/// How the plugins folder is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsConfig {
    /// How often it is looked at if nothing says that it has changed.
    pub scan_every: Duration,
    /// How long a file must have stood still before it is loaded, and have been missing before its connector goes.
    pub settle: Duration,
}

/// Reads the section.
pub(super) fn read(
    root: &mut Document<'_>,
    mut section: Section<'_>,
    defaults: Option<&Config>,
) -> Option<PluginsConfig> {
    let mut span = |root: &mut Document<'_>, key, read: fn(&PluginsConfig) -> Duration, bounds| {
        let default = defaults.and_then(|config| u64::try_from(read(&config.plugins).as_millis()).ok());
        section.within(root, key, default, bounds).map(Duration::from_millis)
    };
    let scan_every = span(root, "scan_every_ms", |plugins| plugins.scan_every, 100..=3_600_000);
    let settle = span(root, "settle_ms", |plugins| plugins.settle, 0..=60_000);
    section.finish(root);
    Some(PluginsConfig {
        scan_every: scan_every?,
        settle: settle?,
    })
}
