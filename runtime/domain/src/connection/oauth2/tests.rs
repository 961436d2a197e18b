use super::*;

fn grant(kind: &str) -> OAuth2Grant {
    let authorize = if kind == "authorization-code" {
        r#""authorize_url":"https://as.test/authorize","#
    } else {
        ""
    };
    serde_json::from_str(&format!(
        r#"{{"grant":"{kind}","token_url":"https://as.test/token",{authorize}"client_id":"us","client_secret":"app"}}"#
    ))
    .unwrap()
}

#[test]
fn an_endpoint_is_https_or_on_this_machine() {
    for (text, good) in [
        ("https://as.test/token", true),
        ("https://as.test/token?tenant=1", true),
        ("http://127.0.0.1:8080/token", true),
        ("http://[::1]/token", true),
        ("http://localhost:1/token", true),
        ("http://as.test/token", false),
        ("http://localhost.as.test/token", false),
        ("http://10.0.0.1/token", false),
        ("http://127.0.0.1.as.test/token", false),
        ("ftp://as.test/token", false),
        ("https://user@as.test/token", false),
        ("https://as.test/token#x", false),
        ("/token", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<EndpointUrl>().is_ok(), good, "{text}");
    }
    let long = |bytes: usize| format!("https://as.test/{}", "x".repeat(bytes - "https://as.test/".len()));
    assert!(long(URL_BYTES_MAX).parse::<EndpointUrl>().is_ok());
    assert!(long(URL_BYTES_MAX + 1).parse::<EndpointUrl>().is_err());
}

#[test]
fn what_does_not_fit_the_grant_is_named() {
    let check = |kind: &str, change: &dyn Fn(&mut OAuth2Grant), expected: Option<&str>| {
        let mut grant = grant(kind);
        change(&mut grant);
        let found = grant.problems("upstreams.x.oauth2");
        let expected: Vec<_> = expected
            .map(|key| format!("upstreams.x.oauth2.{key}"))
            .into_iter()
            .collect();
        let keys: Vec<_> = found
            .iter()
            .map(|text| text.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(keys, expected, "{found:?}");
    };
    let (own, person) = ("client-credentials", "authorization-code");
    check(own, &|_| {}, None);
    check(person, &|_| {}, None);
    check(person, &|grant| grant.client_secret = None, None);
    check(own, &|grant| grant.client_secret = None, Some("client_secret"));
    check(person, &|grant| grant.authorize_url = None, Some("authorize_url"));
    check(
        own,
        &|grant| grant.authorize_url = Some("https://as.test/a".parse().unwrap()),
        Some("authorize_url"),
    );
    check(
        own,
        &|grant| grant.issuer = Some("https://as.test".into()),
        Some("issuer"),
    );
    check(own, &|grant| grant.client_id.clear(), Some("client_id"));
    check(own, &|grant| grant.client_id = "a\nb".into(), Some("client_id"));
    for (bytes, problem) in [
        (OAUTH2_VALUE_BYTES_MAX, None),
        (OAUTH2_VALUE_BYTES_MAX + 1, Some("audience")),
    ] {
        check(own, &|grant| grant.audience = Some("x".repeat(bytes)), problem);
    }
    for (scope, good) in [
        ("read:all", true),
        ("https://x/.default", true),
        ("a b", false),
        ("", false),
        ("a\"", false),
    ] {
        let problem = (!good).then_some("scopes");
        check(own, &|grant| grant.scopes = Some(vec![scope.to_owned()]), problem);
    }
    for (count, problem) in [(OAUTH2_SCOPES_MAX, None), (OAUTH2_SCOPES_MAX + 1, Some("scopes"))] {
        check(own, &|grant| grant.scopes = Some(vec!["s".to_owned(); count]), problem);
    }
    for name in RESERVED {
        let parameter = [(name.to_owned(), "x".to_owned())];
        check(
            own,
            &|grant| grant.token_parameters = parameter.clone().into(),
            Some("token_parameters"),
        );
    }
    for (name, value, good) in [
        ("resource", "https://api.test", true),
        ("access_type", "offline", true),
        ("", "x", false),
        ("a b", "x", false),
        ("a", "", false),
        ("a", "é", false),
    ] {
        let parameter = [(name.to_owned(), value.to_owned())];
        check(
            person,
            &|grant| grant.authorize_parameters = parameter.clone().into(),
            (!good).then_some("authorize_parameters"),
        );
    }
    for (count, problem) in [
        (OAUTH2_PARAMETERS_MAX, None),
        (OAUTH2_PARAMETERS_MAX + 1, Some("token_parameters")),
    ] {
        check(
            own,
            &|grant| grant.token_parameters = (0..count).map(|nth| (format!("p{nth}"), "x".to_owned())).collect(),
            problem,
        );
    }
}

#[test]
fn tokens_are_bound_to_endpoint_and_client_and_to_nothing_that_may_change_meanwhile() {
    let original = grant("authorization-code");
    let check = |change: &dyn Fn(&mut OAuth2Grant), same: bool| {
        let mut changed = original.clone();
        change(&mut changed);
        assert_eq!(changed.bound_to() == original.bound_to(), same, "{changed:?}");
        assert_eq!(changed.asked() == original.asked(), changed == original, "{changed:?}");
    };
    check(&|_| {}, true);
    check(&|grant| grant.scopes = Some(vec!["more".to_owned()]), true);
    check(&|grant| grant.client_secret = None, true);
    check(&|grant| grant.client_id = "them".to_owned(), false);
    check(
        &|grant| grant.token_url = "https://evil.test/token".parse().unwrap(),
        false,
    );
    check(&|grant| grant.grant = OAuth2GrantKind::ClientCredentials, false);
}

#[test]
fn the_slot_names_the_scopes_unless_the_admin_does() {
    let slot: CredentialSlot = "oauth2 read write".parse().unwrap();
    assert_eq!(grant("client-credentials").for_slot(&slot).scopes(), ["read", "write"]);
    let mut own = grant("client-credentials");
    own.scopes = Some(Vec::new());
    assert_eq!(own.for_slot(&slot).scopes(), Vec::<String>::new().as_slice());
}
