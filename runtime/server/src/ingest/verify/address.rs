//! The address as the sender wrote it, for schemes that sign it.
//!
//! What a request line and a `Host` header say is what the last proxy made of it, and anybody can write them; so the front
//! part is what the admin wrote, and only what lies behind the hook is taken from the request.

use cofferdam_domain::connection::BaseUrl;

use super::Incoming;

/// The whole URL.
pub(super) fn url(external: &BaseUrl, incoming: &Incoming<'_>) -> String {
    let mut url = format!("{external}{}", incoming.rest);
    if !incoming.query.is_empty() {
        url.push('?');
        url.push_str(incoming.query);
    }
    url
}

/// The path of it; without an external URL, the path of the request line.
pub(super) fn path(external: Option<&BaseUrl>, incoming: &Incoming<'_>) -> String {
    let Some(external) = external else {
        return incoming.path.to_owned();
    };
    let (_, _, path) = parts(external.as_str());
    match format!("{path}{}", incoming.rest) {
        path if path.is_empty() => "/".to_owned(),
        path => path,
    }
}

/// `https://`, host with port, and what follows.
pub(super) fn parts(url: &str) -> (&str, &str, &str) {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[scheme..].find(['/', '?']).map_or(url.len(), |at| scheme + at);
    (&url[..scheme], &url[scheme..path], &url[path..])
}
