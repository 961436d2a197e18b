//! Access tokens that the host obtains: endpoints that lead astray or lie, and tokens that come back.
//!
//! The token endpoint is `/token` of the granted upstream, so the first request of each case is the host's own.

use crate::hostile_egress::bed::oauth2;
use crate::hostile_egress::case::{Case, Expected, Reply, Then, case, redacted};
use crate::hostile_egress::credential::Kind;

/// A token answer as it should be.
const TOKEN: &str = r#"{"access_token": "{secret:json}", "token_type": "Bearer", "expires_in": 3600}"#;

/// What asks for a new token.
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = astray();
    cases.extend(answers());
    cases.extend(REFLECTED.iter().map(|(form, expected)| {
        obtained(&format!("the token comes back: {form}"))
            .and_then(Reply::ok(&format!("<{{secret:{form}}}>")))
            .expect(redacted(expected))
            .requests(2)
    }));
    cases.extend([
        obtained("one token serves two requests")
            .and_then(Reply::ok("ok"))
            .again()
            .requests(3),
        obtained("a guest that writes the token's slot costs no token")
            .header("Authorization", "Bearer mine")
            .refused("credential-slot-taken"),
        obtained("a refused request costs no token")
            .path("/other")
            .refused("path-not-granted"),
        obtained("a blocked upstream costs no token")
            .base_url("http://127.0.0.1:{port}")
            .refused("address-blocked"),
        obtained("a 401 renews the token once and no more")
            .and_then(Reply::bytes(UNAUTHORIZED))
            .and_then(token())
            .and_then(Reply::bytes(UNAUTHORIZED))
            .expect(Expected::AnsweredWith(401, 0))
            .requests(4),
    ]);
    cases
}

/// The upstream's credential is a token, and the first request gets one.
fn obtained(name: &str) -> Case {
    case(name).kind(Kind::OAuth).reply(token())
}

fn token() -> Reply {
    json(200, TOKEN)
}

fn json(status: u16, body: &str) -> Reply {
    Reply::bytes(format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {{length}}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// Endpoints that lead where nobody may go. Nothing is asked of the upstream then.
fn astray() -> Vec<Case> {
    let at = |name: &str, url: &str| {
        obtained(name)
            .grant("oauth2", oauth2(url))
            .refused("token-endpoint-blocked")
    };
    vec![
        at("an endpoint on loopback", "http://127.0.0.1:{port}/token"),
        at("an endpoint on IPv6 loopback", "http://[::1]:{port}/token"),
        at("an endpoint on the other server", "http://127.0.0.3:{port}/token"),
        at("an endpoint at the metadata service", "https://169.254.169.254/token"),
        at("an endpoint in private space", "https://10.0.0.1/token"),
        at(
            "an endpoint whose name leads to loopback",
            "https://idp.test:{port}/token",
        )
        .name("idp.test", &[&["127.0.0.1"]])
        .lookups(1),
        at(
            "an endpoint whose name leads to a public address and a private one",
            "https://idp.test:{port}/token",
        )
        .name("idp.test", &[&["1.1.1.1", "10.0.0.1"]])
        .lookups(1),
        obtained("an endpoint that redirects to loopback")
            .reply(Reply::bytes(
                "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:{port}/token\r\ncontent-length: 0\r\n\r\n",
            ))
            .expect(Expected::Unreachable)
            .requests(1),
        obtained("an endpoint that redirects to the other server")
            .reply(Reply::bytes(
                "HTTP/1.1 302 Elsewhere\r\nlocation: http://127.0.0.3:{port}/token\r\ncontent-length: 0\r\n\r\n",
            ))
            .expect(Expected::Unreachable)
            .requests(1),
    ]
}

/// Endpoints that answer with something else than a token. What they write is repeated to nobody.
fn answers() -> Vec<Case> {
    let said = |name: &str, reply: Reply, expected: Expected| {
        obtained(name).reply(reply).expect(expected).connections(1).requests(1)
    };
    let secrets = "{secret:client} {secret:client-base64}";
    vec![
        said(
            "a no whose description repeats the client's secret",
            json(
                400,
                &format!(r#"{{"error": "invalid_client", "error_description": "{secrets}"}}"#),
            ),
            Expected::Refused("credential-refused"),
        ),
        said(
            "a no whose code is the client's secret",
            json(400, r#"{"error": "{secret:client}"}"#),
            Expected::Unreachable,
        ),
        said(
            "an error page with the client's secret",
            json(500, secrets),
            Expected::Unreachable,
        ),
        said(
            "a 401 with the client's secret",
            json(401, secrets),
            Expected::Unreachable,
        ),
        said("no JSON", json(200, secrets), Expected::Unreachable),
        said(
            "JSON without a token",
            json(200, r#"{"token_type": "Bearer"}"#),
            Expected::Unreachable,
        ),
        said(
            "a token of another type",
            json(200, r#"{"access_token": "{secret:json}", "token_type": "mac"}"#),
            Expected::Unreachable,
        ),
        said(
            "a token with a line break in it",
            json(
                200,
                r#"{"access_token": "{secret:json}\r\nx-injected: 1", "token_type": "Bearer", "expires_in": 3600}"#,
            ),
            Expected::Unreachable,
        ),
        said(
            "an answer without end",
            Reply::bytes("HTTP/1.1 200 OK\r\n\r\n").then(Then::Endless(vec![b'x'; 8192])),
            Expected::Unreachable,
        ),
        said("no answer", Reply::bytes(""), Expected::Unreachable),
    ]
}

/// Forms of a token in a body, and what is left of them.
const REFLECTED: [(&str, &str); 7] = [
    ("raw", "<[redacted]>"),
    ("hex", "<[redacted]>"),
    ("base64", "<[redacted]>"),
    ("percent-all", "<[redacted]>"),
    ("json-all", "<[redacted]>"),
    ("client", "<[redacted]>"),
    ("client-base64", "<[redacted]>"),
];
