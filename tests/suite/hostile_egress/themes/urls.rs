//! What a guest writes so that two parsers read two things: absolute forms, users, fragments, dots, slashes, encodings.

use crate::hostile_egress::case::{Case, Expected, answered, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = PATHS
        .iter()
        .map(|(name, path)| case(*name).path(*path).refused("bad-path"))
        .collect();
    cases.extend(
        QUERIES
            .iter()
            .map(|(name, query)| case(*name).query(*query).refused("bad-query")),
    );
    cases.extend(
        URLS.iter()
            .map(|(name, url)| case(*name).url(url).refused("upstream-not-granted")),
    );
    let unsayable = |case: Case| case.by_url(Expected::Unsayable);
    cases.extend(
        NO_PATHS
            .iter()
            .map(|(name, path)| unsayable(case(*name).path(*path).refused("bad-path"))),
    );
    cases.extend(
        NO_QUERIES
            .iter()
            .map(|(name, query)| unsayable(case(*name).query(*query).refused("bad-query"))),
    );
    cases.extend(
        NO_URLS
            .iter()
            .map(|(name, url)| unsayable(case(*name).url(url).refused("upstream-not-granted"))),
    );
    cases.extend([
        // A URL has one text for both, so there it is a query.
        case("a query inside the path")
            .path("/ok?admin")
            .refused("bad-path")
            .by_url(answered("ok")),
        case("a path outside the granted prefix")
            .path("/other")
            .refused("path-not-granted"),
        case("a prefix that is not the whole segment")
            .path("/okay")
            .refused("path-not-granted"),
        case("a granted prefix in another case")
            .path("/OK")
            .refused("path-not-granted"),
        case("a granted prefix, percent-encoded")
            .path("/%6fk")
            .refused("path-not-granted"),
        case("no path where a prefix is granted")
            .path("")
            .refused("path-not-granted"),
        case("a path longer than the bound")
            .path(format!("/ok/{}", "x".repeat(8 * 1024)))
            .refused("bad-path"),
        case("an encoded slash is data and stays")
            .path("/ok/a%2Fb")
            .wire("GET /ok/a%2Fb HTTP/1.1\r\n"),
        case("an at sign behind the path's start is data")
            .path("/ok/@evil.test:80")
            .wire("GET /ok/@evil.test:80 HTTP/1.1\r\n"),
        case("a query that looks like a URL is data")
            .query("next=http://127.0.0.1:{port}/&user@evil.test")
            .wire("GET /ok?next=http://127.0.0.1:{port}/&user@evil.test HTTP/1.1\r\n"),
        case("a method that is not granted")
            .method("DELETE")
            .refused("method-not-granted"),
        case("a method in lower case is another method")
            .method("get")
            .refused("method-not-granted"),
        case("a tunnel, although an admin granted it")
            .grant("methods", "[\"CONNECT\"]")
            .method("CONNECT")
            .refused("method-not-granted"),
        case("TRACE, which reflects the credential by design, although an admin granted it")
            .grant("methods", "[\"TRACE\"]")
            .method("TRACE")
            .refused("method-not-granted"),
        case("a second request line in the method")
            .method("GET /ok HTTP/1.1\r\nHost: evil.test\r\n\r\nGET")
            .refused("method-not-granted")
            .by_url(Expected::Unsayable),
        case("another upstream's name")
            .upstream("elsewhere")
            .refused("upstream-not-granted"),
        case("a name that is none")
            .upstream("target\0")
            .refused("upstream-not-granted")
            .by_url(Expected::Unsayable),
        case("the upstream's name in upper case")
            .upstream("TARGET")
            .refused("upstream-not-granted"),
    ]);
    cases
}

