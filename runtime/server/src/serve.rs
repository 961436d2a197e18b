//! The composition root: open → build → spawn → drain.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_egress::{Gate, GateConfig, GateError, OAuth2, OAuth2Config, SystemResolver};
use cofferdam_host::{Compiler, Engine, EngineError, EngineSettings};
use cofferdam_queue::{Bodies, QueueError, StoreQueue};
use cofferdam_store::{OpenError, OpenOptions, Store};
use cofferdam_vault::{KeyError, KeyHint, Vault, VaultError, VaultKey};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::{now, steady};
use crate::config::Config;
use crate::connections::{CONNECTIONS_MAX, ConnectionError, Connections};
use crate::disk::Disk;
use crate::dispatch::{Dispatcher, Drained};
use crate::metrics::Metrics;
use crate::plugins::{Plugins, PluginsError, PluginsSettings};
use crate::tokens::{TokenError, Tokens};
use crate::vault_key::{KeyFound, KeyPlaces};
use crate::{admin, ingest, listener, oauth2};

/// What `serve` is given.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How it is set up.
    pub config: Config,
    /// Where everything durable lies.
    pub data: PathBuf,
    /// Where connectors lie.
    pub plugins: PathBuf,
    /// The vault's key, if it was given by environment.
    pub vault_key: Option<secrecy::SecretString>,
    /// Where systemd put the service's credentials, if it did.
    pub credentials_dir: Option<PathBuf>,
    /// Where connectors are compiled.
    pub compiler: Compiler,
}

