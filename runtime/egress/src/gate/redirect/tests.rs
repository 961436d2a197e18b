use bytes::Bytes;

use super::*;

fn route(redirects: u8, origins: &[&str]) -> Route {
    Route {
        base_url: "https://api.test/v1".parse().unwrap(),
        methods: Vec::new(),
        path_prefixes: Vec::new(),
        slot: CredentialSlot::Bearer,
        credential: None,
        networks: Vec::new(),
        redirects,
        redirect_origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        tls: UpstreamTls::default(),
    }
}

fn leg(method: &str) -> Leg {
    Leg::first(GuestRequest {
        method: method.to_owned(),
        path: "/a/b".to_owned(),
        headers: vec![
            ("Content-Type".to_owned(), b"text/plain".to_vec()),
            ("Accept".to_owned(), b"*/*".to_vec()),
        ],
        body: "body".into(),
        ..GuestRequest::default()
    })
}

fn answer(leg: Leg, at: &str, status: u16, locations: &[&[u8]], route: &Route) -> Next {
    let response = GuestResponse {
        status,
        headers: locations
            .iter()
            .map(|location| ("location".to_owned(), location.to_vec()))
            .collect(),
        body: "moved".into(),
    };
    let arrived = Arrived {
        method: leg.request.method.parse().unwrap(),
        url: at.parse().unwrap(),
        message_id: "id".to_owned(),
        response: &response,
        location_reflected: false,
    };
    leg.next(route, arrived)
}

/// Where a GET of `https://api.test/v1/a/b` is led: `base PATH?QUERY`, `ORIGIN PATH`, or the refusal's code.
fn led(location: &str) -> String {
    let route = route(3, &["https://objects.test", "https://objects.test:8443"]);
    match answer(
        leg("GET"),
        "https://api.test/v1/a/b?q=1",
        302,
        &[location.as_bytes()],
        &route,
    ) {
        Next::Done => "done".to_owned(),
        Next::Stop(refusal) => refusal.code().to_owned(),
        Next::Follow(leg) => {
            let origin = leg
                .origin
                .map_or_else(|| "base".to_owned(), |origin| origin.to_string());
            let query = leg.request.query.map_or_else(String::new, |query| format!("?{query}"));
            format!("{origin} {}{query}", leg.request.path)
        }
    }
}

#[test]
fn a_location_leads_below_the_base_url_to_a_listed_origin_or_nowhere() {
    let check = |location: &str, expected: &str| assert_eq!(led(location), expected, "{location:?}");
    check("/v1/c", "base /c");
    check("c?x=%20", "base /a/c?x=%20");
    check("?page=2", "base /a/b?page=2");
    check("../c#fragment", "base /c");
    check("//api.test/v1/c", "base /c");
    check("https://API.test:443/v1/c", "base /c");
    check("https://api.test/v1", "base ");
    check(
        "https://objects.test/any/where?sig=1",
        "https://objects.test /any/where?sig=1",
    );
    check("https://objects.test:8443", "https://objects.test:8443 /");
    // Beside the base URL is outside of it, on the same host too.
    for location in [
        "/v2/c",
        "/v1c",
        "/",
        "../../x",
        "%2e%2e/%2e%2e/%2e%2e/x",
        "https://api.test:8443/v1/c",
        "https://api.test.evil.test/v1/c",
        "https://evil.test/v1/c",
        "//evil.test/v1/c",
        "\\\\evil.test\\v1",
        "https://objects.test:444/x",
        "https://sub.objects.test/x",
        "https://objects.test./x",
        // From https to http, never, listed or not.
        "http://api.test/v1/c",
        "http://objects.test/x",
        // With a user, who would be a credential.
        "https://user@objects.test/x",
        "https://api.test:pw@api.test/v1/c",
        "https://objects.test@evil.test/x",
        // No HTTP.
        "ftp://objects.test/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/plain,x",
        "https:///",
        "https://",
        "https://[::1",
        "https://127.1/x",
        "https://0x7f.1/x",
        "https://2130706433/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/x",
        // No URL as HTTP writes it.
        "",
        "/v1/a b",
        "/v1/\u{e9}",
        "/v1/\tc",
    ] {
        let led = led(location);
        assert!(
            led == "redirect-not-allowed" || (location.is_empty() && led == "too-many-redirects"),
            "{location:?}: {led}"
        );
    }
    check(
        &format!("/v1/{}", "x".repeat(LOCATION_BYTES_MAX)),
        "redirect-not-allowed",
    );
}