/// Below the base URL.
const PATHS: [(&str, &str); 22] = [
    (
        "an absolute form behind a slash that servers strip",
        "/http://127.0.0.1:{port}//ok",
    ),
    ("two slashes", "//127.0.0.1:{port}/ok"),
    ("three slashes", "///127.0.0.1:{port}/ok"),
    ("a slash and a backslash", "/\\127.0.0.1:{port}/ok"),
    ("an encoded backslash", "/ok/%5c%5c127.0.0.1"),
    ("dots at the start", "/../ok"),
    ("dots in the middle", "/ok/../admin"),
    ("dots at the end", "/ok/.."),
    ("one dot", "/ok/./admin"),
    ("encoded dots", "/ok/%2e%2e/admin"),
    ("half-encoded dots", "/ok/.%2E/admin"),
    ("dots encoded twice", "/ok/%252e%252e/admin"),
    ("dots encoded five times", "/ok/%252525252e%252525252e/admin"),
    ("dots behind an encoded slash", "/ok%2f..%2fadmin"),
    ("dots before a path parameter", "/ok/..;a=b/admin"),
    ("dots before an encoded path parameter", "/ok/..%3b/admin"),
    ("an empty segment", "/ok//admin"),
    ("an encoded empty segment", "/ok%2F%2Fadmin"),
    ("a fragment", "/ok#@127.0.0.1:{port}/"),
    ("an encoded line break", "/ok%0d%0aHost:%20evil.test"),
    ("an encoded NUL", "/ok%00.png"),
    (
        "a character beyond ASCII that folds to a dot",
        "/ok/\u{2024}\u{2024}/admin",
    ),
];

/// As [`PATHS`]; the library of the door that takes URLs does not even make a path of them.
const NO_PATHS: [(&str, &str); 8] = [
    ("an absolute form", "http://127.0.0.1:{port}/ok"),
    ("an authority where the path belongs", "@127.0.0.1:{port}/ok"),
    ("a port where the path belongs", ":80@127.0.0.1:{port}/ok"),
    ("a suffix to the host", ".evil.test/ok"),
    ("two backslashes", "\\\\127.0.0.1:{port}/ok"),
    ("a space", "/ok HTTP/1.1"),
    ("a tab", "/ok\tx"),
    ("a line break", "/ok HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "),
];

/// Behind the question mark.
const QUERIES: [(&str, &str); 4] = [
    ("a fragment in the query", "a=1#@127.0.0.1:{port}"),
    ("a character beyond ASCII in the query", "a=\u{e9}"),
    ("a percent sign that encodes nothing", "a=%zz"),
    ("a backslash in the query", "a=\\\\127.0.0.1"),
];

/// As [`NO_PATHS`].
const NO_QUERIES: [(&str, &str); 2] = [
    ("a line break in the query", "a=1 HTTP/1.1\r\nHost: evil.test"),
    ("a space in the query", "a=1 b"),
];

/// For the door that takes URLs; to the other door these are names of upstreams, and none is granted.
const URLS: [(&str, &str); 16] = [
    ("a URL of a forbidden host", "http://127.0.0.1:{port}/ok"),
    ("a URL with a user", "http://user@127.0.0.2:{port}/ok"),
    (
        "a URL whose user looks like the granted host",
        "http://127.0.0.2:{port}@127.0.0.1:{port}/ok",
    ),
    ("a URL with a user and password", "http://a:b@127.0.0.2:{port}/ok"),
    ("a URL with a trailing dot", "http://127.0.0.2.:{port}/ok"),
    ("a URL whose host is a number", "http://2130706434:{port}/ok"),
    ("a URL whose host is in hex", "http://0x7f000002:{port}/ok"),
    ("a URL whose host is in octal", "http://0177.0.0.2:{port}/ok"),
    ("a URL whose host is shortened", "http://127.2:{port}/ok"),
    ("a URL with an IPv4-mapped host", "http://[::ffff:127.0.0.2]:{port}/ok"),
    ("a URL with leading zeros in its port", "http://127.0.0.2:0{port}/ok"),
    ("a URL without the port", "http://127.0.0.2/ok"),
    ("a URL of another scheme", "https://127.0.0.2:{port}/ok"),
    ("a URL of a scheme that is none", "file://127.0.0.2:{port}/ok"),
    (
        "a URL whose host goes on behind the port",
        "http://127.0.0.2:{port}.evil.test/ok",
    ),
    ("a URL without a host", "http:///ok"),
];

/// As [`NO_PATHS`].
const NO_URLS: [(&str, &str); 2] = [
    (
        "a URL with an encoded at sign",
        "http://127.0.0.2:{port}%40127.0.0.1:{port}/ok",
    ),
    (
        "a URL with a backslash before the path",
        "http://127.0.0.2:{port}\\@127.0.0.1:{port}/ok",
    ),
];
