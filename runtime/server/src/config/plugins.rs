//! `[plugins]`: the plugins folder.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_domain::{ConnectorName, Digest};
use minisign_verify::PublicKey;
use serde::Deserialize;

use super::Config;
use super::reader::{Document, Section};

/// Most keys that may be trusted.
const KEYS_MAX: usize = 64;

/// Most names that may be pinned.
const PINS_MAX: usize = 1_000;

/// How the plugins folder is looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsConfig {
    /// How often it is looked at if nothing says that it has changed.
    pub scan_every: Duration,
    /// How long a file must have stood still before it is loaded, and have been missing before its connector goes.
    pub settle: Duration,
    /// Versions of each connector that are kept.
    pub versions_kept: usize,
    /// Bytes of all versions together that are kept.
    pub versions_bytes: u64,
    /// Which updates run by themselves.
    pub updates: Updates,
    /// Faults of a version in a row that put it in quarantine for a connection.
    pub quarantine_faults: u32,
    /// Public keys of minisign, of which one must have signed what is signed.
    pub trusted_keys: Vec<String>,
    /// Whether what is not signed is not loaded.
    pub require_signature: bool,
    /// The only digest that a name may have.
    pub pins: BTreeMap<ConnectorName, Digest>,
}

/// Which updates of a connector run by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Updates {
    /// Those that ask for no more than was granted.
    NoMore,
    /// None.
    Ask,
}

/// A digest as it is pinned: `sha256:` and 64 hex digits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Pin(Digest);

impl TryFrom<String> for Pin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digest = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        digest
            .map(Self)
            .ok_or_else(|| "a pin is `sha256:` and 64 lower-case hex digits".to_owned())
    }
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
    let default = defaults.map(|config| config.plugins.versions_kept as u64);
    let kept = section.within(root, "versions_kept", default, 1..=100);
    let default = defaults.map(|config| config.plugins.versions_bytes);
    let bytes = section.within(root, "versions_bytes", default, 1024 * 1024..=1 << 50);
    let updates = section.value(root, "updates", defaults.map(|config| config.plugins.updates));
    let default = defaults.map(|config| config.plugins.quarantine_faults.into());
    let faults = section.within(root, "quarantine_faults", default, 1..=1_000);
    let default = defaults.map(|config| config.plugins.trusted_keys.clone());
    let keys: Option<Vec<String>> = section.value(root, "trusted_keys", default);
    let default = defaults.map(|config| config.plugins.require_signature);
    let require = section.value(root, "require_signature", default);
    let pins: Option<Option<BTreeMap<ConnectorName, Pin>>> = section.optional(root, "pins", None);
    let line = section.line();
    section.finish(root);
    let (keys, require, pins) = (keys?, require?, pins?.unwrap_or_default());
    for problem in problems(&keys, require, pins.len()) {
        root.mistake(line, problem);
    }
    Some(PluginsConfig {
        scan_every: scan_every?,
        settle: settle?,
        versions_kept: usize::try_from(kept?).ok()?,
        versions_bytes: bytes?,
        updates: updates?,
        quarantine_faults: u32::try_from(faults?).ok()?,
        trusted_keys: keys,
        require_signature: require,
        pins: pins.into_iter().map(|(name, Pin(digest))| (name, digest)).collect(),
    })
}

fn problems(keys: &[String], require: bool, pins: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if keys.len() > KEYS_MAX {
        problems.push(format!("plugins.trusted_keys has more than {KEYS_MAX} keys"));
    }
    for key in keys {
        if let Err(error) = PublicKey::from_base64(key) {
            problems.push(format!(
                "plugins.trusted_keys: {key:?} is no public key of minisign ({error}); give the second line of minisign.pub"
            ));
        }
    }
    if require && keys.is_empty() {
        problems.push(
            "plugins.require_signature is set and plugins.trusted_keys is empty: nothing could be loaded".to_owned(),
        );
    }
    if pins > PINS_MAX {
        problems.push(format!("plugins.pins has more than {PINS_MAX} names"));
    }
    problems
}