#[test]
fn only_redirects_that_say_where_are_followed_and_only_if_granted() {
    let check = |status: u16, locations: &[&[u8]], redirects: u8, done: bool| {
        let next = answer(
            leg("GET"),
            "https://api.test/v1/a/b",
            status,
            locations,
            &route(redirects, &[]),
        );
        assert_eq!(matches!(next, Next::Done), done, "{status} {locations:?} {redirects}");
        assert_eq!(
            matches!(next, Next::Follow(_)),
            !done,
            "{status} {locations:?} {redirects}"
        );
    };
    for status in [301, 302, 303, 307, 308] {
        check(status, &[b"/v1/c"], 1, false);
        check(status, &[b"/v1/c"], 0, true);
        check(status, &[], 1, true);
    }
    for status in [200, 201, 300, 304, 305, 306, 309, 399, 400] {
        check(status, &[b"/v1/c"], 1, true);
    }
    let two = answer(
        leg("GET"),
        "https://api.test/v1/a/b",
        302,
        &[b"/v1/c", b"/v1/d"],
        &route(1, &[]),
    );
    assert!(matches!(two, Next::Stop(refusal) if refusal.code == RefusalCode::RedirectNotAllowed));
}

#[test]
fn the_method_becomes_another_where_the_rfc_says_so() {
    let check = |sent: &str, status: u16, expected: Option<(&str, bool)>| {
        let next = answer(
            leg(sent),
            "https://api.test/v1/a/b",
            status,
            &[b"/v1/c"],
            &route(1, &[]),
        );
        let Some((method, whole)) = expected else {
            assert!(matches!(next, Next::Stop(_)), "{sent} {status}");
            return;
        };
        let Next::Follow(next) = next else {
            panic!("{sent} {status} is not followed");
        };
        let names: Vec<_> = next.request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(next.request.method, method, "{sent} {status}");
        assert_eq!(next.request.body.is_empty(), !whole, "{sent} {status}");
        let kept: &[&str] = if whole {
            &["Content-Type", "Accept"]
        } else {
            &["Accept"]
        };
        assert_eq!(names, kept, "{sent} {status}");
        assert_eq!(next.message_id.as_deref(), Some("id"));
    };
    for status in [301, 302] {
        check("GET", status, Some(("GET", true)));
        check("HEAD", status, Some(("HEAD", true)));
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            check(method, status, None);
        }
    }
    check("GET", 303, Some(("GET", true)));
    check("HEAD", 303, Some(("HEAD", true)));
    for method in ["POST", "PUT", "DELETE"] {
        check(method, 303, Some(("GET", false)));
        check(method, 307, Some((method, true)));
        check(method, 308, Some((method, true)));
    }
}

#[test]
fn an_answer_that_stands_for_a_change_is_remembered() {
    for (method, status, changed) in [
        ("POST", 303, true),
        ("DELETE", 303, true),
        ("POST", 307, false),
        ("GET", 303, false),
    ] {
        let next = answer(
            leg(method),
            "https://api.test/v1/a/b",
            status,
            &[b"/v1/c"],
            &route(1, &[]),
        );
        assert!(
            matches!(next, Next::Follow(next) if next.after_change == changed),
            "{method} {status}"
        );
    }
}

