//! One HTTP client per route, so that a pooled connection is never shared between credentials, tenants or grants.
//!
//! A route whose grant says something else about the wire gets a new one, and so does one whose client certificate was
//! changed. There is no proxy, whatever the environment says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_domain::connection::BaseUrl;
use cofferdam_domain::{ConnectionName, CredentialName, CredentialSlot, UpstreamName, UpstreamTls, WorkspaceName};
use ipnet::IpNet;
use reqwest::Client;

use super::resolve::Pinned;
use super::tls::{BadTls, Fingerprint, Identity, TlsBase, Trust};
use crate::passport::Route;

/// Most routes whose clients are kept. The one that was used longest ago makes room.
pub(crate) const CHANNELS_MAX: usize = 1024;

/// Longest time for connecting and the TLS handshake.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most idle connections of one route.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 64;

/// Most response headers, HTTP/1.1; HTTP/2 is bounded in bytes.
const RESPONSE_HEADERS_MAX: usize = 128;

/// Most bytes of response headers, decoded.
pub(crate) const RESPONSE_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// No client could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("what the grant says about TLS cannot be used")]
    Grant(#[source] BadTls),
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    #[error("the HTTP library made no client")]
    Client(#[source] reqwest::Error),
}

/// The clients of one route and the addresses they may dial.
#[derive(Debug)]
pub(crate) struct Channel {
    pub pinned: Pinned,
    base: Arc<TlsBase>,
    trust: Trust,
    made_for: MadeFor,
    client: Mutex<Option<Made>>,
}

/// What a route says that touches the wire, or what travels on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MadeFor {
    base_url: BaseUrl,
    networks: Vec<IpNet>,
    slot: CredentialSlot,
    credential: Option<CredentialName>,
    tls: UpstreamTls,
}

/// The client for the client certificate that was shown last.
#[derive(Debug)]
struct Made {
    identity: Option<Arc<Identity>>,
    client: Client,
}

impl MadeFor {
    fn of(route: &Route) -> Self {
        Self {
            base_url: route.base_url.clone(),
            networks: route.networks.clone(),
            slot: route.slot.clone(),
            credential: route.credential.clone(),
            tls: route.tls.clone(),
        }
    }

    fn fits(&self, route: &Route) -> bool {
        self.base_url == route.base_url
            && self.networks == route.networks
            && self.slot == route.slot
            && self.credential == route.credential
            && self.tls == route.tls
    }
}

impl Channel {
    /// The certificate that the present client shows, if it is still this one.
    pub(crate) fn identity(&self, fingerprint: Fingerprint) -> Option<Arc<Identity>> {
        let made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = made.as_ref()?.identity.as_ref()?;
        (identity.fingerprint == fingerprint).then(|| identity.clone())
    }

    /// Drops the present client: what it shows is no longer there to be shown.
    pub(crate) fn forget_client(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The client that shows this certificate, or none. It shares its connections with no client that shows another.
    pub(crate) fn client(&self, identity: Option<&Arc<Identity>>) -> Result<Client, ChannelError> {
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = |identity: &Arc<Identity>| identity.fingerprint;
        let same = |made: &&Made| made.identity.as_ref().map(fingerprint) == identity.map(fingerprint);
        if let Some(made) = made.as_ref().filter(same) {
            return Ok(made.client.clone());
        }
        let client = self.make(identity.map(Arc::as_ref))?;
        *made = Some(Made {
            identity: identity.cloned(),
            client: client.clone(),
        });
        Ok(client)
    }

    fn make(&self, identity: Option<&Identity>) -> Result<Client, ChannelError> {
        let tls = self
            .base
            .client(self.trust.clone(), identity)
            .map_err(ChannelError::Tls)?;
        Client::builder()
            .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .dns_resolver(self.pinned.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .gzip(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            .http2_max_header_list_size(RESPONSE_HEADER_BYTES_MAX)
            .build()
            .map_err(|error| ChannelError::Client(error.without_url()))
    }
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelKey {
    pub workspace: WorkspaceName,
    pub connection: ConnectionName,
    pub upstream: UpstreamName,
    /// Set for a redirect's way out of the base URL.
    pub origin: Option<String>,
}

/// All channels of a gate.
#[derive(Debug)]
pub(crate) struct Channels {
    base: Arc<TlsBase>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    channels: HashMap<ChannelKey, (u64, Arc<Channel>)>,
    uses: u64,
}

impl Channels {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            base: Arc::new(TlsBase::new()?),
            open: Mutex::default(),
        })
    }

    /// Drops every channel of a connection. What is under way on them ends as it would have.
    pub(crate) fn forget(&self, workspace: &WorkspaceName, connection: &ConnectionName) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.channels
            .retain(|key, _| key.workspace != *workspace || key.connection != *connection);
    }

