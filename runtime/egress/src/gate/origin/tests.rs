use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_domain::CredentialSlot;

use super::*;
use crate::gate::target;

fn granting(upstreams: &[(&str, &str)]) -> Routes {
    let route = |(name, base_url): &(&str, &str)| {
        let route = Route {
            base_url: base_url.parse().unwrap(),
            methods: vec!["GET".to_owned()],
            path_prefixes: Vec::new(),
            slot: CredentialSlot::None,
            credential: None,
            networks: Vec::new(),
            oauth2: None,
        };
        (name.parse().unwrap(), route)
    };
    Arc::new(upstreams.iter().map(route).collect::<BTreeMap<_, _>>())
}

/// Splits a URL as bindings of languages do: at the first `://`, and at the first of `/`, `?` and `#` behind it.
fn destination(url: &str) -> Destination {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path_with_query) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Destination {
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        path_with_query: path_with_query.to_owned(),
    }
}

/// The upstream and the path below it, `-` for none.
fn found(upstreams: &[(&str, &str)], url: &str) -> String {
    match place(&granting(upstreams), &destination(url)) {
        Ok(Place { upstream, path, query }) => match query {
            Some(query) => format!("{upstream} {path}?{query}"),
            None => format!("{upstream} {path}"),
        },
        Err(_) => "-".to_owned(),
    }
}

#[test]
fn a_url_belongs_to_the_upstream_whose_base_url_it_starts_with() {
    let check = |base: &str, url: &str, expected: &str| assert_eq!(found(&[("up", base)], url), expected, "{url}");
    check("https://h.test", "https://h.test", "up ");
    check("https://h.test", "https://h.test/", "up /");
    check("https://h.test", "https://h.test?a=1", "up ?a=1");
    check("https://h.test", "https://h.test/a/b?c=d?e", "up /a/b?c=d?e");
    check("https://h.test/", "https://h.test/a", "up /a");
    check("https://h.test", "HTTPS://H.TEST/A", "up /A");
    check("https://H.test:443/api/", "https://h.test/api/x", "up /x");
    check("https://h.test", "https://h.test:443/a", "up /a");
    check("http://h.test:80", "http://h.test/a", "up /a");
    check("http://h.test:8080", "http://h.test:8080/a", "up /a");
    check("https://h.test/api", "https://h.test/api", "up ");
    check("https://h.test/api", "https://h.test/api/", "up /");
    check("https://h.test/api", "https://h.test/api?x", "up ?x");
    check("https://h.test/hook/T%20B", "https://h.test/hook/T%20B/m", "up /m");
    check("https://b\u{fc}cher.test", "https://xn--bcher-kva.test/a", "up /a");
    check("http://[::1]:8080", "http://[::1]:8080/a", "up /a");
    check("http://127.0.0.1:8080", "http://127.0.0.1:8080/a", "up /a");
}

#[test]
fn a_url_of_another_scheme_host_port_or_path_belongs_to_none() {
    let check = |base: &str, url: &str| assert_eq!(found(&[("up", base)], url), "-", "{url}");
    for url in [
        "http://h.test/api",
        "ftp://h.test/api",
        "https://h.test:8443/api",
        "https://h.test:80/api",
        "https://evil.test/api",
        "https://h.test.evil.test/api",
        "https://evilh.test/api",
        "https://a.h.test/api",
        "https://test/api",
        "https:///api",
        "https://h.test/",
        "https://h.test/apis",
        "https://h.test/API",
        "https://h.test/ap",
        "https://h.test/x/api",
        "https://h.test//api",
        "https://h.test/./api",
        "https://h.test/x/../api",
        "https://h.test/%61pi",
        "https://h.test/api%2fx",
        "https://h.test/api%2F..%2Fx",
        "https://h.test/api;x",
        "https://h.test/api\\x",
        "https://h.test/api#x",
    ] {
        check("https://h.test/api", url);
    }
    check("http://h.test:8080", "http://h.test/a");
    check("http://h.test:8080", "http://h.test:80/a");
    check("http://h.test", "http://h.test:8080/a");
}

