//! Where a redirect leads, and whether it is followed.
//!
//! None is, unless the upstream's grant says how many. A hop is a request of its own: it passes every check of the gate again
//! and is recorded as an exchange of its own. Below the base URL it carries the credential, which is bound to just that; to
//! an origin that an admin listed it goes without any; to anywhere else it does not go, and the connector gets the answer
//! that pointed there.

use std::borrow::Cow;

use cofferdam_domain::connection::BaseUrl;
use cofferdam_domain::limits::clipped;
use cofferdam_domain::{CredentialSlot, UpstreamTls};
use http::Method;
use url::Url;

use crate::exchange::{GuestRequest, GuestResponse};
use crate::passport::Route;
use crate::refusal::{Refusal, RefusalCode};

/// Longest `Location` that is followed, in bytes.
const LOCATION_BYTES_MAX: usize = 8 * 1024;

/// Longest origin that a refusal repeats, in bytes.
const ORIGIN_BYTES_MAX: usize = 128;

/// Headers that describe a body and mean nothing once there is none (RFC 9110 section 15.4).
const OF_THE_BODY: [&str; 8] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "digest",
    "content-digest",
    "repr-digest",
    "last-modified",
];

/// One request on its way: what a guest asked for, or what a redirect made of that.
pub(crate) struct Leg {
    /// Below the base URL, or below [`Self::origin`].
    pub request: GuestRequest,
    /// Where it goes instead of to the base URL.
    pub origin: Option<BaseUrl>,
    /// The name that the message had on the first leg. A redirect makes no other message of it.
    pub message_id: Option<String>,
    /// Whether an earlier leg may have changed something: its answer, 303, stands for having been carried out.
    pub after_change: bool,
    followed: u8,
    been: Vec<(Method, Url)>,
}

/// An answer and what is needed to judge where it points.
pub(crate) struct Arrived<'a> {
    /// How the request was sent.
    pub method: Method,
    /// Where it went, without a credential.
    pub url: Url,
    pub message_id: String,
    /// With the credential taken out.
    pub response: &'a GuestResponse,
    /// Whether there was a credential in `Location`, in any form.
    pub location_reflected: bool,
}

/// What follows from an answer.
pub(crate) enum Next {
    /// It is the guest's.
    Done,
    /// It points to the next leg.
    Follow(Box<Leg>),
    /// It points to where nobody goes; it is the guest's, and this is recorded.
    Stop(Refusal),
}

impl Leg {
    pub(crate) fn first(request: GuestRequest) -> Self {
        Self {
            request,
            origin: None,
            message_id: None,
            after_change: false,
            followed: 0,
            been: Vec::new(),
        }
    }

    /// Whether a redirect led here.
    pub(crate) fn is_hop(&self) -> bool {
        self.followed > 0
    }

    /// The route that this leg is judged by: the upstream's own, or one to a listed origin, which has no credential of any
    /// kind and no path that is not allowed.
    pub(crate) fn route<'a>(&self, route: &'a Route) -> Cow<'a, Route> {
        let Some(origin) = &self.origin else {
            return Cow::Borrowed(route);
        };
        Cow::Owned(Route {
            base_url: origin.clone(),
            path_prefixes: Vec::new(),
            slot: CredentialSlot::None,
            credential: None,
            tls: UpstreamTls {
                client_certificate: None,
                ..route.tls.clone()
            },
            ..route.clone()
        })
    }

    /// What to do about an answer to this leg.
    pub(crate) fn next(mut self, route: &Route, arrived: Arrived<'_>) -> Next {
        let status = arrived.response.status;
        if route.redirects == 0 || !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Next::Done;
        }
        let mut locations = arrived.response.headers.iter().filter(|(name, _)| name == "location");
        let Some((_, location)) = locations.next() else {
            return Next::Done;
        };
        let target = match (locations.next(), arrived.location_reflected) {
            (Some(_), _) => Err(refused("the upstream redirects to several places at once")),
            (None, true) => Err(refused("the upstream redirects to a URL with the credential in it")),
            (None, false) => target(&arrived.url, location, route, self.origin.is_some()),
        };
        let target = match target {
            Ok(target) => target,
            Err(refusal) => return Next::Stop(refusal),
        };
        let method = match method(status, &arrived.method) {
            Ok(method) => method,
            Err(refusal) => return Next::Stop(refusal),
        };
        self.been.push((arrived.method.clone(), arrived.url));
        if self.followed == route.redirects {
            return Next::Stop(too_many(format!("more than {} redirects", route.redirects)));
        }
        if self.been.contains(&(method.clone(), target.url.clone())) {
            return Next::Stop(too_many("the redirects lead in a circle".to_owned()));
        }
        self.after_change |= status == 303 && !arrived.method.is_safe();
        if method != arrived.method {
            self.request.body.clear();
            self.request
                .headers
                .retain(|(name, _)| !OF_THE_BODY.iter().any(|of| name.eq_ignore_ascii_case(of)));
        }
        method.as_str().clone_into(&mut self.request.method);
        self.request.path = target.path;
        self.request.query = target.url.query().map(str::to_owned);
        self.origin = target.origin;
        self.message_id = Some(arrived.message_id);
        self.followed += 1;
        Next::Follow(Box::new(self))
    }
}

