//! `[host]` and `[host.maximum]`: WebAssembly, and what any connection may be allowed of it.

use cofferdam_domain::connection::{CallLimit, Maximum};
use cofferdam_domain::state::{STATE_BYTES_MAX, STATE_BYTES_MIN};

use super::Config;
use super::reader::{Document, Section};

/// WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Calls at once.
    pub calls: u32,
    /// Instances that are kept between calls, where policies ask for it.
    pub kept_instances: u32,
    /// Components that are compiled at once.
    pub compiles: u32,
    /// Compiled code that is kept, in bytes.
    pub cache_bytes: u64,
    /// The most that any connection's policy may ask for.
    pub maximum: Maximum,
    /// The most that any connection may keep between calls, in bytes.
    pub state_bytes: u64,
}

/// Reads both sections.
pub(super) fn read(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<HostConfig> {
    let defaults = defaults.map(|config| &config.host);
    section.moved(root, "memory_bytes", "host.maximum.memory_bytes");
    section.moved(root, "state_bytes", "host.maximum.state_bytes");
    let calls = section.within(root, "calls", defaults.map(|host| host.calls.into()), 1..=1024);
    let default = defaults.map(|host| host.kept_instances.into());
    let kept = section.within(root, "kept_instances", default, 0..=1024);
    let compiles = section.within(root, "compiles", defaults.map(|host| host.compiles.into()), 1..=64);
    let default = defaults.map(|host| host.cache_bytes);
    let cache = section.within(root, "cache_bytes", default, 1024 * 1024..=1 << 50);
    let mut most = section.section(root, "maximum", "host.maximum");
    section.finish(root);

    let mut maximum = Some(Maximum::default());
    for limit in CallLimit::ALL {
        let bounds = limit.bounds();
        let default = defaults.map(|host| host.maximum.of(limit));
        let value = most.within(root, limit.key(), default, bounds.least..=bounds.most);
        maximum = maximum.zip(value).map(|(maximum, value)| maximum.with(limit, value));
    }
    let default = defaults.map(|host| host.state_bytes);
    let state = most.within(root, "state_bytes", default, STATE_BYTES_MIN..=STATE_BYTES_MAX);
    most.finish(root);
    Some(HostConfig {
        calls: u32::try_from(calls?).ok()?,
        kept_instances: u32::try_from(kept?).ok()?,
        compiles: u32::try_from(compiles?).ok()?,
        cache_bytes: cache?,
        maximum: maximum?,
        state_bytes: state?,
    })
}
