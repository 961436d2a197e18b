//! The configuration file: read with every mistake reported at once, by line.

mod connection_file;
mod host;
mod limits;
mod plugins;
mod reader;
mod retention;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_domain::connection::BaseUrl;
use cofferdam_queue::Retention;
use cofferdam_store::Engine;
use serde::Deserialize;

pub use connection_file::{over_maximum, parse_connection};
pub use host::HostConfig;
pub use limits::Limits;
pub use plugins::{PluginsConfig, Updates};
pub use reader::Mistake;
use reader::{Document, Section};

/// The documented defaults. They are the defaults: [`Config::default`] reads this text.
pub const DEFAULT_TEXT: &str = include_str!("config/cofferdam.default.toml");

/// The policy of a connection, every value with its default: a test holds it against the policy's own.
pub const DEFAULT_POLICY_TEXT: &str = include_str!("config/policy.default.toml");

/// Largest configuration or connection file, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;

/// How the server is set up. See `cofferdam.default.toml` for what each value means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses.
    pub listen: Listen,
    /// Bounds on what comes in.
    pub limits: Limits,
    /// The durable store.
    pub store: StoreConfig,
    /// WebAssembly.
    pub host: HostConfig,
    /// The plugins folder.
    pub plugins: PluginsConfig,
    /// Secrets.
    pub vault: VaultConfig,
    /// Log output.
    pub log: LogConfig,
    /// How long running work may take after a signal to stop.
    pub drain: Duration,
    /// What is kept, and for how long.
    pub retention: Retention,
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Webhooks and events.
    pub public: SocketAddr,
    /// API, panel, health, metrics.
    pub admin: SocketAddr,
    /// Names by which the admin listener may be called, beside addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    /// Where a browser finds the admin listener, `scheme://host[:port]`; none means its address.
    pub admin_url: Option<BaseUrl>,
}

impl Listen {
    /// Where an authorization server sends people back to.
    pub fn redirect_uri(&self, admin: SocketAddr) -> String {
        let at = self.admin_url.as_ref().map(BaseUrl::as_str);
        format!(
            "{}/oauth2/callback",
            at.map_or_else(|| format!("http://{admin}"), str::to_owned)
        )
    }

    /// Names by which the admin listener may be called: those that are listed, and that of its URL.
    pub fn admin_names(&self) -> Vec<String> {
        let url = self
            .admin_url
            .as_ref()
            .and_then(|url| url::Url::parse(url.as_str()).ok());
        let own = url.as_ref().and_then(url::Url::host_str).map(str::to_owned);
        self.admin_hosts.iter().cloned().chain(own).collect()
    }
}

/// The durable store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The embedded engine.
    pub engine: Engine,
    /// Page cache, in bytes.
    pub cache_bytes: u64,
    /// Nothing is accepted while the disk has less room than this, in bytes; 0 turns that off.
    pub free_bytes_min: u64,
    /// Whether the bodies of events are sealed from now on.
    pub seal_bodies: bool,
}

/// Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// The key file; none means `vault.key` in the data folder.
    pub key_file: Option<PathBuf>,
}

/// Log output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// An `EnvFilter` directive.
    pub level: String,
}

/// Text for people or JSON for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line a record.
    Text,
    /// One object a line.
    Json,
}

/// A file that cannot be used, with every mistake in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can be read and is wrong.
    #[error("{}", listed(path, mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// In the order of lines.
        mistakes: Vec<Mistake>,
    },
}

fn listed(path: &Path, mistakes: &[Mistake]) -> String {
    let mut text = format!(
        "{} has {} mistake{}:",
        path.display(),
        mistakes.len(),
        if mistakes.len() == 1 { "" } else { "s" }
    );
    for mistake in mistakes {
        text.push_str(&format!("\n  line {}: {}", mistake.line, mistake.text));
    }
    text
}

