//! For clients that name a URL instead of an upstream: which granted upstream a URL belongs to, and the path below it.
//!
//! A URL belongs to the upstream whose base URL it starts with: the same scheme, host and port, and the base's path up to a
//! segment boundary; of several the longest. That decides where a request is taken for going and nothing else: it then
//! passes [`Gate::send`] like any other, which builds the URL anew from the admin's base URL, so what the guest wrote as a
//! host is compared and never dialled.
//!
//! Nothing of the guest's is parsed as a URL, because two parsers can disagree and two equal texts cannot: host and path
//! have to be written as the base URL is once it is normalised, the case of scheme and host aside. Another notation of the
//! same host (a user before it, a trailing dot, a number for an address, a percent-encoded or internationalised name, a
//! port with leading zeros) belongs to no upstream.

use cofferdam_domain::UpstreamName;
use url::Url;

use super::headers::added_by_clients;
use super::{Gate, record};
use crate::exchange::{GuestRequest, GuestResponse, HttpError};
use crate::passport::{Passport, Route, Routes};
use crate::refusal::{Refusal, RefusalCode};

/// Longest excerpt of what a guest wrote that a refusal quotes, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// A URL in the parts in which a guest hands it over; nothing about it is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// `https` or `http`, in any case.
    pub scheme: String,
    /// Host and, if it is not the scheme's own, port.
    pub authority: String,
    /// Empty, or starting with `/` or `?`.
    pub path_with_query: String,
}

/// Where a URL lies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    upstream: UpstreamName,
    path: String,
    query: Option<String>,
}

impl Gate {
    /// [`send`](Self::send) for clients that name a URL: `request.upstream`, `path` and `query` are found from `to`. A URL
    /// that belongs to no granted upstream is a refusal, and in the trail like every other.
    ///
    /// Headers that clients add without being asked are left out, since the host writes its own; a `host` that is not the
    /// URL's is not, and is refused.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_to(
        &self,
        passport: &Passport,
        to: &Destination,
        mut request: GuestRequest,
    ) -> Result<GuestResponse, HttpError> {
        let (path, query) = to.path_and_query();
        path.clone_into(&mut request.path);
        request.query = query.map(str::to_owned);
        let of_the_client = |name: &str, value: &[u8]| {
            added_by_clients(name)
                && (!name.eq_ignore_ascii_case("host") || value.eq_ignore_ascii_case(to.authority.as_bytes()))
        };
        request.headers.retain(|(name, value)| !of_the_client(name, value));
        match place(&passport.routes, to) {
            Ok(place) => {
                request.upstream = place.upstream.to_string();
                request.path = place.path;
                request.query = place.query;
                self.send(passport, request).await
            }
            Err(refusal) => {
                request.upstream.clear();
                let trace = passport.trace.child(&mut rand::rng());
                let now = (self.config.clock)();
                let entry = passport.trail.enter(record::opening(&request, trace, now))?;
                let error = HttpError::Refused(refusal);
                entry.close(error.clone().into_result());
                Err(error)
            }
        }
    }
}

impl Destination {
    fn path_and_query(&self) -> (&str, Option<&str>) {
        match self.path_with_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.path_with_query, None),
        }
    }
}

/// The one granted upstream that the URL belongs to.
fn place(routes: &Routes, to: &Destination) -> Result<Place, Refusal> {
    let (path, query) = to.path_and_query();
    if !path.is_empty() && !path.starts_with('/') {
        return Err(Refusal::new(RefusalCode::BadPath, "a URL's path starts with `/`"));
    }
    if to.authority.contains('@') {
        return Err(no_upstream(
            "the URL names a user; leave it out, the host attaches the credential",
        ));
    }
    let below = |(name, route): (&'_ UpstreamName, &'_ Route)| {
        let base = Url::parse(route.base_url.as_str()).expect("a base URL has been parsed before");
        if !is_origin_of(&base, to) {
            return None;
        }
        let base_path = base.path().trim_end_matches('/');
        let rest = path.strip_prefix(base_path)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (base_path.len(), name.clone(), rest.to_owned()))
    };
    let mut found: Vec<_> = routes.iter().filter_map(below).collect();
    found.sort_by_key(|(base_bytes, ..)| std::cmp::Reverse(*base_bytes));
    let mut found = found.into_iter();
    let Some((base_bytes, upstream, rest)) = found.next() else {
        let origin: String = format!("{}://{}", to.scheme, to.authority)
            .chars()
            .take(QUOTED_CHARS_MAX)
            .collect();
        return Err(no_upstream(format!(
            "no upstream is granted whose base URL this URL at {origin:?} starts with"
        )));
    };
    if let Some((_, other, _)) = found.next().filter(|(bytes, ..)| *bytes == base_bytes) {
        return Err(no_upstream(format!(
            "the URL belongs to the upstreams {upstream} and {other} alike; name one of them with `http.send`"
        )));
    }
    Ok(Place {
        upstream,
        path: rest,
        query: query.map(str::to_owned),
    })
}

/// Whether scheme, host and port are written as the base URL's are.
fn is_origin_of(base: &Url, to: &Destination) -> bool {
    let scheme = base.scheme();
    let host = base.host_str().expect("http and https URLs have a host");
    let port = base
        .port_or_known_default()
        .expect("http and https have a known default port");
    let Some(written) = to.authority.get(..host.len()) else {
        return false;
    };
    let written_port = &to.authority[host.len()..];
    let port_matches = if written_port.is_empty() {
        // Its scheme's own, which is what an absent port means.
        base.port().is_none()
    } else {
        written_port.strip_prefix(':') == Some(port.to_string().as_str())
    };
    scheme.eq_ignore_ascii_case(&to.scheme) && host.eq_ignore_ascii_case(written) && port_matches
}

fn no_upstream(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::UpstreamNotGranted, message)
}

#[cfg(test)]
mod tests;
