//! HMACs that an admin describes. The signatures are Node's.

use serde_json::json;

use super::super::*;
use super::{Sent, grant};

pub(super) fn timed() -> (InboundGrant, Sent, &'static str) {
    let grant = grant(json!({"scheme": "hmac", "credential": "key", "signature": {
        "header": "X-Described-Signature", "prefix": "v1=", "encoding": "base64",
        "template": "{timestamp}.{body}", "timestamp_header": "X-Described-Time",
    }}));
    let sent = Sent::new(
        "{}",
        &[
            ("x-described-time", "1700000000"),
            (
                "x-described-signature",
                "v1=nXE+1Aa7cHbUEj8NwsOdLfXGVO1LDNVrUsi0yUC9Y64=",
            ),
        ],
    );
    (grant, sent.at(1_700_000_000), "key")
}

#[test]
fn the_body_alone_is_signed_by_default() {
    let grant = grant(json!({"scheme": "hmac", "credential": "key", "signature": {
        "header": "X-Sig", "algorithm": "sha1",
    }}));
    let hex = "c9963b837183dc667106461b3de91d0885f539b3";
    let check = |signature: &str, expected: &str| {
        assert_eq!(
            Sent::new("{}", &[("x-sig", signature)]).checked(&grant, &["key"]),
            expected
        );
    };
    check(hex, "ok");
    check(&hex.to_uppercase(), "ok");
    check(&hex[..38], "mismatch");
    check(&format!("{hex}{hex}"), "mismatch");
    check("", "mismatch");
    check(&format!("sha1={hex}"), "malformed");
}

#[test]
fn method_and_address_are_what_the_sender_wrote() {
    let grant = grant(
        json!({"scheme": "hmac", "credential": "key", "external_url": "https://h.example/hooks/x",
        "signature": {
            "header": "X-Sig", "algorithm": "sha512", "encoding": "base64url", "template": "{method}{url}{body}",
        }}),
    );
    let signature = "cXVg_uPWlO2hS7-UX34MYQ5qHAvDiOPW-K0N58qZkdbZHOiwj_N-Bq0fkLAKOiZdZoY5n6kAsl60laeouECtBg";
    let mut sent = Sent::new("{}", &[("x-sig", signature)]);
    // What the proxy made of it.
    sent.path = "/hooks/internal/y".to_owned();
    sent.rest = "/y".to_owned();
    sent.query = "a=b".to_owned();
    assert_eq!(sent.checked(&grant, &["key"]), "ok");
    for (rest, query) in [("", "a=b"), ("/y", ""), ("/y", "a=c"), ("/y/", "a=b")] {
        let other = Sent {
            rest: rest.to_owned(),
            query: query.to_owned(),
            ..sent.clone()
        };
        assert_eq!(other.checked(&grant, &["key"]), "mismatch", "{rest} {query}");
    }
}

#[test]
fn path_and_query_are_those_of_the_external_url_or_of_the_request_line() {
    let described = |external: Option<&str>| {
        let mut json = json!({"scheme": "hmac", "credential": "key", "signature": {
            "header": "X-Sig", "template": "{path}?{query}\n{body}",
        }});
        if let Some(external) = external {
            json["external_url"] = external.into();
        }
        grant(json)
    };
    let check = |external: Option<&str>, rest: &str, signed: &str| {
        let algorithm = cofferdam_domain::connection::signature::HmacAlgorithm::Sha256;
        let signature = data_encoding::HEXLOWER.encode(&mac::of(algorithm, b"key", &[signed]));
        let mut sent = Sent::new("{}", &[("x-sig", &signature)]);
        sent.path = format!("/hooks/h{rest}");
        sent.rest = rest.to_owned();
        sent.query = "a=%2f".to_owned();
        assert_eq!(sent.checked(&described(external), &["key"]), "ok", "{signed}");
    };
    check(None, "", "/hooks/h?a=%2f\n{}");
    check(None, "/%7ex", "/hooks/h/%7ex?a=%2f\n{}");
    check(Some("https://h.example"), "", "/?a=%2f\n{}");
    check(Some("https://h.example:8443/in"), "", "/in?a=%2f\n{}");
    check(Some("https://h.example/in/"), "/more", "/in/more?a=%2f\n{}");
}

