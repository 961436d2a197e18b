use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;
use crate::gate::reflect::Scanner;

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

#[test]
fn extra_cas_are_checked_before_they_are_needed() {
    let (one, _) = authority();
    let (two, _) = authority();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let check = |pem: &str, problem: Option<&str>| {
        let tls = UpstreamTls {
            ca: Some(pem.to_owned()),
            ..UpstreamTls::default()
        };
        match (check_tls(&tls), problem) {
            (Ok(()), None) => {}
            (Err(error), Some(said)) => assert!(error.to_string().contains(said), "{error}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    };
    check(&one, None);
    check(&format!("# our CAs\n{one}\n{two}"), None);
    check("", Some("holds no certificate"));
    check("not PEM", Some("holds no certificate"));
    check(&format!("{one}{key}"), Some("private key"));
    check(&one[..one.len() / 2], Some("PEM"));
    check(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        Some("as certificate 1 what cannot be read"),
    );
    check(
        &format!("{one}-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"),
        Some("PEM"),
    );
    check(&one.repeat(CA_CERTIFICATES_MAX), None);
    check(&one.repeat(CA_CERTIFICATES_MAX + 1), Some("more than"));
    assert!(check_tls(&UpstreamTls::default()).is_ok());
}

#[test]
fn only_the_added_cas_are_trusted_where_an_admin_says_so() {
    let base = TlsBase::new().unwrap();
    let (ca, _) = authority();
    let trust = |ca_only| {
        let tls = UpstreamTls {
            ca: Some(ca.clone()),
            ca_only,
            client_certificate: None,
        };
        base.trust(&tls).unwrap()
    };
    assert_eq!(trust(false).platform.is_some(), base.platform.is_some());
    assert!(trust(true).platform.is_none() && trust(true).extra.is_some());
    assert!(base.trust(&UpstreamTls::default()).unwrap().extra.is_none());
}

#[test]
fn a_client_certificate_is_a_chain_and_its_key_in_any_order_and_of_any_usual_kind() {
    let (ca, issuer) = authority();
    for key in [
        KeyPair::generate().unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    ] {
        let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let key = key.serialize_pem();
        for pem in [
            format!("{certificate}{ca}{key}"),
            format!("{key}{certificate}"),
            format!("{certificate}{key}").replace('\n', "\r\n"),
        ] {
            Identity::read(&secret(&pem)).unwrap();
        }
    }
}

#[test]
fn a_client_certificate_that_cannot_be_used_says_why_and_nothing_of_itself() {
    let (_, issuer) = authority();
    let key = KeyPair::generate().unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let key = key.serialize_pem();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (pem, said) in [
        ("x".to_owned(), "no certificate"),
        (key.clone(), "no certificate"),
        (certificate.clone(), "no private key"),
        (format!("{certificate}{encrypted}"), "not encrypted"),
        (format!("{certificate}{other}"), "not the first certificate's"),
        (
            format!("{}{key}", certificate.repeat(CHAIN_CERTIFICATES_MAX + 1)),
            "too many",
        ),
        (
            format!("{certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "kind",
        ),
        (
            format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{key}"),
            "cannot be read",
        ),
    ] {
        let refusal = Identity::read(&secret(&pem)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::CredentialUnusable);
        assert!(refusal.message.contains(said), "{said}: {refusal}");
        assert!(!key.lines().any(|line| refusal.message.contains(line)), "{refusal}");
    }
}

#[test]
fn every_line_of_a_private_key_is_looked_for_and_no_line_of_a_certificate() {
    let (_, issuer) = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let key = key.serialize_pem();
    let identity = Identity::read(&secret(&format!("{certificate}{key}"))).unwrap();
    assert_eq!(format!("{identity:?}"), "Identity");
    let scanner = Scanner::new([identity.patterns.clone()]).unwrap();
    let found = |text: &str| scanner.redact(text.to_owned().into()).1;
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        assert_eq!(found(line), line.len() >= KEY_LINE_BYTES_MIN, "{line}");
    }
    assert!(found(&serde_json::to_string(&key).unwrap()));
    assert!(found(&data_encoding::BASE64.encode(key.as_bytes())));
    assert!(found(&data_encoding::HEXLOWER.encode(key.as_bytes())));
    assert!(!found(&certificate));
    let short = b"-----BEGIN PRIVATE KEY-----\nAAAABBBB\nCCCC\n-----END PRIVATE KEY-----\n";
    assert_eq!(
        key_lines(short).iter().map(|line| line.as_slice()).collect::<Vec<_>>(),
        [b"AAAABBBBCCCC"]
    );
}

#[test]
fn one_value_is_told_from_another() {
    assert_eq!(Fingerprint::of(&secret("a")), Fingerprint::of(&secret("a")));
    assert_ne!(Fingerprint::of(&secret("a")), Fingerprint::of(&secret("b")));
}