impl Config {
    /// Reads a file; what it does not say has its default.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes"
            ))));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|mistakes| FileError::Mistakes {
            path: path.to_owned(),
            mistakes,
        })
    }

    /// Reads a text, with every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let defaults = Document::parse(DEFAULT_TEXT).and_then(|document| Self::read(document, None))?;
        Document::parse(text).and_then(|document| Self::read(document, Some(&defaults)))
    }

    fn read(document: Document<'_>, defaults: Option<&Self>) -> Result<Self, Vec<Mistake>> {
        let mut root = document;
        let listen = root.section("listen");
        let limits = root.section("limits");
        let store = root.section("store");
        let host = root.section("host");
        let plugins = root.section("plugins");
        let vault = root.section("vault");
        let log = root.section("log");
        let server = root.section("server");
        let retention = root.section("retention");
        let (listen, limits, store, host, plugins, vault, log, drain, retention) = (
            read_listen(&mut root, listen, defaults),
            limits::read(&mut root, limits, defaults),
            read_store(&mut root, store, defaults),
            host::read(&mut root, host, defaults),
            plugins::read(&mut root, plugins, defaults),
            read_vault(&mut root, vault, defaults),
            read_log(&mut root, log, defaults),
            read_drain(&mut root, server, defaults),
            retention::read(&mut root, retention, defaults),
        );
        let mistakes = root.finish();
        match (listen, limits, store, host, plugins, vault, log, drain, retention) {
            (
                Some(listen),
                Some(limits),
                Some(store),
                Some(host),
                Some(plugins),
                Some(vault),
                Some(log),
                Some(drain),
                Some(retention),
            ) if mistakes.is_empty() => Ok(Self {
                listen,
                limits,
                store,
                host,
                plugins,
                vault,
                log,
                drain,
                retention,
            }),
            _ => Err(mistakes),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::parse("").expect("the default configuration is valid: a test reads it")
    }
}

fn read_listen(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<Listen> {
    let public = section.value(root, "public", defaults.map(|config| config.listen.public));
    let admin = section.value(root, "admin", defaults.map(|config| config.listen.admin));
    let default = defaults.map(|config| config.listen.admin_hosts.clone());
    let admin_hosts = section.value(root, "admin_hosts", default);
    let admin_url = section.optional(
        root,
        "admin_url",
        defaults.and_then(|config| config.listen.admin_url.clone()),
    );
    let line = section.line();
    section.finish(root);
    let admin_url: Option<BaseUrl> = admin_url?;
    if admin_url
        .as_ref()
        .is_some_and(|url| url.as_str().matches('/').count() > 2)
    {
        root.mistake(
            line,
            "listen.admin_url has a path; the panel is at the root of its host".into(),
        );
        return None;
    }
    let listen = Listen {
        admin_url,
        public: public?,
        admin: admin?,
        admin_hosts: admin_hosts?,
    };
    if listen.public == listen.admin && listen.public.port() != 0 {
        root.mistake(
            line,
            "listen.public and listen.admin must differ: the admin listener is not for the public".into(),
        );
        return None;
    }
    Some(listen)
}

fn read_store(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<StoreConfig> {
    let default = defaults.map(|config| EngineName(config.store.engine));
    let engine = section.value(root, "engine", default);
    let default = defaults.map(|config| config.store.cache_bytes);
    let cache = section.within(root, "cache_bytes", default, 1024 * 1024..=16 * 1024 * 1024 * 1024);
    let default = defaults.map(|config| config.store.free_bytes_min);
    let free = section.within(root, "free_bytes_min", default, 0..=1 << 50);
    let default = defaults.map(|config| config.store.seal_bodies);
    let seal = section.value(root, "seal_bodies", default);
    section.finish(root);
    Some(StoreConfig {
        engine: engine?.0,
        cache_bytes: cache?,
        free_bytes_min: free?,
        seal_bodies: seal?,
    })
}

/// An engine as it is written in the file.
struct EngineName(Engine);

impl<'de> Deserialize<'de> for EngineName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

fn read_vault(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<VaultConfig> {
    let key_file = section.optional(
        root,
        "key_file",
        defaults.and_then(|config| config.vault.key_file.clone()),
    );
    section.finish(root);
    Some(VaultConfig { key_file: key_file? })
}

fn read_log(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<LogConfig> {
    let format = section.value(root, "format", defaults.map(|config| config.log.format));
    let level: Option<String> = section.value(root, "level", defaults.map(|config| config.log.level.clone()));
    let line = section.line();
    section.finish(root);
    let level = level?;
    if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
        root.mistake(line, format!("log.level: {error}"));
        return None;
    }
    Some(LogConfig { format: format?, level })
}

fn read_drain(root: &mut Document<'_>, mut section: Section<'_>, defaults: Option<&Config>) -> Option<Duration> {
    let default = defaults.and_then(|config| u64::try_from(config.drain.as_millis()).ok());
    let drain = section.within(root, "drain_ms", default, 0..=600_000);
    section.finish(root);
    drain.map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
