use super::*;

#[test]
fn slots_survive_a_round_trip_through_text() {
    for text in [
        "none",
        "bearer",
        "basic",
        "header x-api-key",
        "header authorization token ",
        "query key",
        "oauth2",
        "oauth2 read write",
        "hmac-sha256 x-signature sha256=",
        "standard-webhooks",
        "hmac",
        "aws-sigv4 eu-central-1 s3",
        "aws-sigv4 us-gov-west-1 execute-api",
    ] {
        assert_eq!(text.parse::<CredentialSlot>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "Bearer",
        "bearer x",
        "header",
        "header a:b",
        "query",
        "query a b",
        "cookie",
        "hmac x-sig",
    ] {
        assert!(text.parse::<CredentialSlot>().is_err(), "{text}");
    }
}

fn check(slot: &str, expected: Result<(), Problem>) {
    for word in ["header", "hmac-sha256"] {
        let found = format!("{word} {slot}").parse::<CredentialSlot>();
        assert_eq!(
            found.map(|_| ()).map_err(|error| error.problem),
            expected,
            "{word} {slot}"
        );
    }
}

#[test]
fn no_credential_goes_where_only_the_host_writes() {
    let names = header::HOST_HEADERS.iter().copied();
    for name in names.chain([
        "proxy-authorization",
        "webhook-id",
        "webhook-anything",
        "idempotency-key",
    ]) {
        check(name, Err(Problem::HostHeader));
        check(&format!("{} x", name.to_uppercase()), Err(Problem::HostHeader));
        check(&name.replace('-', "_"), Err(Problem::HostHeader));
    }
    for name in ["x-host", "hosts", "webhooks", "x-proxy-key", "x_api_key"] {
        check(name, Ok(()));
    }
}

#[test]
fn authorization_takes_one_scheme_and_cookie_one_name() {
    let cases: [(&str, Result<(), Problem>); 14] = [
        ("authorization", Ok(())),
        ("Authorization token ", Ok(())),
        ("authorization token", Err(Problem::NotAScheme)),
        ("authorization token  ", Err(Problem::NotAScheme)),
        ("authorization a b ", Err(Problem::NotAScheme)),
        ("authorization  ", Err(Problem::NotAScheme)),
        ("authorization Digest username=\"x\", ", Err(Problem::NotAScheme)),
        ("cookie session=", Ok(())),
        ("Cookie session", Err(Problem::NotACookieName)),
        ("cookie", Err(Problem::NotACookieName)),
        ("cookie =", Err(Problem::NotACookieName)),
        ("cookie admin=1; session=", Err(Problem::NotACookieName)),
        ("cookie session==", Err(Problem::NotACookieName)),
        ("cookie session= ", Err(Problem::NotACookieName)),
    ];
    for (slot, expected) in cases {
        check(slot, expected);
    }
}

#[test]
fn a_prefix_is_short_and_visible() {
    let long = |len: usize| format!("x-key {}", "p".repeat(len));
    check(&long(PREFIX_BYTES_MAX), Ok(()));
    check(&long(PREFIX_BYTES_MAX + 1), Err(Problem::BadPrefix));
    check("x-key a b~=", Ok(()));
    for prefix in ["a\r\nhost: evil.test", "a\n", "a\t", "a\0", "a\x7f", "é"] {
        check(&format!("x-key {prefix}"), Err(Problem::BadPrefix));
    }
}

#[test]
fn an_aws_scope_is_a_region_and_a_service() {
    let check = |scope: &str, expected: Result<(), Problem>| {
        let found = format!("aws-sigv4{scope}").parse::<CredentialSlot>();
        assert_eq!(found.map(|_| ()).map_err(|error| error.problem), expected, "{scope:?}");
    };
    let long = "r".repeat(AWS_NAME_BYTES_MAX);
    check(&format!(" {long} s3"), Ok(()));
    check(&format!(" {long}r s3"), Err(Problem::NotAnAwsScope));
    check(&format!(" {long} {long}s"), Err(Problem::NotAnAwsScope));
    for scope in [
        "",
        " ",
        " s3",
        " eu-central-1 ",
        "  s3",
        " a b c",
        " a/b s3",
        " a s3\r\nx:",
        " a é",
    ] {
        check(scope, Err(Problem::NotAnAwsScope));
    }
}