struct Target {
    url: Url,
    /// None below the base URL.
    origin: Option<BaseUrl>,
    /// Below whichever it is.
    path: String,
}

/// RFC 9110 section 15.4. A method other than GET or HEAD is not sent again as another one because of 301 or 302: clients
/// disagree about that, and the connector can decide.
fn method(status: u16, sent: &Method) -> Result<Method, Refusal> {
    let is_read = matches!(*sent, Method::GET | Method::HEAD);
    match status {
        303 if *sent != Method::HEAD => Ok(Method::GET),
        301 | 302 if !is_read => Err(refused(&format!("a {sent} is not repeated because of a {status}"))),
        _ => Ok(sent.clone()),
    }
}

fn target(current: &Url, location: &[u8], route: &Route, is_away: bool) -> Result<Target, Refusal> {
    let text = std::str::from_utf8(location)
        .ok()
        .filter(|text| text.len() <= LOCATION_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| refused("the upstream redirects to what is no URL"))?;
    let mut url = current
        .join(text)
        .map_err(|_| refused("the upstream redirects to what is no URL"))?;
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refused("the upstream redirects to what is not HTTP"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("the upstream redirects to a URL with a user in it"));
    }
    if current.scheme() == "https" && url.scheme() != "https" {
        return Err(refused("the upstream redirects from https to http"));
    }
    if let Some(path) = below(&route.base_url, &url) {
        // The credential would go along, to where somebody chose who was not to have it.
        if is_away {
            return Err(refused("an origin outside of the base URL redirects back below it"));
        }
        let path = path.to_owned();
        return Ok(Target {
            url,
            origin: None,
            path,
        });
    }
    let origin = url.origin().ascii_serialization();
    let listed = route.redirect_origins.iter().find(|listed| listed.as_str() == origin);
    let Some(listed) = listed.cloned() else {
        let origin = clipped(origin, ORIGIN_BYTES_MAX);
        return Err(refused(&format!(
            "the upstream redirects to {origin}, outside of its base URL; an admin can list that origin in the upstream's \
             `redirect_origins`"
        )));
    };
    let path = url.path().to_owned();
    Ok(Target {
        url,
        origin: Some(listed),
        path,
    })
}

/// The path below the base URL; none if it is elsewhere.
fn below<'a>(base: &BaseUrl, url: &'a Url) -> Option<&'a str> {
    let root = Url::parse(base.as_str()).ok()?;
    let same = root.scheme() == url.scheme()
        && root.host() == url.host()
        && root.port_or_known_default() == url.port_or_known_default();
    let rest = url.path().strip_prefix(root.path().trim_end_matches('/'))?;
    (same && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

fn refused(problem: &str) -> Refusal {
    Refusal::new(RefusalCode::RedirectNotAllowed, problem)
}

fn too_many(problem: String) -> Refusal {
    Refusal::new(RefusalCode::TooManyRedirects, problem)
}

#[cfg(test)]
mod tests;
