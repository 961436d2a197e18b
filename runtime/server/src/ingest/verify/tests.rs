use axum::http::{HeaderName, HeaderValue};

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

#[test]
fn githubs_own_example_verifies_and_nothing_near_it_does() {
    // The example of GitHub's page on validating deliveries.
    let secret = b"It's a Secret to Everybody";
    let body = b"Hello, World!";
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let check = |signature: &str, body: &[u8], secret: &[u8]| {
        github::verify(secret, &headers(&[("x-hub-signature-256", signature)]), body)
    };
    assert!(check(good, body, secret));
    assert!(!check(good, b"Hello, World", secret));
    assert!(!check(good, body, b"another"));
    assert!(!check(&good[..good.len() - 2], body, secret));
    assert!(!check(&good.to_uppercase(), body, secret));
    assert!(!check(good.strip_prefix("sha256=").unwrap(), body, secret));
    assert!(!check("", body, secret));
    assert!(!github::verify(secret, &HeaderMap::new(), body));
}

// The example of the specification's reference libraries.
const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const SENT_AT_S: u64 = 1_614_265_330;

fn standard(signature: &str, id: &str, timestamp: &str, now_s: u64) -> bool {
    let headers = headers(&[
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ]);
    standard_webhooks::verify(SECRET, &headers, BODY, Timestamp::from_millis(now_s * 1_000))
}

#[test]
fn the_standard_webhooks_example_verifies_within_its_tolerance_only() {
    let at = |now_s| standard(SIGNATURE, ID, "1614265330", now_s);
    assert!(at(SENT_AT_S));
    assert!(at(SENT_AT_S + 300) && at(SENT_AT_S - 300));
    assert!(!at(SENT_AT_S + 301) && !at(SENT_AT_S - 301));
}

#[test]
fn any_of_several_standard_webhooks_signatures_may_match() {
    let with = |signature: &str| standard(signature, ID, "1614265330", SENT_AT_S);
    assert!(with(&format!("v1,AAAA v2,xxxx {SIGNATURE}")));
    assert!(!with("v1,AAAA"));
    assert!(!with(SIGNATURE.strip_prefix("v1,").unwrap()));
    assert!(!with(&SIGNATURE.replace("v1,", "v1a,")));
    assert!(!with(&format!("{}{SIGNATURE}", "v1,AAAA ".repeat(16))));
}

#[test]
fn id_and_timestamp_are_signed_too() {
    assert!(!standard(SIGNATURE, "msg_other", "1614265330", SENT_AT_S));
    assert!(!standard(SIGNATURE, ID, "1614265331", SENT_AT_S));
    assert!(!standard(SIGNATURE, ID, "soon", SENT_AT_S));
    assert!(!standard(SIGNATURE, ID, "99999999999999999999", SENT_AT_S));
}

#[test]
fn any_of_several_secrets_may_match() {
    let body = b"Hello, World!";
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = headers(&[("x-hub-signature-256", good)]);
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).unwrap();
    let now = Timestamp::ZERO;
    let old_and_new = [secret("older"), secret("It's a Secret to Everybody")];
    assert_eq!(verify(InboundScheme::Github, &old_and_new, &headers, body, now), Ok(()));
    assert_eq!(
        verify(InboundScheme::Github, &old_and_new[..1], &headers, body, now),
        Err(Unverified)
    );
    assert_eq!(verify(InboundScheme::Github, &[], &headers, body, now), Err(Unverified));
}