#[test]
fn a_signed_id_must_be_there_and_an_unsigned_one_is_only_a_name() {
    let described = |template: &str| {
        grant(json!({"scheme": "hmac", "credential": "key", "signature": {
            "header": "X-Sig", "template": template, "id_header": "X-Id",
        }}))
    };
    let algorithm = cofferdam_domain::connection::signature::HmacAlgorithm::Sha256;
    let signature = |signed: &str| data_encoding::HEXLOWER.encode(&mac::of(algorithm, b"key", &[signed]));
    let signed = described("{id}.{body}");
    let sent = Sent::new("{}", &[("x-sig", &signature("7.{}")), ("x-id", "7")]);
    assert_eq!(sent.checked(&signed, &["key"]), "ok");
    assert_eq!(sent.id(&signed).as_deref(), Some("7"));
    assert_eq!(sent.clone().but("x-id", "8").checked(&signed, &["key"]), "mismatch");
    assert_eq!(
        sent.clone().without("x-id").checked(&signed, &["key"]),
        "missing-header"
    );
    assert_eq!(
        sent.clone().with("x-id", "7").checked(&signed, &["key"]),
        "repeated-header"
    );
    let unsigned = described("{body}");
    let sent = Sent::new("{}", &[("x-sig", &signature("{}"))]);
    assert_eq!(sent.checked(&unsigned, &["key"]), "ok");
    assert_eq!(sent.id(&unsigned), None);
}

#[test]
fn a_tolerance_and_a_unit_are_the_connections_own() {
    let (_, sent, secret) = timed();
    let grant = |unit: &str, tolerance: u32| {
        grant(
            json!({"scheme": "hmac", "credential": "key", "tolerance_s": tolerance, "signature": {
                "header": "X-Described-Signature", "prefix": "v1=", "encoding": "base64",
                "template": "{timestamp}.{body}", "timestamp_header": "X-Described-Time", "timestamp_unit": unit,
            }}),
        )
    };
    let short = grant("seconds", 1);
    for (now, expected) in [
        (1_699_999_998, "stale"),
        (1_699_999_999, "ok"),
        (1_700_000_001, "ok"),
        (1_700_000_002, "stale"),
    ] {
        assert_eq!(sent.clone().at(now).checked(&short, &[secret]), expected, "{now}");
    }
    assert_eq!(
        sent.checked(&grant("milliseconds", 300), &[secret]),
        "stale",
        "20 days after the epoch"
    );
    assert_eq!(sent.checked(&grant("rfc3339", 300), &[secret]), "malformed");
}

#[test]
fn a_secret_that_is_not_encoded_as_the_connection_says_is_told_apart() {
    let described = |encoding: &str| {
        grant(json!({"scheme": "hmac", "credential": "key", "signature": {
            "header": "X-Sig", "algorithm": "sha1", "secret_encoding": encoding,
        }}))
    };
    let sent = Sent::new("{}", &[("x-sig", "c9963b837183dc667106461b3de91d0885f539b3")]);
    assert_eq!(sent.checked(&described("raw"), &["key"]), "ok");
    assert_eq!(sent.checked(&described("hex"), &["6b6579"]), "ok");
    assert_eq!(sent.checked(&described("base64"), &["a2V5\n"]), "ok");
    assert_eq!(sent.checked(&described("hex"), &["key"]), "unusable-secret");
    assert_eq!(sent.checked(&described("hex"), &["key", "6b6579"]), "ok");
    assert_eq!(sent.checked(&described("base64"), &["\n"]), "unusable-secret");
}