    /// The route's channel, made if there is none or if the route now leads elsewhere.
    pub(crate) fn of(&self, key: ChannelKey, route: &Route) -> Result<Arc<Channel>, ChannelError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let uses = open.uses;
        let present = open.channels.get_mut(&key);
        if let Some((used, channel)) = present.filter(|(_, channel)| channel.made_for.fits(route)) {
            *used = uses;
            return Ok(channel.clone());
        }
        let channel = Arc::new(Channel {
            pinned: Pinned::default(),
            base: self.base.clone(),
            trust: self.base.trust(&route.tls).map_err(ChannelError::Grant)?,
            made_for: MadeFor::of(route),
            client: Mutex::default(),
        });
        if open.channels.len() >= CHANNELS_MAX && !open.channels.contains_key(&key) {
            let oldest = open.channels.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                open.channels.remove(&oldest);
            }
        }
        open.channels.insert(key, (uses, channel.clone()));
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(connection: &str) -> ChannelKey {
        ChannelKey {
            workspace: "w".parse().unwrap(),
            connection: connection.parse().unwrap(),
            upstream: "u".parse().unwrap(),
            origin: None,
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
            redirects: 0,
            redirect_origins: Vec::new(),
            tls: UpstreamTls::default(),
        }
    }

    #[test]
    fn no_two_routes_share_a_client() {
        let channels = Channels::new().unwrap();
        let first = channels.of(key("a"), &route("https://h.test")).unwrap();
        let again = channels.of(key("a"), &route("https://h.test")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let mut others = vec![key("b"), key("a"), key("a"), key("a")];
        others[1].workspace = "x".parse().unwrap();
        others[2].upstream = "v".parse().unwrap();
        others[3].origin = Some("https://h.test".to_owned());
        for other in others {
            let channel = channels.of(other.clone(), &route("https://h.test")).unwrap();
            assert!(!Arc::ptr_eq(&first, &channel), "{other:?}");
        }
        assert_eq!(channels.open.lock().unwrap().channels.len(), 5);
    }

    #[test]
    fn whatever_changes_the_wire_or_the_credential_makes_a_new_client() {
        let channels = Channels::new().unwrap();
        let changes: [fn(&mut Route); 6] = [
            |route| route.base_url = "https://i.test".parse().unwrap(),
            |route| route.networks = vec!["10.0.0.0/8".parse().unwrap()],
            |route| route.slot = CredentialSlot::Bearer,
            |route| route.credential = Some("other".parse().unwrap()),
            |route| route.tls.ca_only = true,
            |route| route.tls.client_certificate = Some("cert".parse().unwrap()),
        ];
        for change in changes {
            let mut route = route("https://h.test");
            let before = channels.of(key("a"), &route).unwrap();
            change(&mut route);
            let after = channels.of(key("a"), &route).unwrap();
            assert!(!Arc::ptr_eq(&before, &after), "{route:?}");
            assert_eq!(channels.open.lock().unwrap().channels.len(), 1);
        }
        // What is allowed on it does not touch it.
        let mut same = route("https://h.test");
        let before = channels.of(key("a"), &same).unwrap();
        same.methods = vec!["GET".to_owned()];
        same.redirects = 3;
        assert!(Arc::ptr_eq(&before, &channels.of(key("a"), &same).unwrap()));
    }

    #[test]
    fn a_connection_that_is_gone_leaves_no_client() {
        let channels = Channels::new().unwrap();
        for connection in ["a", "b"] {
            channels.of(key(connection), &route("https://h.test")).unwrap();
        }
        channels.forget(&"w".parse().unwrap(), &"a".parse().unwrap());
        channels.forget(&"another".parse().unwrap(), &"b".parse().unwrap());
        let left: Vec<_> = channels.open.lock().unwrap().channels.keys().cloned().collect();
        assert_eq!(left, [key("b")]);
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
