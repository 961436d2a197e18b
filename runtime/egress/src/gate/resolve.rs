//! From a base URL's host to addresses that have been checked, every one of them.
//!
//! A name is looked up once; what is dialled later is what was checked here, so an answer that changes in between
//! (DNS rebinding) changes nothing. Checked addresses are kept for [`ADDRESSES_FRESH`] and dropped when none of them
//! could be reached.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;
use url::{Host, Url};

use super::address::{self, Blocked};
use crate::exchange::HttpError;
use crate::refusal::{Refusal, RefusalCode};

/// How long checked addresses are used before the name is looked up again.
pub(crate) const ADDRESSES_FRESH: Duration = Duration::from_secs(30);

/// Most addresses of one name that are kept for dialling. All are checked.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// A lookup under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns names into addresses. Never asked about a literal address.
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, with `port`.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Where a host's addresses come from and what decides about them.
pub(crate) struct Rules<'a> {
    pub resolver: &'a dyn Resolver,
    pub granted: &'a [IpNet],
    pub own: &'a [SocketAddr],
}

/// The addresses of `url`'s host, all checked; literal addresses need no lookup.
pub(crate) async fn checked(url: &Url, rules: &Rules<'_>) -> Result<Arc<[SocketAddr]>, HttpError> {
    let port = url
        .port_or_known_default()
        .expect("http and https have a known default port");
    let literal = |ip: IpAddr| vec![SocketAddr::new(ip, port)];
    let addresses = match url.host().expect("http and https URLs have a host") {
        Host::Ipv4(ip) => literal(ip.into()),
        Host::Ipv6(ip) => literal(ip.into()),
        Host::Domain(name) => rules
            .resolver
            .lookup(name, port)
            .await
            .map_err(|_| unresolved("its name could not be resolved"))?,
    };
    if addresses.is_empty() {
        return Err(unresolved("its name has no address"));
    }
    // One bad address refuses them all: an answer that mixes public and private ones is an attack or a mistake.
    for address in &addresses {
        address::check(*address, rules.granted, rules.own).map_err(refusal)?;
    }
    Ok(addresses.into_iter().take(ADDRESSES_MAX).collect())
}

fn unresolved(problem: &str) -> HttpError {
    HttpError::Unreachable(problem.to_owned())
}

fn refusal(blocked: Blocked) -> Refusal {
    let message = match blocked {
        Blocked::Range(range) => format!(
            "the upstream leads to a blocked network: {range}; an admin can list the network in the upstream's `networks`"
        ),
        Blocked::OwnListener => "the upstream leads to this host itself, which no grant can open".to_owned(),
    };
    Refusal::new(RefusalCode::AddressBlocked, message)
}

/// The checked addresses of one route. It is all that the HTTP client's own resolver knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned(Arc<Mutex<Option<Checked>>>);

#[derive(Clone, Debug)]
struct Checked {
    at: Instant,
    addresses: Arc<[SocketAddr]>,
}

impl Pinned {
    /// Addresses that are fresh enough to dial.
    pub(crate) fn fresh(&self, now: Instant) -> Option<Arc<[SocketAddr]>> {
        let pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pinned
            .as_ref()
            .filter(|checked| now.duration_since(checked.at) < ADDRESSES_FRESH)
            .map(|checked| checked.addresses.clone())
    }

    pub(crate) fn pin(&self, now: Instant, addresses: Arc<[SocketAddr]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Checked { at: now, addresses });
    }

    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A dial that nothing was pinned for: another request of the route has just found the addresses dead.
#[derive(Debug, thiserror::Error)]
#[error("no checked address is pinned")]
struct NothingPinned;

impl reqwest::dns::Resolve for Pinned {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let addresses = pinned.ok_or(NothingPinned)?.addresses.to_vec();
            let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
