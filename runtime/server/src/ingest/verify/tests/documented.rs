//! The providers' own examples, and what is special about each.

use cofferdam_domain::InboundScheme;
use data_encoding::BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::super::*;
use super::{Sent, of};

/// The example of GitHub's page on validating deliveries.
pub(super) fn github() -> (InboundGrant, Sent, &'static str) {
    let sent = Sent::new(
        "Hello, World!",
        &[
            (
                "x-hub-signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ],
    );
    (of(InboundScheme::Github), sent, "It's a Secret to Everybody")
}

/// The example of the specification's reference libraries.
pub(super) fn standard_webhooks() -> (InboundGrant, Sent, &'static str) {
    let sent = Sent::new(
        r#"{"test": 2432232314}"#,
        &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
    );
    (
        of(InboundScheme::StandardWebhooks),
        sent.at(1_614_265_330),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
}

/// The same, signed by Node's ed25519 with the private key of 32 bytes 7.
pub(super) fn standard_webhooks_ed25519() -> (InboundGrant, Sent, &'static str) {
    let (grant, sent, _) = standard_webhooks();
    let signature = "v1a,2iFnCkcL0nCB7d0lgaT5vmGnQgJl4zcl9qd7UbPYvulcwR3MRYzjXT2JCSEV4dFH3XNALA4OW0zY5fFdGv9GBA==";
    (
        grant,
        sent.but("webhook-signature", signature),
        "whpk_6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=",
    )
}

/// The example of Slack's page on verifying requests.
pub(super) fn slack() -> (InboundGrant, Sent, &'static str) {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
                &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
                &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let sent = Sent::new(
        body,
        &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
    );
    (
        of(InboundScheme::Slack),
        sent.at(1_531_420_618),
        "8f742231b10e8888abcd99yyyzzz85a5",
    )
}

/// Signed by the npm package `stripe` 23.1.0.
pub(super) fn stripe() -> (InboundGrant, Sent, &'static str) {
    let signature = "t=1700000000,v1=0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd";
    let sent = Sent::new(r#"{"id":"evt_1","object":"event"}"#, &[("stripe-signature", signature)]);
    (of(InboundScheme::Stripe), sent.at(1_700_000_000), "whsec_test_secret")
}

/// Signed by Node.
pub(super) fn shopify() -> (InboundGrant, Sent, &'static str) {
    let sent = Sent::new(
        r#"{"id":820982911946154508}"#,
        &[
            ("x-shopify-hmac-sha256", "qBvrsZF7RfB1iS6BX6IHqJTp5L911P7intnPeTPsH0I="),
            ("x-shopify-webhook-id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
        ],
    );
    (of(InboundScheme::Shopify), sent, "hush")
}

#[test]
fn hex_of_a_provider_that_writes_lower_case_is_lower_case() {
    for (grant, sent, secret) in [github(), slack(), stripe()] {
        let name = match grant.scheme {
            InboundScheme::Github => "x-hub-signature-256",
            InboundScheme::Slack => "x-slack-signature",
            _ => "stripe-signature",
        };
        let value = sent.headers[name].to_str().unwrap();
        let (front, hex) = value.rsplit_once('=').unwrap();
        let upper = format!("{front}={}", hex.to_uppercase());
        assert_eq!(sent.clone().but(name, &upper).checked(&grant, &[secret]), "malformed");
        assert_eq!(sent.clone().but(name, hex).checked(&grant, &[secret]), "malformed");
        let empty = format!("{front}=");
        assert_ne!(sent.clone().but(name, &empty).checked(&grant, &[secret]), "ok");
    }
}

#[test]
fn githubs_sha1_is_no_signature() {
    let (grant, sent, secret) = github();
    let sent = sent
        .without("x-hub-signature-256")
        .with("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59");
    assert_eq!(sent.checked(&grant, &[secret]), "missing-header");
}

#[test]
fn a_header_may_hold_several_signatures_up_to_a_bound() {
    let (grant, sent, secret) = standard_webhooks();
    let good = sent.headers["webhook-signature"].to_str().unwrap().to_owned();
    let with = |value: &str| sent.clone().but("webhook-signature", value).checked(&grant, &[secret]);
    assert_eq!(with(&format!("v1,AAAA v2,xxxx  {good}")), "ok");
    assert_eq!(with(&format!("{}{good}", "v1,AAAA ".repeat(15))), "ok");
    assert_eq!(with(&format!("{}{good}", "v1,AAAA ".repeat(16))), "mismatch");
    assert_eq!(with(&format!("{good} v1,AAAA")), "ok");
    assert_eq!(with(good.strip_prefix("v1,").unwrap()), "mismatch");
    assert_eq!(with(&good.replace("v1,", "v1a,")), "mismatch");

    let (grant, sent, secret) = stripe();
    let value = sent.headers["stripe-signature"].to_str().unwrap();
    let (time, good) = value.split_once(',').unwrap();
    let zeros = format!("v1={}", "0".repeat(64));
    let with = |value: &str| sent.clone().but("stripe-signature", value).checked(&grant, &[secret]);
    assert_eq!(with(&format!("{time},{zeros},{good},v0=abc")), "ok");
    assert_eq!(with(&format!("{good},{time}")), "ok");
    assert_eq!(with(&format!("{time},{}{good}", format!("{zeros},").repeat(15))), "ok");
    assert_eq!(
        with(&format!("{time},{}{good}", format!("{zeros},").repeat(16))),
        "mismatch"
    );
    assert_eq!(with(&format!("{time},{time},{good}")), "malformed");
    assert_eq!(with(&format!("t=1700000001,{good}")), "mismatch");
    assert_eq!(with(&format!("t=soon,{good}")), "malformed");
    assert_eq!(with(&format!("t=01700000000,{good}")), "malformed");
    assert_eq!(with(good), "malformed");
    assert_eq!(with(time), "malformed");
    assert_eq!(with(&format!("{time},{}", good.replace("v1", "v0"))), "malformed");
}

#[test]
fn id_and_timestamp_of_standard_webhooks_are_signed_too() {
    let (grant, sent, secret) = standard_webhooks();
    let with = |name: &str, value: &str| sent.clone().but(name, value).checked(&grant, &[secret]);
    assert_eq!(with("webhook-id", "msg_other"), "mismatch");
    assert_eq!(with("webhook-timestamp", "1614265331"), "mismatch");
    for bad in [
        "soon",
        "99999999999999999999",
        "+1614265330",
        "1614265330.0",
        "01614265330",
    ] {
        assert_eq!(with("webhook-timestamp", bad), "malformed", "{bad}");
    }
    // Where a dot in the id would move the timestamp into it, and the body's beginning into the timestamp.
    assert_eq!(with("webhook-id", "msg.1614265330"), "malformed");
}

#[test]
fn a_public_key_verifies_ed25519_and_is_never_an_hmacs_key() {
    let (grant, sent, public_key) = standard_webhooks_ed25519();
    let encoded = public_key.strip_prefix("whpk_").unwrap();
    let key = BASE64.decode(encoded.as_bytes()).unwrap();
    let signed = [&b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330."[..], &sent.body];
    let forged = mac::of(
        cofferdam_domain::connection::signature::HmacAlgorithm::Sha256,
        &key,
        &signed,
    );
    let forged = sent
        .clone()
        .but("webhook-signature", &format!("v1,{}", BASE64.encode(&forged)));
    assert_eq!(forged.checked(&grant, &[public_key]), "mismatch");
    // With the prefix gone it would be one: that is an admin's mistake, and no sender's choice.
    for (bad, expected) in [
        ("whpk_", "unusable-secret"),
        ("whpk_AAAA", "unusable-secret"),
        ("whsk_6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=", "unusable-secret"),
        ("whsec_", "unusable-secret"),
        ("not base 64", "unusable-secret"),
    ] {
        assert_eq!(sent.checked(&grant, &[bad]), expected, "{bad}");
        assert_eq!(sent.checked(&grant, &[bad, public_key]), "ok", "{bad}");
    }
    assert_eq!(
        sent.checked(&grant, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]),
        "mismatch"
    );
}

#[test]
fn both_kinds_of_standard_webhooks_signature_can_be_in_use_at_once() {
    let (grant, hmac, secret) = standard_webhooks();
    let (_, ed25519, public_key) = standard_webhooks_ed25519();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    assert_eq!(
        public_key,
        format!("whpk_{}", BASE64.encode(pair.public_key().as_ref()))
    );
    for sent in [&hmac, &ed25519] {
        assert_eq!(sent.checked(&grant, &[secret, public_key]), "ok");
    }
    let good = ed25519.headers["webhook-signature"].to_str().unwrap();
    let bad = format!("v1a,{}", BASE64.encode(&[0; 64]));
    let with = |count: usize| {
        let value = format!("{}{good}", format!("{bad} ").repeat(count));
        ed25519
            .clone()
            .but("webhook-signature", &value)
            .checked(&grant, &[public_key])
    };
    assert_eq!((with(3), with(4)), ("ok", "mismatch"));
}

#[test]
fn slacks_handshake_is_known_by_its_type_alone() {
    let check = |body: &str, expected: Option<&str>| {
        assert_eq!(challenge(body.as_bytes()).as_deref(), expected, "{body:.60}");
    };
    // The example of Slack's page on the event.
    let page = r#"{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "type": "url_verification"}"#;
    check(page, Some("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"));
    check(r#"{"type": "url_verification", "challenge": "é\n"}"#, Some("é\n"));
    check(r#"{"type": "event_callback", "challenge": "x"}"#, None);
    check(r#"{"challenge": "x"}"#, None);
    check(r#"["url_verification", "x"]"#, None);
    check(r#"{"type": "url_verification"}"#, None);
    check(r#"{"type": "url_verification", "challenge": 1}"#, None);
    check("type=url_verification&challenge=x", None);
    for (bytes, answered) in [(1024, true), (1025, false)] {
        let body = format!(
            r#"{{"type": "url_verification", "challenge": "{}"}}"#,
            "x".repeat(bytes)
        );
        assert_eq!(challenge(body.as_bytes()).is_some(), answered, "{bytes}");
    }
}

#[test]
fn each_provider_names_its_delivery_in_its_own_place() {
    let check = |(grant, sent, _): (InboundGrant, Sent, &str), expected: Option<&str>| {
        assert_eq!(sent.id(&grant).as_deref(), expected, "{}", grant.scheme);
    };
    check(github(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    check(standard_webhooks(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
    check(slack(), None);
    check(stripe(), Some("evt_1"));
    check(shopify(), Some("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"));
    let (grant, sent, _) = shopify();
    let sent = sent
        .without("x-shopify-webhook-id")
        .with("x-shopify-event-id", "98880550-7158-44d4-b7cd-2c97c8a091b5");
    assert_eq!(sent.id(&grant).as_deref(), Some("98880550-7158-44d4-b7cd-2c97c8a091b5"));
    let event = r#"{"type": "event_callback", "event_id": "Ev08MFMKH6", "event": {"event_id": "no"}}"#;
    assert_eq!(
        Sent::new(event, &[]).id(&of(InboundScheme::Slack)).as_deref(),
        Some("Ev08MFMKH6")
    );
}