/// The server cannot start. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The data folder's content.
    #[error("the queue cannot be read")]
    Queue(#[from] QueueError),
    /// The vault's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another key.
    #[error("the vault was sealed under another key than {origin}: {hint}; nothing was changed")]
    WrongKey {
        /// Where the key came from.
        origin: String,
        /// What the store knows of the right one.
        hint: KeyHint,
    },
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Connections.
    #[error(transparent)]
    Connections(#[from] ConnectionError),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What is kept of the plugins folder.
    #[error(transparent)]
    Kept(#[from] PluginsError),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The plugins folder.
    #[error("the plugins folder {} cannot be read: create it, or name another with --plugins", path.display())]
    Plugins {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener.
    #[error("cannot listen on {address}: stop what uses it, or set listen.{which} to another address")]
    Listen {
        /// `public` or `admin`.
        which: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running server.
pub struct Server {
    app: App,
    options: ServeOptions,
    dispatcher: Dispatcher,
    stop: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    /// Opens everything, binds both listeners and starts the lanes. When this returns, requests are answered. Connectors come
    /// as they are loaded, after that.
    pub async fn start(options: ServeOptions) -> Result<Self, ServeError> {
        let config = &options.config;
        check_plugins(&options)?;
        let store = open_store(&options).await?;
        let disk = Arc::new(Disk::open(&options.data, config.store.free_bytes_min));
        let (public, admin) = (
            bind("public", config.listen.public).await?,
            bind("admin", config.listen.admin).await?,
        );
        let (public_at, admin_at) = (local(&public, config.listen.public), local(&admin, config.listen.admin));

        let vault = Arc::new(open_vault(&options, &store).await?);
        let bodies = bodies(config, &vault);
        let queue = Arc::new(StoreQueue::open_with(store.clone(), bodies, steady(), rand::make_rng()).await?);
        let tokens = Tokens::open(store.clone())?;
        if let Some(path) = tokens.create_first(&options.data).await? {
            tracing::info!(file = %path.display(), "first start: an admin token was made; this file holds it");
        }
        let engine = Engine::new(&EngineSettings {
            calls_max: config.host.calls,
            lanes_max: u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX),
            kept_max: config.host.kept_instances,
            maximum: config.host.maximum,
            cache_dir: options.data.join("compiled"),
            cache_bytes: config.host.cache_bytes,
            compiler: options.compiler.clone(),
            compiles_at_once: config.host.compiles,
        })?;
        let plugins = Plugins::open(PluginsSettings {
            dir: &options.plugins,
            config: &config.plugins,
            compiles: config.host.compiles,
            versions: options.data.join("versions"),
            store: &store,
        })?;
        let oauth2 = OAuth2::new(OAuth2Config {
            vault: Arc::clone(&vault),
            resolver: Arc::new(SystemResolver),
            clock: now,
            own_listeners: vec![public_at, admin_at],
        })?;
        let gate = Gate::new(GateConfig {
            credentials: Arc::new(oauth2.clone()),
            resolver: Arc::new(SystemResolver),
            clock: now,
            own_listeners: vec![public_at, admin_at],
        })?;
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        vault.observed_by(move |kind| counted.count_fact(kind));
        let app = App {
            queue,
            vault,
            gate: Arc::new(gate),
            oauth2,
            consents: Arc::default(),
            redirect_uri: config.listen.redirect_uri(admin_at).into(),
            engine,
            plugins: Arc::new(plugins),
            connections: Arc::new(Connections::open(store.clone())?),
            shares: Arc::default(),
            tokens: Arc::new(tokens),
            metrics,
            filters: Arc::default(),
            redrives: Arc::default(),
            entrances: Arc::default(),
            refusals: Arc::default(),
            sessions: Arc::default(),
            store,
            disk,
            house: Arc::default(),
            admin_hosts: config.listen.admin_names().into(),
            retention: config.retention,
            maximum: config.host.maximum,
            state_bytes_max: config.host.state_bytes,
            limits: config.limits.clone(),
        };

        ingest::warn_of_unchecked_hooks(&app);
        let stop = CancellationToken::new();
        let listeners = vec![
            tokio::spawn(listener::serve(public, ingest::router(app.clone()), stop.clone())),
            tokio::spawn(listener::serve(admin, admin::router(app.clone()), stop.clone())),
        ];
        let dispatcher = Dispatcher::start(&app);
        tracing::info!(public = %public_at, admin = %admin_at, "ready");
        Ok(Self {
            app,
            options,
            dispatcher,
            stop,
            listeners,
            public: public_at,
            admin: admin_at,
        })
    }

    /// Where webhooks and events are taken.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where API and panel are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What every part shares.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Takes nothing new, neither requests nor deliveries, and waits for the requests and attempts under way, both within the
    /// bound: a client that hangs takes none of the attempts' time. Answers whether everything came to its end.
    pub async fn drain(self) -> bool {
        let bound = self.options.config.drain;
        tracing::info!(bound_ms = bound.as_millis(), "stopping: waiting for what is under way");
        self.stop.cancel();
        let listeners = async {
            for listener in self.listeners {
                let abort = listener.abort_handle();
                if tokio::time::timeout(bound, listener).await.is_err() {
                    abort.abort();
                }
            }
        };
        let ((), drained) = tokio::join!(listeners, self.dispatcher.drain(bound));
        oauth2::settle(&self.app.oauth2).await;
        match drained {
            Drained::Settled => tracing::info!("stopped"),
            Drained::GivenBack => {
                tracing::warn!(
                    "stopped; attempts that had not ended in time were given back and are due at the next start"
                );
            }
            Drained::LeftBehind => {
                tracing::warn!("stopped with attempts under way; they are tried again at the next start");
            }
        }
        drained != Drained::LeftBehind
    }
}

/// Opening reads the whole index of the store, so it is kept off the executor.
async fn open_store(options: &ServeOptions) -> Result<Store, OpenError> {
    let open = OpenOptions::new(&options.data)
        .engine(options.config.store.engine)
        .cache_bytes(options.config.store.cache_bytes);
    match tokio::task::spawn_blocking(move || Store::open(&open)).await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// With the key from the first place that there is; a new vault gets one in the data folder if no other place is named.
async fn open_vault(options: &ServeOptions, store: &Store) -> Result<Vault, ServeError> {
    let places = KeyPlaces {
        variable: options.vault_key.as_ref(),
        file: options.config.vault.key_file.as_deref(),
        credentials_dir: options.credentials_dir.as_deref(),
        data: &options.data,
    };
    let KeyFound {
        source,
        origin,
        default_file,
    } = places.find();
    let key = match default_file {
        Some(path) if !path.exists() && !Vault::is_initialised(store)? => {
            let key = VaultKey::create_file(&path)?;
            tracing::info!(file = %path.display(), "first start: a vault key was made; keep a copy of it apart from the data");
            key
        }
        Some(_) | None => VaultKey::load(source)?,
    };
    tracing::debug!(origin, "the vault's key was read");
    match Vault::open(store.clone(), key).await {
        Err(VaultError::WrongKey(hint)) => Err(ServeError::WrongKey { origin, hint }),
        opened => Ok(opened?),
    }
}

/// Those that are sealed are opened in any case: the setting holds for what is accepted from now on.
fn bodies(config: &Config, vault: &Vault) -> Bodies {
    let keys = Arc::new(vault.body_keys());
    if config.store.seal_bodies {
        Bodies::Sealed(keys)
    } else {
        Bodies::PlainFromNowOn(keys)
    }
}

/// Looked at before anything is made: a start that fails leaves nothing behind.
fn check_plugins(options: &ServeOptions) -> Result<(), ServeError> {
    let path = &options.plugins;
    match std::fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(ServeError::Plugins {
            path: path.clone(),
            source,
        }),
    }
}

async fn bind(which: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { which, address, source })
}

/// With port 0 the system has chosen one.
fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}
