use super::*;

#[test]
fn a_base_url_names_a_place_and_nothing_else() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(
            text.parse::<BaseUrl>().ok().as_ref().map(BaseUrl::as_str),
            expected,
            "{text}"
        );
    };
    check("https://slack.com/api/", Some("https://slack.com/api"));
    check("HTTP://LOCALHOST:80", Some("http://localhost"));
    check("https://user@host", None);
    check("https://host?x", None);
    check("https://host#x", None);
    check("ftp://host", None);
    check("host/path", None);
    check("", None);
}

#[test]
fn a_policy_out_of_bounds_names_every_value() {
    assert_eq!(Policy::default().problems(), Vec::<String>::new());
    let bad = Policy {
        concurrency: 0,
        deadline_ms: 99,
        ..Policy::default()
    };
    assert_eq!(bad.problems().len(), 2);
    assert!(
        Policy {
            deadline_ms: 100,
            ..Policy::default()
        }
        .problems()
        .is_empty()
    );
}

#[test]
fn a_credential_that_holds_tokens_has_no_other_use() {
    let check = |change: &dyn Fn(&mut ConnectionSpec), expected: usize| {
        let mut spec: ConnectionSpec = serde_json::from_str(
            r#"{"name":"c","connector":"x","upstreams":{
                "a":{"base_url":"https://a.test","credential":"tokens","attach":"oauth2 r","oauth2":{
                    "grant":"client-credentials","token_url":"https://as.test/t","client_id":"us","client_secret":"app"}},
                "b":{"base_url":"https://b.test","credential":"key","attach":"bearer"}}}"#,
        )
        .unwrap();
        change(&mut spec);
        let found = spec.oauth2_problems();
        assert_eq!(found.len(), expected, "{found:?}");
    };
    fn upstream<'a>(spec: &'a mut ConnectionSpec, name: &str) -> &'a mut UpstreamGrant {
        spec.upstreams.get_mut(&name.parse().unwrap()).unwrap()
    }
    check(&|_| {}, 0);
    check(
        &|spec| upstream(spec, "b").credential = Some("tokens".parse().unwrap()),
        1,
    );
    check(&|spec| upstream(spec, "a").credential = Some("app".parse().unwrap()), 1);
    check(&|spec| upstream(spec, "a").credential = None, 1);
    check(&|spec| upstream(spec, "a").attach = Some(CredentialSlot::Bearer), 1);
    check(&|spec| upstream(spec, "a").attach = None, 0);
    let one_consent = |spec: &mut ConnectionSpec| {
        let whole = upstream(spec, "a").clone();
        *upstream(spec, "b") = whole;
    };
    check(&one_consent, 0);
    check(
        &|spec| {
            one_consent(spec);
            upstream(spec, "b").oauth2.as_mut().unwrap().client_id = "them".to_owned();
        },
        2,
    );
    check(
        &|spec| {
            spec.inbound = Some(InboundGrant {
                scheme: InboundScheme::Github,
                credential: "tokens".parse().unwrap(),
                dedupe_window_hours: None,
            });
        },
        1,
    );
}
