//! Headers that frame, route or smuggle, and what HTTP/1.1 makes of line breaks.

use crate::hostile_egress::case::{Case, Expected, answered, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = HOSTS
        .iter()
        .map(|(name, value)| {
            case(format!("{name}: {value}"))
                .header(name, value)
                .refused("header-not-allowed")
        })
        .collect();
    // Clients that know URLs only add these without being asked: behind that door they are left out, and the host's own stand.
    cases.extend(OF_CLIENTS.iter().map(|(name, value)| {
        case(format!("{name}: {value}"))
            .header(name, value)
            .refused("header-not-allowed")
            .by_url(answered("ok"))
            .never_on_the_wire(&format!("{}: {value}", name.to_lowercase()))
    }));
    cases.extend(BENT.iter().map(|(what, name, value)| {
        case(*what)
            .header(name, value)
            .refused("bad-header")
            .by_url(Expected::Unsayable)
    }));
    cases.extend([
        case("more headers than the bound")
            .asks(|ask| ask.headers = vec![("x-a".to_owned(), b"1".to_vec()); 65])
            .refused("headers-too-large"),
        case("as many headers as the bound").asks(|ask| ask.headers = vec![("x-a".to_owned(), b"1".to_vec()); 64]),
        case("more bytes of headers than the bound")
            .header("x-a", "a".repeat(16 * 1024))
            .refused("headers-too-large"),
        case("a body over the bound")
            .method("POST")
            .asks(|ask| ask.body_bytes = 8 * 1024 * 1024 + 1)
            .refused("request-too-large"),
        case("a request inside a body stays a body")
            .post("0\r\n\r\nGET /admin HTTP/1.1\r\nhost: evil.test\r\n\r\n")
            .wire("content-length: 45\r\n")
            .requests(1),
        case("a header of the guest's own")
            .header("X-Trace-Me", "1")
            .wire("x-trace-me: 1\r\n"),
        case("an idempotency key of the guest's loses against the host's")
            .post("x")
            .header("Idempotency-Key", "the guest's")
            .wire("idempotency-key: key\r\n")
            .never_on_the_wire("the guest's"),
        case("bytes beyond ASCII in a value are data")
            .header("x-a", b"caf\xe9")
            .wire("x-a: "),
        case("a tab in a value is data")
            .header("x-a", "a\tb")
            .wire("x-a: a\tb\r\n"),
    ]);
    cases
}

/// The host's own, in spellings that some server takes for them.
const HOSTS: [(&str, &str); 20] = [
    ("Host", "evil.test"),
    ("HOST", "127.0.0.1"),
    ("content_length", "0"),
    ("transfer_encoding", "chunked"),
    ("TE", "trailers"),
    ("Trailer", "authorization"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ("Expect", "100-continue"),
    ("Proxy-Authorization", "Basic eA=="),
    ("Proxy-Connection", "keep-alive"),
    ("proxy_anything", "x"),
    ("Forwarded", "host=evil.test"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("traceparent", "00-00000000000000000000000000000001-0000000000000001-01"),
    ("Cookie", "session=1"),
    ("Via", "1.1 evil"),
];

/// The host's own too, and written by every client.
const OF_CLIENTS: [(&str, &str); 6] = [
    ("Content-Length", "0"),
    ("Transfer-Encoding", "chunked"),
    ("Transfer-Encoding", "identity, chunked"),
    ("Connection", "close, authorization"),
    ("Keep-Alive", "timeout=600"),
    ("Accept-Encoding", "br"),
];

/// No HTTP at all.
const BENT: [(&str, &str, &[u8]); 13] = [
    ("a line break in a value", "x-a", b"1\r\nhost: evil.test"),
    ("a line feed alone in a value", "x-a", b"1\nhost: evil.test"),
    ("a carriage return alone in a value", "x-a", b"1\rhost: evil.test"),
    ("a folded line in a value", "x-a", b"1\r\n folded"),
    (
        "the end of the head in a value",
        "x-a",
        b"1\r\n\r\nGET /admin HTTP/1.1\r\n",
    ),
    ("a NUL in a value", "x-a", b"1\0"),
    ("a DEL in a value", "x-a", b"\x7f"),
    ("a line break in a name", "x\r\nhost", b"evil.test"),
    ("a colon in a name", "host:", b"evil.test"),
    ("a space behind a name", "host ", b"evil.test"),
    ("a space before a name", " host", b"evil.test"),
    ("a name without letters", "", b"evil.test"),
    ("a name beyond ASCII", "h\u{f6}st", b"evil.test"),
];
