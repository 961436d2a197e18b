//! The examples that Twilio's libraries are tested with: token 12345, mycompany.com.

use super::super::*;
use super::{Sent, grant};

const TOKEN: &str = "12345";
const QUERY: &str = "foo=1&bar=2";
const FORM: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";

fn at(url: &str) -> InboundGrant {
    grant(serde_json::json!({"scheme": "twilio", "credential": "token", "external_url": url}))
}

fn request(query: &str, body: &str, signature: &str) -> Sent {
    let mut sent = Sent::new(
        body,
        &[
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("i-twilio-idempotency-token", "2f9c2a1e"),
            ("x-twilio-signature", signature),
        ],
    );
    sent.query = query.to_owned();
    sent
}

pub(super) fn form() -> (InboundGrant, Sent, &'static str) {
    let sent = request(QUERY, FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    (at("https://mycompany.com/myapp.php"), sent, TOKEN)
}

pub(super) fn json() -> (InboundGrant, Sent, &'static str) {
    let query = format!("{QUERY}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620");
    let body = r#"{"property": "value", "boolean": true}"#;
    let sent = request(&query, body, "a9nBmqA0ju/hNViExpshrM61xv4=").but("content-type", "application/json");
    (at("https://mycompany.com/myapp.php"), sent, TOKEN)
}

#[test]
fn the_url_counts_with_and_without_its_port() {
    let check = |url: &str, signature: &str, expected: &str| {
        let sent = request(QUERY, FORM, signature);
        assert_eq!(sent.checked(&at(url), &[TOKEN]), expected, "{url}");
    };
    check("https://mycompany.com/myapp.php", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "ok");
    check(
        "https://mycompany.com:1234/myapp.php",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "ok",
    );
    check(
        "http://mycompany.com:1234/myapp.php",
        "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
        "ok",
    );
    check(
        "http://mycompany.com:1235/myapp.php",
        "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
        "mismatch",
    );
    check("https://mycompany.com/myapp.php", "kvajT1Ptam85bY51eRf/AJRuM3w=", "ok");
    check("http://mycompany.com/myapp.php", "0ZXoZLH/DfblKGATFgpif+LLRf4=", "ok");
    check(
        "http://mycompany.com/myapp.php",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "mismatch",
    );
    check(
        "https://mycompany.com/other.php",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "mismatch",
    );
    check(
        "https://mycompany.com.evil.example/myapp.php",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "mismatch",
    );
}

#[test]
fn a_parameter_that_comes_several_times_counts_once_per_value_in_order() {
    let external = at("https://mycompany.com/myapp.php");
    let check = |body: &str, signature: &str, expected: &str| {
        assert_eq!(
            request(QUERY, body, signature).checked(&external, &[TOKEN]),
            expected,
            "{body}"
        );
    };
    let binding = "83O6e2vORAoJHUNzJjDWN1jz+BA=";
    let name = "MessagingBinding.Address";
    check(&format!("{name}=%2B1325xxxxxxx&{name}=%2B1415xxxxxxx"), binding, "ok");
    check(&format!("{name}=%2B1415xxxxxxx&{name}=%2B1325xxxxxxx"), binding, "ok");
    check(&format!("{name}=%2B1415xxxxxxx"), binding, "mismatch");
    let several = "IK+Dwps556ElfBT0I3Rgjkr1wJU=";
    check(
        "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
        several,
        "ok",
    );
    check("Digits=1234&Digits=5678&Sid=CA123&SidAccount=AC123", several, "ok");
    check(
        "Digits=1234&Digits=5679&Sid=CA123&SidAccount=AC123",
        several,
        "mismatch",
    );
    // However a character is escaped, it is that character.
    let (grant, sent, _) = form();
    let other = Sent {
        body: FORM.replace("CallSid", "C%61ll%53id").into(),
        ..sent
    };
    assert_eq!(other.checked(&grant, &[TOKEN]), "ok");
}

#[test]
fn a_query_is_signed_as_it_was_sent() {
    let (external, signature) = (at("https://mycompany.com/myapp.php"), "dsq4Ehbj6cs+KdTkpF5sSSplOWw=");
    let with = |query: &str| request(query, FORM, signature).checked(&external, &[TOKEN]);
    assert_eq!(with("foo=1&bar=2&Body=It's+amazing"), "ok");
    assert_eq!(with("foo=1&bar=2&Body=It%27s+amazing"), "mismatch");
    assert_eq!(with("bar=2&foo=1&Body=It's+amazing"), "mismatch");
}

#[test]
fn what_lies_behind_the_hook_belongs_to_the_url() {
    let (_, mut sent, _) = form();
    sent.rest = "/myapp.php".to_owned();
    assert_eq!(sent.checked(&at("https://mycompany.com"), &[TOKEN]), "ok");
    assert_eq!(sent.checked(&at("https://mycompany.com/"), &[TOKEN]), "ok");
    sent.rest = "/myapp.php/".to_owned();
    assert_eq!(sent.checked(&at("https://mycompany.com"), &[TOKEN]), "mismatch");
}

#[test]
fn a_body_that_nothing_covers_is_refused() {
    let (grant, sent, _) = form();
    // The signature of the URL alone, as of a request without parameters.
    let signature = mac::of(
        cofferdam_domain::connection::signature::HmacAlgorithm::Sha1,
        TOKEN.as_bytes(),
        &["https://mycompany.com/myapp.php?foo=1&bar=2"],
    );
    let signature = data_encoding::BASE64.encode(&signature);
    let with = |body: &str, kind: &str| {
        let mut sent = sent
            .clone()
            .but("x-twilio-signature", &signature)
            .but("content-type", kind);
        sent.body = body.into();
        sent.checked(&grant, &[TOKEN])
    };
    assert_eq!(with("", "application/x-www-form-urlencoded"), "ok");
    assert_eq!(with("", "application/json"), "ok");
    assert_eq!(
        with("&&", "application/x-www-form-urlencoded"),
        "ok",
        "nothing in it but marks"
    );
    for kind in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded-not",
        "multipart/form-data",
    ] {
        assert_eq!(with(r#"{"property": "value"}"#, kind), "malformed", "{kind}");
    }
    assert_eq!(
        with(r#"{"property": "value"}"#, "application/x-www-form-urlencoded"),
        "mismatch"
    );
    let many = |count: usize| "a=1&".repeat(count);
    assert_eq!(with(&many(1_000), "application/x-www-form-urlencoded"), "mismatch");
    assert_eq!(with(&many(1_001), "application/x-www-form-urlencoded"), "malformed");
}

#[test]
fn a_hash_covers_a_body_of_any_kind_and_the_first_one_counts() {
    let (grant, sent, _) = json();
    let spoilt = |query: String| {
        let sent = Sent { query, ..sent.clone() };
        sent.checked(&grant, &[TOKEN])
    };
    assert_eq!(spoilt(sent.query.clone()), "ok");
    assert_eq!(
        spoilt(sent.query.to_uppercase()),
        "malformed",
        "no such parameter, and the body is JSON"
    );
    assert_eq!(spoilt(sent.query.replace("0a1f", "0A1F")), "mismatch");
    assert_eq!(spoilt(format!("bodySHA256=00&{}", sent.query)), "mismatch");
    assert_eq!(
        spoilt(format!("{}&bodySHA256=00", sent.query)),
        "mismatch",
        "signed without it"
    );
    let as_form = sent.clone().but("content-type", "application/x-www-form-urlencoded");
    assert_eq!(as_form.checked(&grant, &[TOKEN]), "ok");
}

#[test]
fn bytes_that_are_no_text_are_signed_as_they_are() {
    let (grant, sent, _) = form();
    let parts: [&[u8]; 2] = [b"https://mycompany.com/myapp.php?foo=1&bar=2", b"a\xff"];
    let algorithm = cofferdam_domain::connection::signature::HmacAlgorithm::Sha1;
    let signature = data_encoding::BASE64.encode(&mac::of(algorithm, TOKEN.as_bytes(), &parts));
    let with = |body: &str| {
        let mut sent = sent.clone().but("x-twilio-signature", &signature);
        sent.body = body.into();
        sent.checked(&grant, &[TOKEN])
    };
    assert_eq!(with("a=%FF"), "ok");
    assert_eq!(with("a=%FE"), "mismatch", "both would be repaired to U+FFFD");
    assert_eq!(with("a=%EF%BF%BD"), "mismatch");
    assert_eq!(with("a=%F"), "mismatch");
}

#[test]
fn a_shared_key_signs_by_the_algorithm_that_twilio_names() {
    let (grant, sent, _) = form();
    let settings = "x-twilio-webhooks-signature-settings";
    // Signed by Node.
    let sent = sent.but("x-twilio-signature", "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=");
    let with = |value: &str| sent.clone().with(settings, value).checked(&grant, &[TOKEN]);
    assert_eq!(sent.checked(&grant, &[TOKEN]), "mismatch");
    assert_eq!(with("key=WK1,algorithm=HMAC_SHA256"), "ok");
    assert_eq!(with("algorithm=HMAC_SHA256, key=WK1"), "ok");
    assert_eq!(with("key=WK1,algorithm=HMAC_SHA1"), "mismatch");
    for bad in [
        "",
        "key=WK1",
        "algorithm=none",
        "algorithm=HMAC_SHA256,algorithm=HMAC_SHA1",
        "algorithm=",
    ] {
        assert_eq!(with(bad), "malformed", "{bad}");
    }
}

#[test]
fn twilio_names_its_request_in_a_header() {
    let (grant, sent, _) = form();
    assert_eq!(sent.id(&grant).as_deref(), Some("2f9c2a1e"));
}
