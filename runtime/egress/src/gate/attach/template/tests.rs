use cofferdam_domain::{CredentialSlot, Timestamp};
use cofferdam_vault::Secret;
use http::{HeaderMap, Method};
use serde_json::json;
use url::Url;

use super::*;
use crate::gate::attach;
use crate::refusal::RefusalCode;

fn send(table: serde_json::Value, secret: &[u8]) -> Result<(HeaderMap, Needles), Refusal> {
    let signature: Signature = serde_json::from_value(table).unwrap();
    assert_eq!(signature.problems(), Vec::<String>::new());
    let mut headers = HeaderMap::new();
    let mut url: Url = "https://h.test/base/p?a=1&b=%20".parse().unwrap();
    let outbound = Outbound {
        method: &Method::PUT,
        headers: &mut headers,
        url: &mut url,
        body: b"what do ya want for nothing?",
        message_id: "msg-1",
        now: Timestamp::from_millis(1_700_000_000_999),
        signature: Some(&signature),
    };
    let secret = Secret::new(secret.to_vec()).unwrap();
    let needles = attach::attach(&CredentialSlot::Hmac, &secret, outbound)?;
    Ok((headers, needles))
}

/// RFC 2202 section 3 and RFC 4231 section 4.3, test case 2 of each.
#[test]
fn each_algorithm_and_encoding_signs_as_the_rfcs_say() {
    let check = |table: serde_json::Value, expected: &str| {
        let (headers, _) = send(table, b"Jefe").unwrap();
        assert_eq!(headers["x-sig"], expected);
        assert!(headers["x-sig"].is_sensitive());
    };
    check(
        json!({"header": "X-Sig"}),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    );
    check(
        json!({"header": "X-Sig", "algorithm": "sha1", "prefix": "sha1="}),
        "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    );
    check(
        json!({"header": "X-Sig", "algorithm": "sha512"}),
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b\
         636e070a38bce737",
    );
    check(
        json!({"header": "X-Sig", "encoding": "base64"}),
        "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
    );
    check(
        json!({"header": "X-Sig", "encoding": "base64url"}),
        "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM",
    );
}

#[test]
fn the_template_covers_what_leaves_and_time_and_id_leave_with_it() {
    let table = json!({
        "header": "X-Sig",
        "template": "{method}\n{url}\n{path}\n{query}\n{id}\n{timestamp}\n{body}",
        "timestamp_header": "X-Time",
        "timestamp_unit": "milliseconds",
        "id_header": "X-Id",
    });
    let (headers, _) = send(table, b"key").unwrap();
    assert_eq!(
        (&headers["x-time"], &headers["x-id"]),
        (&"1700000000999".parse().unwrap(), &"msg-1".parse().unwrap())
    );
    let covered =
        "PUT\nhttps://h.test/base/p?a=1&b=%20\n/base/p\na=1&b=%20\nmsg-1\n1700000000999\nwhat do ya want for nothing?";
    let expected = data_encoding::HEXLOWER.encode(&attach::sign(b"key", &[covered.as_bytes()]));
    assert_eq!(headers["x-sig"], expected);
}

#[test]
fn a_key_that_is_written_in_an_encoding_is_decoded_and_searched_for_in_both_forms() {
    for (encoding, secret) in [("base64", "SmVmZQ=="), ("hex", "4a656665\n")] {
        let (headers, needles) = send(
            json!({"header": "X-Sig", "secret_encoding": encoding}),
            secret.as_bytes(),
        )
        .unwrap();
        assert_eq!(
            headers["x-sig"],
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        for needle in [secret.as_bytes(), secret.trim().as_bytes(), b"Jefe"] {
            assert!(needles.iter().any(|known| known.as_slice() == needle), "{encoding}");
        }
        let refusal = send(
            json!({"header": "X-Sig", "secret_encoding": encoding}),
            b"no such text!",
        )
        .unwrap_err();
        assert_eq!(refusal.code, RefusalCode::CredentialUnusable);
        assert!(!refusal.message.contains("no such text!"), "{refusal}");
    }
}
