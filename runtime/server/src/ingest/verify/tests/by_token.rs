//! Schemes where a secret is shown, and nothing is signed.

use serde_json::json;

use super::super::*;
use super::{Sent, grant, of};

pub(super) fn basic() -> (InboundGrant, Sent, &'static str) {
    // RFC 7617 section 2.
    let sent = Sent::new("{}", &[("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]);
    (of(InboundScheme::Basic), sent, "Aladdin:open sesame")
}

pub(super) fn bearer() -> (InboundGrant, Sent, &'static str) {
    // RFC 6750 section 2.1.
    let sent = Sent::new("{}", &[("authorization", "Bearer mF_9.B5f-4.1JqM")]);
    (of(InboundScheme::Bearer), sent, "mF_9.B5f-4.1JqM")
}

pub(super) fn in_a_header() -> (InboundGrant, Sent, &'static str) {
    let grant = grant(json!({"scheme": "bearer", "credential": "token", "header": "X-Token-Header"}));
    (
        grant,
        Sent::new("{}", &[("x-token-header", "glpat-1234")]),
        "glpat-1234",
    )
}

#[test]
fn the_kind_of_an_authorization_is_read_in_any_case_and_no_other_kind_passes() {
    let (grant, sent, secret) = bearer();
    let with = |value: &str| sent.clone().but("authorization", value).checked(&grant, &[secret]);
    assert_eq!(with("bearer mF_9.B5f-4.1JqM"), "ok");
    assert_eq!(with("BEARER   mF_9.B5f-4.1JqM"), "ok");
    for (value, expected) in [
        ("mF_9.B5f-4.1JqM", "malformed"),
        ("Token mF_9.B5f-4.1JqM", "malformed"),
        ("Basic bUZfOS5CNWYtNC4xSnFN", "malformed"),
        ("Bearer", "malformed"),
        ("Bearer ", "mismatch"),
        ("Bearer mF_9.B5f-4.1Jq", "mismatch"),
        ("Bearer mF_9.B5f-4.1JqM x", "mismatch"),
        ("Bearer MF_9.B5F-4.1JQM", "mismatch"),
    ] {
        assert_eq!(with(value), expected, "{value}");
    }
    let (grant, sent, secret) = basic();
    let with = |value: &str| sent.clone().but("authorization", value).checked(&grant, &[secret]);
    assert_eq!(with("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "ok");
    for (value, expected) in [
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "malformed"),
        ("Basic Aladdin:open sesame", "malformed"),
        ("Basic QWxhZGRpbg==", "malformed"),
        ("Basic QWxhZGRpbjo=", "mismatch"),
        ("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "malformed"),
    ] {
        assert_eq!(with(value), expected, "{value}");
    }
}

#[test]
fn a_basic_secret_is_a_user_and_a_password() {
    let (grant, sent, secret) = basic();
    assert_eq!(sent.checked(&grant, &["Aladdin"]), "unusable-secret");
    assert_eq!(sent.checked(&grant, &["Aladdin", secret]), "ok");
}

#[test]
fn a_token_in_a_header_of_its_own_is_the_whole_value() {
    let (grant, sent, secret) = in_a_header();
    let with = |value: &str| sent.clone().but("x-token-header", value).checked(&grant, &[secret]);
    assert_eq!(with("Bearer glpat-1234"), "mismatch");
    assert_eq!(with("glpat-12345"), "mismatch");
    let elsewhere = Sent::new("{}", &[("authorization", "Bearer glpat-1234")]);
    assert_eq!(elsewhere.checked(&grant, &[secret]), "missing-header");
}