#[test]
fn redirects_end_at_their_number_and_in_a_circle() {
    let route = route(2, &[]);
    let follow = |next: Next| match next {
        Next::Follow(leg) => *leg,
        Next::Done | Next::Stop(_) => panic!("is not followed"),
    };
    let stopped = |next: Next| match next {
        Next::Stop(refusal) => refusal,
        Next::Done | Next::Follow(_) => panic!("is not stopped"),
    };
    let second = follow(answer(leg("GET"), "https://api.test/v1/1", 302, &[b"/v1/2"], &route));
    let third = follow(answer(second, "https://api.test/v1/2", 302, &[b"/v1/3"], &route));
    let over = stopped(answer(third, "https://api.test/v1/3", 302, &[b"/v1/4"], &route));
    assert_eq!(over.code, RefusalCode::TooManyRedirects);

    let itself = stopped(answer(leg("GET"), "https://api.test/v1/1", 302, &[b"/v1/1"], &route));
    assert_eq!(itself.code, RefusalCode::TooManyRedirects);
    let second = follow(answer(leg("GET"), "https://api.test/v1/1", 302, &[b"/v1/2"], &route));
    let circle = stopped(answer(second, "https://api.test/v1/2", 302, &[b"/v1/1#again"], &route));
    assert!(circle.message.contains("circle"), "{circle}");
    // Another method is another request: after a change its outcome may be read at the same place.
    follow(answer(leg("POST"), "https://api.test/v1/1", 303, &[b"/v1/1"], &route));
}

#[test]
fn a_leg_to_another_origin_has_nothing_to_show_and_the_rest_of_the_rules() {
    let mut route = route(1, &["https://objects.test"]);
    route.credential = Some("token".parse().unwrap());
    route.methods = vec!["GET".to_owned()];
    route.path_prefixes = vec!["/a".to_owned()];
    route.tls.client_certificate = Some("cert".parse().unwrap());
    route.tls.ca = Some("pem".to_owned());
    let own = leg("GET");
    assert_eq!(*own.route(&route), route);
    let away = match answer(
        own,
        "https://api.test/v1/a/b",
        302,
        &[b"https://objects.test/x"],
        &route,
    ) {
        Next::Follow(leg) => leg,
        Next::Done | Next::Stop(_) => panic!("is not followed"),
    };
    let there = away.route(&route).into_owned();
    assert_eq!(there.base_url.as_str(), "https://objects.test");
    assert_eq!((there.slot, there.credential), (CredentialSlot::None, None));
    assert_eq!(
        (there.tls.client_certificate, there.tls.ca.as_deref()),
        (None, Some("pem"))
    );
    assert_eq!(there.methods, ["GET"]);
    assert_eq!(there.path_prefixes, Vec::<String>::new());
}

#[test]
fn who_is_no_part_of_the_upstream_does_not_send_its_credential_anywhere() {
    let route = route(3, &["https://objects.test", "https://more.test"]);
    let away = || match answer(
        leg("GET"),
        "https://api.test/v1/a",
        302,
        &[b"https://objects.test/x"],
        &route,
    ) {
        Next::Follow(leg) => *leg,
        Next::Done | Next::Stop(_) => panic!("is not followed"),
    };
    let back = answer(
        away(),
        "https://objects.test/x",
        302,
        &[b"https://api.test/v1/b"],
        &route,
    );
    assert!(matches!(back, Next::Stop(refusal) if refusal.code == RefusalCode::RedirectNotAllowed));
    let on = answer(away(), "https://objects.test/x", 302, &[b"https://more.test/y"], &route);
    assert!(matches!(on, Next::Follow(leg) if leg.origin.is_some()));
    let within = answer(away(), "https://objects.test/x", 302, &[b"/y"], &route);
    assert!(matches!(within, Next::Follow(leg) if leg.origin.is_some() && leg.request.path == "/y"));
}

#[test]
fn a_location_with_the_credential_in_it_is_not_followed() {
    let route = route(1, &["https://evil.test"]);
    let response = GuestResponse {
        status: 302,
        headers: vec![("location".to_owned(), b"https://evil.test/?[redacted]".to_vec())],
        body: Bytes::new(),
    };
    let arrived = Arrived {
        method: Method::GET,
        url: "https://api.test/v1/a/b".parse().unwrap(),
        message_id: String::new(),
        response: &response,
        location_reflected: true,
    };
    assert!(matches!(leg("GET").next(&route, arrived), Next::Stop(refusal) if refusal.message.contains("credential")));
}
