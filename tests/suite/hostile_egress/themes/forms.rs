//! Upstreams that send the secret back: in every form, in every place of an answer, and cut at every byte.

use crate::hostile_egress::case::{Answer, Case, Expected, Reply, case, redacted};
use crate::hostile_egress::credential::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = WHOLE
        .iter()
        .map(|(kind, form)| {
            case(format!("{kind:?}: {form}, cut at every byte"))
                .kind(*kind)
                .reply(Reply::cut(&format!("<{{secret:{form}}}>")))
                .every_cut()
                .expect(redacted("<[redacted]>"))
        })
        .collect();
    cases.extend(WITHIN.iter().map(|form| {
        case(format!("{form} between other bytes, cut at every byte"))
            .reply(Reply::cut(&format!("<{{secret:{form}}}>")))
            .every_cut()
            .expect(Expected::Cleaned(200))
    }));
    cases.extend(STATUSES.iter().map(|status| {
        case(format!("in the body of a {status}"))
            .reply(Reply::bytes(format!(
                "HTTP/1.1 {status} Said {{secret:raw}}\r\ncontent-length: {{length}}\r\n\r\n{{\"error\":\"bad key {{secret:json}}\"}}"
            )))
            .expect(Expected::Answered(Answer {
                status: *status,
                body: "{\"error\":\"bad key [redacted]\"}".to_owned(),
                reflected: true,
                ..Answer::default()
            }))
    }));
    cases.extend(places());
    cases
}

/// Where else in an answer it can stand.
fn places() -> Vec<Case> {
    let header = |name: &'static str, value: &str, cleaned: &str| {
        case(format!("in the header {name}"))
            .reply(Reply::with_headers(&format!("{name}: {value}")))
            .expect(Expected::Answered(Answer {
                status: 200,
                body: "ok".to_owned(),
                headers: vec![(name, cleaned.to_owned())],
                reflected: true,
                ..Answer::default()
            }))
    };
    vec![
        header("x-echo", "Bearer {secret:raw}", "Bearer [redacted]"),
        header("x-request-id", "{secret:hex}", "[redacted]"),
        header("x-ratelimit-reset", "{secret:base64}", "[redacted]"),
        header(
            "location",
            "https://evil.test/?key={secret:percent}",
            "https://evil.test/?key=[redacted]",
        ),
        header(
            "www-authenticate",
            "Bearer realm=\"{secret:raw}\"",
            "Bearer realm=\"[redacted]\"",
        ),
        header("content-type", "text/{secret:raw}", "text/[redacted]"),
        case("in a header's name")
            .reply(Reply::with_headers("x-{secret:hex}: 1"))
            .expect(Expected::Answered(Answer {
                status: 200,
                body: "ok".to_owned(),
                reflected: true,
                ..Answer::default()
            })),
        case("in a cookie")
            .reply(Reply::with_headers("set-cookie: key={secret:hex}"))
            .expect(redacted("ok")),
        case("in the reason phrase").reply(Reply::bytes("HTTP/1.1 200 {secret:raw}\r\ncontent-length: 2\r\n\r\nok")),
        case("in an interim answer").reply(Reply::bytes(
            "HTTP/1.1 103 Early Hints\r\nx-key: {secret:raw}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        )),
        case("in a chunk's extension").reply(Reply::bytes(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;key=\"{secret:raw}\"\r\nok\r\n0\r\n\r\n",
        )),
        case("in a trailer").reply(Reply::bytes(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-key: {secret:raw}\r\n\r\n",
        )),
        case("behind the end of the answer").reply(Reply::bytes(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{secret:raw}",
        )),
        case("in a compressed body")
            .reply(Reply::ok("<{secret:raw}>").gzipped())
            .expect(redacted("<[redacted]>")),
        case("in base64 in a compressed body")
            .reply(Reply::ok("<{secret:base64}>").gzipped())
            .expect(redacted("<[redacted]>")),
        case("a thousand times")
            .reply(Reply::ok(&"{secret:raw} ".repeat(1000)))
            .expect(redacted(&"[redacted] ".repeat(1000))),
        case("in every form at once")
            .reply(Reply::ok(
                "{secret:raw}|{secret:hex}|{secret:base64}|{secret:percent-all}|{secret:json-all}|{secret:HEX}",
            ))
            .expect(redacted(
                "[redacted]|[redacted]|[redacted]|[redacted]|[redacted]|[redacted]",
            )),
        case("twice without anything between")
            .reply(Reply::ok("{secret:raw}{secret:raw}"))
            .expect(Expected::Cleaned(200)),
        case("behind bytes that begin like it")
            .reply(Reply::ok("xoxb-17/xoxb-{secret:raw}"))
            .expect(redacted("xoxb-17/xoxb-[redacted]")),
        case("behind as many bytes as fill a buffer")
            .reply(Reply::ok(&format!("{}{{secret:raw}}", "b".repeat(16 * 1024 - 7))))
            .expect(redacted(&format!("{}[redacted]", "b".repeat(16 * 1024 - 7)))),
        case("at the very end of the largest body")
            .reply(Reply::ok(&format!("{}{{secret:raw}}", "b".repeat(64 * 1024 - 100))))
            .expect(redacted(&format!("{}[redacted]", "b".repeat(64 * 1024 - 100)))),
        case("in a second answer of the same connection")
            .reply(Reply::cut("<{secret:raw}>"))
            .again()
            .again()
            .expect(redacted("<[redacted]>")),
        case("an innocent answer is left as it is")
            .reply(Reply::ok(
                "xoxb-17/ is how tokens begin; %2F and \\u0041 and aGVsbG8= are left alone",
            ))
            .expect(crate::hostile_egress::case::answered(
                "xoxb-17/ is how tokens begin; %2F and \\u0041 and aGVsbG8= are left alone",
            )),
        case("from an upstream that got none, nothing is taken out")
            .kind(Kind::None)
            .reply(Reply::ok("[redacted]"))
            .expect(crate::hostile_egress::case::answered("[redacted]")),
    ]
}

/// Forms that are taken out as they stand.
const WHOLE: [(Kind, &str); 24] = [
    (Kind::Bearer, "raw"),
    (Kind::Bearer, "hex"),
    (Kind::Bearer, "HEX"),
    (Kind::Bearer, "base64"),
    (Kind::Bearer, "base64url"),
    (Kind::Bearer, "base64-core+1"),
    (Kind::Bearer, "base64-core+2"),
    (Kind::Bearer, "percent"),
    (Kind::Bearer, "percent-all"),
    (Kind::Bearer, "percent-first"),
    (Kind::Bearer, "json"),
    (Kind::Bearer, "json-all"),
    (Kind::Bearer, "json-last"),
    (Kind::Bearer, "percent-of-base64"),
    (Kind::Bearer, "json-of-hex"),
    (Kind::Basic, "whole"),
    (Kind::Basic, "raw"),
    (Kind::Basic, "base64-whole"),
    (Kind::Header, "raw"),
    (Kind::Query, "percent"),
    (Kind::Hmac, "raw"),
    (Kind::StandardWebhooks, "whole"),
    (Kind::StandardWebhooks, "raw"),
    (Kind::StandardWebhooks, "hex-key"),
];

/// Forms whose edges share a character with what stands beside them.
const WITHIN: [&str; 4] = ["base64+1", "base64+2", "base64url+1", "base64url+2"];

/// Answers of every class.
const STATUSES: [u16; 8] = [201, 302, 400, 401, 403, 407, 429, 500];
