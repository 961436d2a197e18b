//! Secrets asked for through errors: credentials that cannot be used, upstreams that break off while the secret is in the URL,
//! and faults whose libraries would quote what they choked on.

use crate::hostile_egress::case::{Case, Expected, Reply, Then, case};
use crate::hostile_egress::credential::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = unusable();
    // The secret is in the URL, which HTTP clients like to quote.
    let query = |name: &str| case(format!("with the secret in the URL: {name}")).kind(Kind::Query);
    let closed = "HTTP/1.1 200 OK\r\n";
    cases.extend([
        query("no connection")
            .base_url("http://127.0.0.9:{port}")
            .grant("networks", "[\"127.0.0.9/32\"]")
            .expect(Expected::Unreachable),
        query("TLS with a server that speaks none")
            .base_url("https://127.0.0.2:{port}")
            .reply(Reply::bytes("HTTP/1.1 400 Bad Request\r\n\r\n").then(Then::Greet))
            .expect(Expected::Unreachable),
        query("no answer").reply(Reply::bytes("")).expect(Expected::Interrupted),
        query("an answer that breaks off")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{secret:raw}").then(Then::Reset))
            .expect(Expected::Interrupted),
        query("an answer that is none")
            .reply(Reply::bytes("{secret:raw}\r\n\r\n"))
            .expect(Expected::Protocol),
        query("silence")
            .timeout_ms(300)
            .reply(Reply::bytes("").then(Then::Hold))
            .expect(Expected::TimedOut { sent: true }),
        query("a body over the bound")
            .reply(Reply::ok(&"{secret:raw}".repeat(3000)))
            .expect(Expected::TooLarge),
        query("a redirect that repeats the URL")
            .reply(Reply::bytes(
                "HTTP/1.1 307 Again\r\nlocation: /ok?key={secret:percent}\r\ncontent-length: 0\r\n\r\n",
            ))
            .expect(Expected::Cleaned(307)),
        case("a header line that is none, made of the secret")
            .reply(Reply::bytes(format!("{closed}{{secret:raw}}\r\n\r\n")))
            .expect(Expected::Protocol),
        case("a length made of the secret")
            .reply(Reply::bytes(format!("{closed}content-length: {{secret:raw}}\r\n\r\n")))
            .expect(Expected::Protocol),
        case("a status made of the secret")
            .reply(Reply::bytes("HTTP/1.1 {secret:raw}\r\n\r\n"))
            .expect(Expected::Protocol),
        case("a chunk's length made of the secret")
            .reply(Reply::bytes(format!(
                "{closed}transfer-encoding: chunked\r\n\r\n{{secret:raw}}\r\n"
            )))
            .expect(Expected::Protocol),
        case("a coding made of the secret")
            .reply(Reply::with_headers("content-encoding: {secret:hex}"))
            .expect(Expected::Protocol),
        case("a compressed body that is damaged behind the secret")
            .reply(
                Reply::ok("<{secret:raw}>")
                    .gzipped()
                    .and("trailing rubbish")
                    .then(Then::Close),
            )
            .expect(Expected::Cleaned(200)),
        case("a wait made of the secret")
            .reply(Reply::with_headers("retry-after: {secret:raw}"))
            .expect(Expected::Answered(crate::hostile_egress::case::Answer {
                status: 200,
                body: "ok".to_owned(),
                headers: vec![("retry-after", "[redacted]".to_owned())],
                reflected: true,
                ..Default::default()
            })),
        case("a refusal that quotes what the guest wrote")
            .method("{secret}")
            .refused("method-not-granted")
            .by_url(Expected::Unsayable),
        case("a refusal that quotes an upstream as long as a page")
            .upstream(&"u".repeat(4 * 1024))
            .refused("upstream-not-granted"),
        case("a credential would cross a network in the clear")
            .base_url("http://192.0.2.7:{port}")
            .grant("networks", "[\"192.0.2.0/24\"]")
            .refused("credential-over-plain-http"),
    ]);
    cases
}

/// Credentials that cannot be put where they belong. Each is read once, since only then that is known, and nothing is dialled.
fn unusable() -> Vec<Case> {
    let kinds = [
        (Kind::Missing, Expected::Refused("credential-missing")),
        (Kind::BrokenLine, Expected::Refused("credential-unusable")),
        (Kind::NoColon, Expected::Refused("credential-unusable")),
        (Kind::NoBase64, Expected::Refused("credential-unusable")),
        (Kind::Unreadable, Expected::Unreachable),
    ];
    kinds
        .into_iter()
        .map(|(kind, expected)| {
            case(format!("{kind:?} credential"))
                .kind(kind)
                .post("x")
                .expect(expected)
                .connections(0)
                .reveals(1)
        })
        .collect()
}
