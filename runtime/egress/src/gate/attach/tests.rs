use super::*;

struct Sent {
    headers: HeaderMap,
    url: String,
    needles: Needles,
}

fn send(slot: &str, secret: &[u8], body: &[u8], message_id: &str, now_s: u64) -> Result<Sent, RefusalCode> {
    let mut headers = HeaderMap::new();
    let mut url: Url = "https://h.test/p?a=1".parse().unwrap();
    let outbound = Outbound {
        headers: &mut headers,
        url: &mut url,
        body,
        message_id,
        now: Timestamp::from_millis(now_s * 1000 + 999),
    };
    let secret = Secret::new(secret.to_vec()).unwrap();
    let needles = attach(&slot.parse().unwrap(), &secret, outbound).map_err(|refusal| refusal.code)?;
    Ok(Sent {
        headers,
        url: url.into(),
        needles,
    })
}

#[test]
fn each_slot_takes_the_credential_in_its_own_form() {
    let check = |slot: &str, secret: &str, header: &str, expected: &str| {
        let sent = send(slot, secret.as_bytes(), b"", "id", 0).unwrap();
        let value = sent.headers.get(header).unwrap();
        assert_eq!(value.to_str().unwrap(), expected, "{slot}");
        assert!(value.is_sensitive(), "{slot}");
    };
    check("bearer", "xoxb-1", "authorization", "Bearer xoxb-1");
    // RFC 7617 section 2.
    check(
        "basic",
        "Aladdin:open sesame",
        "authorization",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    );
    check("header x-api-key", "k", "x-api-key", "k");
    check("header authorization token ", "k", "authorization", "token k");
}

#[test]
fn a_query_slot_is_appended_and_fully_encoded() {
    let sent = send("query key", b"a b&c=d/\xc3\xa9", b"", "id", 0).unwrap();
    assert_eq!(sent.url, "https://h.test/p?a=1&key=a%20b%26c%3Dd%2F%C3%A9");
}

#[test]
fn hmac_sha256_matches_rfc_4231_test_case_2() {
    let sent = send(
        "hmac-sha256 x-sig sha256=",
        b"Jefe",
        b"what do ya want for nothing?",
        "id",
        0,
    )
    .unwrap();
    assert_eq!(
        sent.headers["x-sig"],
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

/// The vector of the Standard Webhooks reference libraries.
#[test]
fn standard_webhooks_matches_the_reference_vector() {
    let sent = send(
        "standard-webhooks",
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        br#"{"test": 2432232314}"#,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
    )
    .unwrap();
    assert_eq!(sent.headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(sent.headers["webhook-timestamp"], "1614265330");
    assert_eq!(
        sent.headers["webhook-signature"],
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
    // The key is searched for in answers in each of its forms, and as the text that it would be in JSON.
    assert_eq!(sent.needles.len(), 4);
    let (key, text) = (&sent.needles[2], &sent.needles[3]);
    let chars: Vec<u8> = std::str::from_utf8(text)
        .unwrap()
        .chars()
        .map(|c| u8::try_from(c).unwrap())
        .collect();
    assert_eq!(chars, ***key);
}

#[test]
fn a_credential_that_does_not_fit_its_slot_is_refused() {
    let check = |slot: &str, secret: &[u8], expected: RefusalCode| {
        assert_eq!(send(slot, secret, b"", "id", 0).err(), Some(expected), "{slot}");
    };
    check("bearer", b"token\n", RefusalCode::CredentialUnusable);
    check("header x-key", b"a\r\nhost: evil", RefusalCode::CredentialUnusable);
    check("basic", b"no-colon", RefusalCode::CredentialUnusable);
    check(
        "standard-webhooks",
        b"whsec_not base64",
        RefusalCode::CredentialUnusable,
    );
    check("standard-webhooks", b"whsec_", RefusalCode::CredentialUnusable);
    check("oauth2 read", b"token", RefusalCode::CredentialKindNotSupported);
}
