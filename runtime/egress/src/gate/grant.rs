//! The allow-list: upstream, method and path prefix, as an admin granted them.
//!
//! A prefix ends at a segment boundary: `/chat` allows `/chat` and `/chat/x`, not `/chatter`; `/repos/` allows what is
//! below it and not `/repos`. Paths are compared as they are written, so a path that percent-encodes part of a granted
//! prefix is not under it. No prefix at all means any path below the base URL.

use http::Method;

use crate::passport::{Passport, Route};
use crate::refusal::{Refusal, RefusalCode};

/// Longest excerpt of what a guest wrote that a refusal quotes, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// The route of the upstream that the guest named.
pub(crate) fn route<'a>(passport: &'a Passport, upstream: &str) -> Result<&'a Route, Refusal> {
    let found = upstream.parse().ok().and_then(|name| passport.routes.get(&name));
    found.ok_or_else(|| {
        Refusal::new(
            RefusalCode::UpstreamNotGranted,
            format!("no upstream {:?} is granted to this connection", quoted(upstream)),
        )
    })
}

/// The method, if the route allows it. CONNECT opens a tunnel and TRACE reflects the credential: neither is ever allowed.
pub(crate) fn method(route: &Route, method: &str) -> Result<Method, Refusal> {
    let granted = route.methods.iter().any(|granted| granted == method);
    let parsed = Method::from_bytes(method.as_bytes())
        .ok()
        .filter(|parsed| granted && *parsed != Method::CONNECT && *parsed != Method::TRACE);
    parsed.ok_or_else(|| {
        let listed = route.methods.join(", ");
        Refusal::new(
            RefusalCode::MethodNotGranted,
            format!("method {:?} is not granted; granted: {listed}", quoted(method)),
        )
    })
}

/// The longest granted prefix that `path` is under; `/` when any path is granted.
pub(crate) fn path_prefix<'a>(route: &'a Route, path: &str) -> Result<&'a str, Refusal> {
    if route.path_prefixes.is_empty() {
        return Ok("/");
    }
    let under = |prefix: &&str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
    };
    let prefixes = route.path_prefixes.iter().map(String::as_str);
    prefixes.filter(under).max_by_key(|prefix| prefix.len()).ok_or_else(|| {
        let listed = route.path_prefixes.join(", ");
        Refusal::new(
            RefusalCode::PathNotGranted,
            format!("the path is under no granted prefix; granted: {listed}"),
        )
    })
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::CredentialSlot;

    fn granting(methods: &[&str], prefixes: &[&str]) -> Route {
        Route {
            base_url: "https://h.test".parse().unwrap(),
            methods: methods.iter().map(ToString::to_string).collect(),
            path_prefixes: prefixes.iter().map(ToString::to_string).collect(),
            slot: CredentialSlot::None,
            credential: None,
            networks: Vec::new(),
            oauth2: None,
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        let check = |prefixes: &[&str], path: &str, expected: Option<&str>| {
            assert_eq!(
                path_prefix(&granting(&[], prefixes), path).ok(),
                expected,
                "{path} under {prefixes:?}"
            );
        };
        check(&[], "/anything", Some("/"));
        check(&["/chat"], "/chat", Some("/chat"));
        check(&["/chat"], "/chat/x", Some("/chat"));
        check(&["/chat"], "/chatter", None);
        check(&["/chat"], "/Chat", None);
        check(&["/chat"], "/%63hat", None);
        check(&["/repos/"], "/repos/x", Some("/repos/"));
        check(&["/repos/"], "/repos", None);
        check(&["/a", "/a/b"], "/a/b/c", Some("/a/b"));
        check(&["/a"], "", None);
    }

    #[test]
    fn methods_are_granted_by_exact_name_and_tunnels_never() {
        let check = |granted: &[&str], asked: &str, allowed: bool| {
            assert_eq!(
                method(&granting(granted, &[]), asked).is_ok(),
                allowed,
                "{asked} of {granted:?}"
            );
        };
        check(&["GET", "POST"], "POST", true);
        check(&["GET"], "POST", false);
        check(&["GET"], "get", false);
        check(&["GET"], "", false);
        check(&["G T"], "G T", false);
        check(&["CONNECT", "TRACE"], "CONNECT", false);
        check(&["CONNECT", "TRACE"], "TRACE", false);
        check(&["PROPFIND"], "PROPFIND", true);
    }
}
