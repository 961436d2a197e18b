//! Builds the URL of a request from an upstream's base URL and what the guest wrote below it.
//!
//! The guest's path is taken as text and never resolved: whatever a proxy, a server or a URL library could read as
//! another host or another directory is refused, in percent-encoded form too. The result is parsed once more and has to
//! be, byte for byte, what was put together. An encoded slash inside a segment (`group%2Fproject`) is data and passes.

use cofferdam_domain::connection::BaseUrl;
use percent_encoding::percent_decode;
use url::Url;

use crate::refusal::{Refusal, RefusalCode};

/// Longest path and query of a guest together, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 8 * 1024;

/// How many layers of percent-encoding are looked through. A server that decodes twice is a known mistake; text that is
/// still encoded after this many rounds is nobody's honest path.
const DECODE_ROUNDS_MAX: usize = 4;

/// The URL of `path` and `query` below `base`.
pub(crate) fn rebuild(base: &BaseUrl, path: &str, query: Option<&str>) -> Result<Url, Refusal> {
    let query = query.filter(|query| !query.is_empty());
    if path.len() + query.map_or(0, str::len) > TARGET_BYTES_MAX {
        return Err(bad_path(format!(
            "path and query are longer than {TARGET_BYTES_MAX} bytes"
        )));
    }
    check_path(path).map_err(bad_path)?;
    if let Some(query) = query {
        check_query(query).map_err(|problem| Refusal::new(RefusalCode::BadQuery, problem))?;
    }

    let root = Url::parse(base.as_str()).expect("a base URL has been parsed before");
    let mut expected_path = root.path().trim_end_matches('/').to_owned();
    expected_path.push_str(path);
    if expected_path.is_empty() {
        expected_path.push('/');
    }
    // The one character that RFC 3986 allows in a query and WHATWG URL encodes.
    let expected_query = query.map(|query| query.replace('\'', "%27"));

    let mut text = format!("{base}{path}");
    if let Some(query) = &expected_query {
        text.push('?');
        text.push_str(query);
    }
    let moved = || bad_path("the path leads away from the base URL");
    let url = Url::parse(&text).map_err(|_| moved())?;
    let unmoved = url.scheme() == root.scheme()
        && url.host() == root.host()
        && url.port_or_known_default() == root.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.path() == expected_path
        && url.query() == expected_query.as_deref();
    if unmoved { Ok(url) } else { Err(moved()) }
}

fn bad_path(problem: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadPath, problem)
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    if !path.starts_with('/') {
        return Err("a path starts with `/`; the host is the upstream's and cannot be named");
    }
    // RFC 3986 section 3.3: pchar and `/`.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
    if !path.bytes().all(plain) {
        return Err(
            "a path holds only the characters of RFC 3986; percent-encode the others, and put a query into `query`",
        );
    }
    if !percent_well_formed(path) {
        return Err("a `%` in a path is followed by two hex digits");
    }
    let mut seen = path.as_bytes().to_vec();
    for _ in 0..DECODE_ROUNDS_MAX {
        check_segments(&seen)?;
        let decoded: Vec<u8> = percent_decode(&seen).collect();
        if decoded == seen {
            return Ok(());
        }
        seen = decoded;
    }
    Err("the path is percent-encoded many times over")
}

fn check_segments(path: &[u8]) -> Result<(), &'static str> {
    if path.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
        return Err("a path holds no control characters and no backslash, percent-encoded or not");
    }
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err("a path holds no empty segment (`//`)");
        }
        // Some servers drop `;…` before they resolve dots.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return Err("a path holds no `.` or `..` segment, percent-encoded or not");
        }
    }
    Ok(())
}

fn check_query(query: &str) -> Result<(), &'static str> {
    if !query
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\".contains(&byte))
    {
        return Err("a query is printable ASCII without space, `\"`, `#`, `<`, `>` or `\\`; percent-encode them");
    }
    if !percent_well_formed(query) {
        return Err("a `%` in a query is followed by two hex digits");
    }
    Ok(())
}

fn percent_well_formed(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(base: &str, path: &str, query: Option<&str>) -> Result<String, RefusalCode> {
        rebuild(&base.parse().unwrap(), path, query)
            .map(String::from)
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_plain_path_lands_below_the_base_url() {
        let check = |base: &str, path: &str, query: Option<&str>, expected: &str| {
            assert_eq!(build(base, path, query).as_deref(), Ok(expected));
        };
        check(
            "https://slack.com/api",
            "/chat.postMessage",
            None,
            "https://slack.com/api/chat.postMessage",
        );
        check("https://h.test", "/", None, "https://h.test/");
        check("https://h.test", "", None, "https://h.test/");
        check("https://h.test/hook/T1", "", None, "https://h.test/hook/T1");
        check(
            "http://h.test:8080/a",
            "/b/",
            Some("x=1&y[]=%0A"),
            "http://h.test:8080/a/b/?x=1&y[]=%0A",
        );
        check(
            "https://h.test",
            "/p/group%2Fproject",
            Some(""),
            "https://h.test/p/group%2Fproject",
        );
        check(
            "https://h.test",
            "/a:b@c;d=1",
            Some("q='x'"),
            "https://h.test/a:b@c;d=1?q=%27x%27",
        );
        check("https://h.test", "/100%25", None, "https://h.test/100%25");
        check("https://h.test", "/a..b/...", None, "https://h.test/a..b/...");
    }

    #[test]
    fn whatever_could_lead_elsewhere_is_refused() {
        for path in [
            "chat",
            "https://evil.test/",
            "@evil.test/",
            ".evil.test/",
            ":8080/",
            "//evil.test/x",
            "/a//b",
            "/..",
            "/../x",
            "/a/../../x",
            "/./x",
            "/a/.",
            "/%2e%2e/x",
            "/.%2E/x",
            "/a%2f..%2fx",
            "/a%2F%2Fb",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/%2525252525252e/x",
            "/..;/admin",
            "/..%3bx/admin",
            "/\\evil.test",
            "/%5c%5cevil.test",
            "/a b",
            "/a\tb",
            "/a\r\nHost: evil.test",
            "/a%0d%0ab",
            "/a%00",
            "/a?x=1",
            "/a#x",
            "/é",
            "/%",
            "/%4",
            "/%zz",
        ] {
            assert_eq!(
                build("https://h.test/api", path, None),
                Err(RefusalCode::BadPath),
                "{path:?}"
            );
            // A base URL without a path is where a host could be extended.
            assert_eq!(
                build("https://h.test", path, None),
                Err(RefusalCode::BadPath),
                "{path:?}"
            );
        }
        for query in ["a b", "a#b", "a\nb", "é", "%", "%g0", "a\\b", "<x>"] {
            assert_eq!(
                build("https://h.test", "/", Some(query)),
                Err(RefusalCode::BadQuery),
                "{query:?}"
            );
        }
    }

    #[test]
    fn the_length_of_a_target_is_bounded() {
        let path = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert!(build("https://h.test", &path(TARGET_BYTES_MAX), None).is_ok());
        assert_eq!(
            build("https://h.test", &path(TARGET_BYTES_MAX), Some("y")),
            Err(RefusalCode::BadPath)
        );
    }
}
