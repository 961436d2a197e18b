//! One HTTP client per route, so that a pooled connection is never shared between credentials, tenants or grants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::connection::BaseUrl;
use cofferdam_domain::{ConnectionName, UpstreamName, WorkspaceName};
use ipnet::IpNet;
use reqwest::Client;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::resolve::Pinned;
use crate::passport::Route;

/// Most routes whose clients are kept. The one that was used longest ago makes room.
pub(crate) const CHANNELS_MAX: usize = 1024;

/// Longest time for connecting and the TLS handshake.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most idle connections of one route.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 64;

/// TLS sessions of one route that can be resumed.
const TLS_SESSIONS_MAX: usize = 8;

/// Most response headers, HTTP/1.1; HTTP/2 is bounded in bytes.
const RESPONSE_HEADERS_MAX: usize = 128;

/// Most bytes of response headers, decoded.
pub(crate) const RESPONSE_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// A client and the addresses it may dial.
#[derive(Debug)]
pub(crate) struct Channel {
    pub client: Client,
    pub pinned: Pinned,
    base_url: BaseUrl,
    networks: Vec<IpNet>,
}

impl Channel {
    /// Whether it was made for what the route says now. Other changes of a route do not touch the wire.
    fn fits(&self, route: &Route) -> bool {
        self.base_url == route.base_url && self.networks == route.networks
    }
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelKey {
    pub workspace: WorkspaceName,
    pub connection: ConnectionName,
    pub upstream: UpstreamName,
}

/// All channels of a gate.
#[derive(Debug)]
pub(crate) struct Channels {
    tls: ClientConfig,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    channels: HashMap<ChannelKey, (u64, Arc<Channel>)>,
    uses: u64,
}

impl Channels {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let mut tls = match builder()?.with_platform_verifier() {
            Ok(verified) => verified.with_no_client_auth(),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no trusted certificates on this machine; every https upstream will be unreachable"
                );
                builder()?
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth()
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            tls,
            open: Mutex::default(),
        })
    }

    /// The route's channel, made if there is none or if the route now leads elsewhere.
    pub(crate) fn of(&self, key: ChannelKey, route: &Route) -> Result<Arc<Channel>, reqwest::Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let uses = open.uses;
        if let Some((used, channel)) = open.channels.get_mut(&key).filter(|(_, channel)| channel.fits(route)) {
            *used = uses;
            return Ok(channel.clone());
        }
        if open.channels.len() >= CHANNELS_MAX && !open.channels.contains_key(&key) {
            let oldest = open.channels.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                open.channels.remove(&oldest);
            }
        }
        let channel = Arc::new(self.make(route)?);
        open.channels.insert(key, (uses, channel.clone()));
        Ok(channel)
    }

    fn make(&self, route: &Route) -> Result<Channel, reqwest::Error> {
        let mut tls = self.tls.clone();
        tls.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
        let pinned = Pinned::default();
        let client = Client::builder()
            .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .dns_resolver(pinned.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            .http2_max_header_list_size(RESPONSE_HEADER_BYTES_MAX)
            .build()?;
        Ok(Channel {
            client,
            pinned,
            base_url: route.base_url.clone(),
            networks: route.networks.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::CredentialSlot;

    fn key(connection: &str) -> ChannelKey {
        ChannelKey {
            workspace: "w".parse().unwrap(),
            connection: connection.parse().unwrap(),
            upstream: "u".parse().unwrap(),
        }
    }

    fn route(base_url: &str) -> Route {
        Route {
            base_url: base_url.parse().unwrap(),
            methods: Vec::new(),
            path_prefixes: Vec::new(),
            slot: CredentialSlot::None,
            credential: None,
            networks: Vec::new(),
            oauth2: None,
        }
    }

    #[test]
    fn connections_share_no_client_and_a_moved_route_gets_a_new_one() {
        let channels = Channels::new().unwrap();
        let first = channels.of(key("a"), &route("https://h.test")).unwrap();
        let again = channels.of(key("a"), &route("https://h.test")).unwrap();
        let other = channels.of(key("b"), &route("https://h.test")).unwrap();
        let moved = channels.of(key("a"), &route("https://i.test")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(!Arc::ptr_eq(&first, &moved));
        assert_eq!(channels.open.lock().unwrap().channels.len(), 2);
    }

    #[test]
    fn the_number_of_clients_is_bounded_and_the_oldest_goes() {
        let channels = Channels::new().unwrap();
        for nth in 0..=CHANNELS_MAX {
            channels.of(key(&format!("c{nth}")), &route("http://h.test")).unwrap();
        }
        let open = channels.open.lock().unwrap();
        assert_eq!(open.channels.len(), CHANNELS_MAX);
        assert!(!open.channels.contains_key(&key("c0")));
        assert!(open.channels.contains_key(&key("c1")));
    }
}
