//! Redirects that an admin lets the host follow: each hop is judged anew, and one that is not followed is handed to the guest.
//!
//! `127.0.0.3` is an origin that is listed where the case says so; it answers `elsewhere` and must never see the credential.

use crate::hostile_egress::case::{Answer, Case, Expected, Reply, answered, case};
use crate::hostile_egress::credential::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = HANDED_ON
        .iter()
        .map(|(name, location, code)| {
            followed(&format!("not to {name}"))
                .reply(redirect(302, location))
                .expect(handed_on(302, location))
                .requests(1)
                .trail(&["302", code])
        })
        .collect();
    cases.extend(below());
    cases.extend(listed());
    cases
}

/// Up to three redirects are followed.
fn followed(name: &str) -> Case {
    case(name).grant("redirects", "3")
}

/// As [`followed`], also to the other server, whose network is listed.
fn away(name: &str) -> Case {
    followed(name)
        .grant("redirect_origins", "[\"http://127.0.0.3:{port}\"]")
        .grant("networks", "[\"127.0.0.2/32\", \"127.0.0.3/32\"]")
}

fn redirect(status: u16, location: &str) -> Reply {
    Reply::bytes(format!(
        "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ))
}

fn handed_on(status: u16, location: &str) -> Expected {
    Expected::Answered(Answer {
        status,
        headers: vec![("location", location.to_owned())],
        ..Answer::default()
    })
}

/// Below the base URL: the credential goes along, and only there.
fn below() -> Vec<Case> {
    vec![
        followed("below the base URL, with the credential")
            .reply(redirect(302, "/ok/further"))
            .and_then(Reply::ok("ok"))
            .requests(2)
            .reveals(2)
            .trail(&["302", "200"]),
        followed("an absolute URL below the base URL")
            .reply(redirect(307, "http://127.0.0.2:{port}/ok/further"))
            .and_then(Reply::ok("ok"))
            .requests(2)
            .trail(&["307", "200"]),
        followed("a query slot is filled anew and not repeated")
            .kind(Kind::Query)
            .reply(redirect(302, "/ok?a=1"))
            .and_then(Reply::ok("ok"))
            .requests(2)
            .trail(&["302", "200"]),
        followed("a secret that comes back behind a hop is taken out")
            .reply(redirect(302, "/ok/further"))
            .and_then(Reply::ok("<{secret:base64}>"))
            .expect(Expected::Cleaned(200))
            .trail(&["302", "200"]),
        followed("one more than is allowed")
            .reply(redirect(302, "/ok/1"))
            .and_then(redirect(302, "/ok/2"))
            .and_then(redirect(302, "/ok/3"))
            .and_then(redirect(302, "/ok/4"))
            .expect(handed_on(302, "/ok/4"))
            .requests(4)
            .trail(&["302", "302", "302", "302", "too-many-redirects"]),
        followed("in a circle")
            .reply(redirect(302, "/ok/1"))
            .and_then(redirect(302, "/ok"))
            .expect(handed_on(302, "/ok"))
            .requests(2)
            .trail(&["302", "302", "too-many-redirects"]),
        followed("a body is not posted again because of a 301")
            .post("a body")
            .reply(redirect(301, "/ok/further"))
            .expect(handed_on(301, "/ok/further"))
            .requests(1)
            .trail(&["301", "redirect-not-allowed"]),
        followed("a URL with the secret in it")
            .reply(redirect(302, "/ok?again={secret:percent}"))
            .expect(Expected::Cleaned(302))
            .requests(1)
            .trail(&["302", "redirect-not-allowed"]),
        followed("two places at once")
            .reply(Reply::bytes(
                "HTTP/1.1 302 Elsewhere\r\nlocation: /ok/a\r\nlocation: http://127.0.0.1:{port}/ok\r\ncontent-length: 0\r\n\r\n",
            ))
            .expect(Expected::AnsweredWith(302, 0))
            .requests(1)
            .trail(&["302", "redirect-not-allowed"]),
    ]
}

/// To an origin that an admin listed: without the credential, and only where its network is listed too.
fn listed() -> Vec<Case> {
    let there = "http://127.0.0.3:{port}/anything";
    let mut cases: Vec<_> = [
        Kind::Bearer,
        Kind::Basic,
        Kind::Header,
        Kind::Query,
        Kind::Hmac,
        Kind::StandardWebhooks,
    ]
    .into_iter()
    .map(|kind| {
        away(&format!("to a listed origin, without the credential: {kind:?}"))
            .kind(kind)
            .reply(redirect(302, there))
            .expect(answered("elsewhere"))
            .elsewhere(1)
            .requests(1)
            .reveals(1)
            .trail(&["302", "200"])
    })
    .collect();
    cases.extend([
        away("a body goes to a listed origin, the credential does not")
            .post("a body")
            .reply(redirect(307, there))
            .expect(answered("elsewhere"))
            .elsewhere(1)
            .trail(&["307", "200"]),
        away("to a listed origin whose network is not listed")
            .grant("networks", "[\"127.0.0.2/32\"]")
            .reply(redirect(302, there))
            .expect(handed_on(302, there))
            .trail(&["302", "address-blocked"]),
        away("to a listed name that leads to loopback")
            .grant("redirect_origins", "[\"http://listed.test:{port}\"]")
            .name("listed.test", &[&["127.0.0.1"]])
            .reply(redirect(302, "http://listed.test:{port}/ok"))
            .expect(handed_on(302, "http://listed.test:{port}/ok"))
            .lookups(1)
            .trail(&["302", "address-blocked"]),
        away("with a user to a listed origin")
            .reply(redirect(302, "http://user@127.0.0.3:{port}/"))
            .expect(handed_on(302, "http://user@127.0.0.3:{port}/"))
            .trail(&["302", "redirect-not-allowed"]),
        away("to a listed host by another port")
            .reply(redirect(302, "http://127.0.0.3:1/"))
            .expect(handed_on(302, "http://127.0.0.3:1/"))
            .trail(&["302", "redirect-not-allowed"]),
    ]);
    cases
}

/// Where a redirect leads to nobody, and what the record says of it.
const HANDED_ON: [(&str, &str, &str); 11] = [
    ("loopback", "http://127.0.0.1:{port}/ok", "redirect-not-allowed"),
    ("IPv6 loopback", "http://[::1]:{port}/ok", "redirect-not-allowed"),
    (
        "loopback as a number",
        "http://2130706433:{port}/ok",
        "redirect-not-allowed",
    ),
    (
        "an origin that is not listed",
        "http://127.0.0.3:{port}/ok",
        "redirect-not-allowed",
    ),
    (
        "the metadata service",
        "http://169.254.169.254/latest/meta-data/",
        "redirect-not-allowed",
    ),
    ("another scheme", "file:///etc/passwd", "redirect-not-allowed"),
    ("a script", "javascript:alert(1)", "redirect-not-allowed"),
    (
        "a user of the same host",
        "http://user@127.0.0.2:{port}/ok",
        "redirect-not-allowed",
    ),
    (
        "a host without a scheme",
        "//127.0.0.1:{port}/ok",
        "redirect-not-allowed",
    ),
    ("a path outside of the granted prefix", "/admin", "path-not-granted"),
    ("dots that lead outside of it", "/ok/../admin", "path-not-granted"),
];
