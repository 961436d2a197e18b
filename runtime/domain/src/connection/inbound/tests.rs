use super::*;

fn grant(json: &str) -> InboundGrant {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn check(json: &str, expected: &[&str]) {
    let problems = grant(json).problems();
    assert_eq!(problems.len(), expected.len(), "{json}: {problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{json}: {problem:?} lacks {expected:?}");
    }
}

#[test]
fn every_scheme_is_granted_by_what_it_needs_and_says_what_is_missing() {
    let plain = [
        "github",
        "standard-webhooks",
        "slack",
        "stripe",
        "shopify",
        "basic",
        "bearer",
    ];
    for scheme in plain {
        check(&format!(r#"{{"scheme": "{scheme}", "credential": "s"}}"#), &[]);
        check(&format!(r#"{{"scheme": "{scheme}"}}"#), &["needs a credential"]);
    }
    check(r#"{"scheme": "none"}"#, &[]);
    check(
        r#"{"scheme": "none", "credential": "s"}"#,
        &["anybody who knows the address may send"],
    );
    check(
        r#"{"scheme": "twilio", "credential": "s", "external_url": "https://h.example/hooks/t"}"#,
        &[],
    );
    check(
        r#"{"scheme": "twilio"}"#,
        &["needs a credential", "inbound.scheme twilio needs an external_url"],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s"}"#,
        &["inbound.scheme hmac needs to know"],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s", "signature": {"header": "x-sig"}}"#,
        &[],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s", "signature": {"header": "x-sig", "template": "{url}{body}"}}"#,
        &["inbound.signature.template has {url}"],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s", "signature": {"header": "x-sig", "template": "{timestamp}{body}"}}"#,
        &["inbound.signature.template has {timestamp}, so timestamp_header"],
    );
    check(
        r#"{"scheme": "bearer", "credential": "s", "header": "X-Gitlab-Token"}"#,
        &[],
    );
    check(
        r#"{"scheme": "bearer", "credential": "s", "header": "Authorization"}"#,
        &["leave it out"],
    );
}

#[test]
fn a_field_of_another_scheme_is_refused_because_it_would_be_ignored() {
    check(
        r#"{"scheme": "github", "credential": "s", "external_url": "https://h.example/"}"#,
        &["inbound.external_url"],
    );
    check(
        r#"{"scheme": "github", "credential": "s", "header": "x-sig"}"#,
        &["inbound.header belongs to scheme bearer"],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s", "header": "x-sig", "signature": {"header": "x-sig"}}"#,
        &["under [inbound.signature]"],
    );
    check(
        r#"{"scheme": "github", "credential": "s", "signature": {"header": "x-sig"}}"#,
        &["inbound.signature belongs to scheme hmac"],
    );
    check(
        r#"{"scheme": "stripe", "credential": "s", "tolerance_s": 600}"#,
        &["inbound.tolerance_s belongs"],
    );
    check(
        r#"{"scheme": "hmac", "credential": "s", "tolerance_s": 600, "signature": {"header": "x-sig"}}"#,
        &["inbound.tolerance_s belongs"],
    );
    for unknown in [
        r#"{"scheme": "github", "credential": "s", "secret": "s"}"#,
        r#"{"scheme": "hmac-md5", "credential": "s"}"#,
        r#"{"credential": "s"}"#,
    ] {
        assert!(serde_json::from_str::<InboundGrant>(unknown).is_err(), "{unknown}");
    }
}

#[test]
fn a_tolerance_and_a_window_have_two_ends() {
    let timed = |tolerance: u32| {
        format!(
            r#"{{"scheme": "hmac", "credential": "s", "tolerance_s": {tolerance}, "signature":
            {{"header": "x-sig", "template": "{{timestamp}}.{{body}}", "timestamp_header": "x-time"}}}}"#
        )
    };
    for (tolerance, good) in [(0, false), (1, true), (3_600, true), (3_601, false)] {
        assert_eq!(grant(&timed(tolerance)).problems().is_empty(), good, "{tolerance}");
    }
    assert_eq!(grant(&timed(7)).tolerance(), Duration::from_secs(7));
    for (hours, good) in [(0, false), (1, true), (720, true), (721, false)] {
        let json = format!(r#"{{"scheme": "github", "credential": "s", "dedupe_window_hours": {hours}}}"#);
        assert_eq!(grant(&json).problems().is_empty(), good, "{hours}");
    }
    let defaults = grant(r#"{"scheme": "github", "credential": "s"}"#);
    assert_eq!(defaults.tolerance(), Duration::from_secs(300));
    assert_eq!(defaults.dedupe_window(), DEDUPE_WINDOW);
}

#[test]
fn schemes_have_one_name_in_files_and_in_words() {
    for scheme in InboundScheme::ALL {
        assert_eq!(serde_json::to_value(scheme).unwrap(), scheme.as_str());
        assert_eq!(InboundScheme::of_contract(scheme.as_str()), Some(scheme));
        assert!(!scheme.in_words().is_empty() && !scheme.secret().is_empty());
    }
    assert_eq!(InboundScheme::of_contract("hmac-sha256"), Some(InboundScheme::Hmac));
    assert_eq!(InboundScheme::of_contract("hmac-md5"), None);
}

#[test]
fn a_grant_that_was_stored_before_is_still_read() {
    let old = grant(r#"{"scheme": "github", "credential": "webhook-secret"}"#);
    assert_eq!(
        old,
        InboundGrant::new(InboundScheme::Github, Some("webhook-secret".parse().unwrap()))
    );
    assert_eq!(
        serde_json::to_string(&old).unwrap(),
        r#"{"scheme":"github","credential":"webhook-secret"}"#
    );
}
