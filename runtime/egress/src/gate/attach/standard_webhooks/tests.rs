use ring::signature::{ED25519, UnparsedPublicKey};

use crate::gate::attach::tests::send;
use crate::refusal::RefusalCode;

use super::*;

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
    let text = std::str::from_utf8(text).unwrap();
    let chars: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    assert_eq!(chars, ***key);
}
/// RFC 8032 section 7.1, test 1: the seed and its public key.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

#[test]
fn a_private_key_signs_by_ed25519_in_either_form() {
    let (seed, public) = (hex(SEED), hex(PUBLIC));
    for key in [seed.clone(), [seed.clone(), public.clone()].concat()] {
        let text = BASE64.encode(&key);
        let sent = send(
            "standard-webhooks",
            format!("whsk_{text}").as_bytes(),
            b"{}",
            "msg_1",
            1_614_265_330,
        )
        .unwrap();
        let signature = sent.headers["webhook-signature"].to_str().unwrap();
        let signature = BASE64
            .decode(signature.strip_prefix("v1a,").unwrap().as_bytes())
            .unwrap();
        UnparsedPublicKey::new(&ED25519, &public)
            .verify(b"msg_1.1614265330.{}", &signature)
            .unwrap();
        assert_eq!(sent.headers["webhook-timestamp"], "1614265330");
        for needle in [text.as_bytes(), &seed, &key] {
            assert!(sent.seeks(needle));
        }
    }
}

#[test]
fn a_private_key_that_is_none_is_refused_with_what_one_looks_like() {
    let (seed, public) = (hex(SEED), hex(PUBLIC));
    let foreign = [seed.clone(), seed.clone()].concat();
    for key in [
        "whsk_".to_owned(),
        "whsk_no base64".to_owned(),
        format!("whsk_{}", BASE64.encode(&seed[1..])),
        format!("whsk_{}", BASE64.encode(&[&seed[..], &public[1..]].concat())),
        // The public key is another pair's.
        format!("whsk_{}", BASE64.encode(&foreign)),
        format!("whpk_{}", BASE64.encode(&public)),
    ] {
        let refused = send("standard-webhooks", key.as_bytes(), b"", "id", 0).err();
        assert_eq!(refused, Some(RefusalCode::CredentialUnusable), "{key}");
    }
}