#[test]
fn another_notation_of_the_same_host_belongs_to_none() {
    let check = |base: &str, url: &str| assert_eq!(found(&[("up", base)], url), "-", "{url}");
    for url in [
        "https://user@h.test/a",
        "https://user:word@h.test/a",
        "https://@h.test/a",
        "https://h.test@evil.test/a",
        "https://h.test:443@evil.test/a",
        "https://evil.test@h.test/a",
        "https://h.test\\@evil.test/a",
        "https://h.test\\.evil.test/a",
        "https://h.test./a",
        "https://h.test.:443/a",
        "https://h%2etest/a",
        "https://%68.test/a",
        "https://h.test%00/a",
        "https://h.test%2f@evil.test/a",
        "https://h\u{3002}test/a",
        "https://\u{ff48}.test/a",
        "https://h\u{ad}.test/a",
        "https://h.test:/a",
        "https://h.test:0443/a",
        "https://h.test:+443/a",
        "https://h.test:443:443/a",
        "https://h.test: 443/a",
        "https:// h.test/a",
        "https://h.test\t/a",
        "https://[h.test]/a",
        "https://h.test,evil.test/a",
    ] {
        check("https://h.test", url);
    }
    check("https://b\u{fc}cher.test", "https://b\u{fc}cher.test/a");
    for url in [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.000.000.001/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
    ] {
        check("http://127.0.0.1", url);
    }
    for url in [
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::0001]/",
        "http://[::1%25lo]/",
        "http://::1/",
    ] {
        check("http://[::1]", url);
    }
}

#[test]
fn the_longest_base_url_wins_and_ends_at_a_segment_boundary() {
    let upstreams = [
        ("root", "https://h.test"),
        ("api", "https://h.test/api"),
        ("v2", "https://h.test/api/v2"),
        ("other", "https://other.test/api/v2/long/path"),
    ];
    let check = |url: &str, expected: &str| assert_eq!(found(&upstreams, url), expected, "{url}");
    check("https://h.test/x", "root /x");
    check("https://h.test/apis", "root /apis");
    check("https://h.test/api", "api ");
    check("https://h.test/api/v1", "api /v1");
    check("https://h.test/api/v20", "api /v20");
    check("https://h.test/api/v2", "v2 ");
    check("https://h.test/api/v2/x", "v2 /x");
    // What could lead out of the base is kept as it is written, for the gate to refuse.
    check("https://h.test/api/v2/../x", "v2 /../x");
    check("https://h.test/api/v2/%2e%2e/x", "v2 /%2e%2e/x");
    check("https://h.test/api/v2%2f..", "api /v2%2f..");
    check("https://h.test//evil.test/x", "root //evil.test/x");
}

#[test]
fn a_url_that_two_upstreams_share_has_to_be_sent_by_name() {
    let upstreams = [
        ("bot", "https://h.test/api"),
        ("user", "https://H.test:443/api/"),
        ("root", "https://h.test"),
    ];
    let refusal = place(&granting(&upstreams), &destination("https://h.test/api/x")).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::UpstreamNotGranted);
    assert!(refusal.message.contains("bot and user"), "{}", refusal.message);
    assert_eq!(found(&upstreams, "https://h.test/x"), "root /x");
}

#[test]
fn a_path_that_is_none_is_refused_whatever_is_granted() {
    for path_with_query in ["@evil.test/", ".evil.test/", ":8080/", "*", "x", "\\evil.test", " /x"] {
        let to = Destination {
            path_with_query: path_with_query.to_owned(),
            ..destination("https://h.test")
        };
        let refused = place(&granting(&[("up", "https://h.test")]), &to).unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadPath, "{path_with_query}");
    }
}

/// Whatever is let through is, put together by the gate, the very URL that the guest wrote, as a WHATWG parser reads it.
#[test]
fn what_belongs_to_an_upstream_is_sent_to_the_very_url_that_was_written() {
    let upstreams = [("root", "https://h.test"), ("api", "https://h.test/api")];
    let routes = granting(&upstreams);
    for url in [
        "https://h.test/",
        "https://H.test/a/b",
        "https://h.test:443/api",
        "https://h.test/api/",
        "https://h.test/api/x?y=z",
        "https://h.test/a%2Fb?c=%20",
        "https://h.test/apis",
    ] {
        let place = place(&routes, &destination(url)).unwrap();
        let route = &routes[&place.upstream];
        let built = target::rebuild(&route.base_url, &place.path, place.query.as_deref()).unwrap();
        assert_eq!(built, Url::parse(url).unwrap(), "{url}");
    }
}
