//! Redirects, hop by hop: where they lead, what they carry, and what is written down.

use cofferdam_domain::{CredentialSlot, ExchangeResult};

use super::upstream::Upstream;
use super::*;
use crate::refusal::RefusalCode;

/// A redirect, and whatever else a test wants of a head.
fn moved(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nmoved")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// A gate whose upstream `up` answers these paths, and follows two redirects.
async fn world(slot: &str, answers: &[(&str, String)]) -> (World, Upstream) {
    let upstream = Upstream::by_path(answers).await;
    let world = World::new(&upstream.url(), slot).route(|route| route.redirects = 2);
    (world, upstream)
}

fn code(exchange: &Exchange) -> Option<String> {
    match &exchange.result {
        ExchangeResult::Refused { code, .. } => Some(code.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_hop_below_the_base_url_carries_the_credential_and_is_an_exchange_of_its_own() {
    let (world, upstream) = world(
        "bearer",
        &[("/ok", moved(302, "/ok/there?x=1")), ("/ok/there", OK.to_owned())],
    )
    .await;
    let response = world.send(get()).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
    let sent = upstream.requests();
    assert_eq!(sent.len(), 2);
    assert!(sent[1].starts_with("GET /ok/there?x=1 HTTP/1.1\r\n"), "{}", sent[1]);
    for sent in &sent {
        assert!(sent.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{sent}");
    }
    let trail = world.passport.trail.exchanges();
    let statuses: Vec<_> = trail
        .iter()
        .map(|exchange| match exchange.result {
            ExchangeResult::Answered { status, .. } => status,
            _ => 0,
        })
        .collect();
    assert_eq!(statuses, [302, 200]);
    assert_ne!(trail[0].trace.span_id(), trail[1].trace.span_id());
    assert_ne!(trail[0].path_hash, trail[1].path_hash);
    assert_eq!(trail[1].path_prefix, "/ok");
    assert_eq!(trail[1].credential.as_deref(), Some("bearer"));
}

#[tokio::test]
async fn a_hop_to_a_listed_origin_carries_no_credential_of_any_kind() {
    for slot in [
        "bearer",
        "basic",
        "header x-api-key",
        "query key",
        "standard-webhooks",
        "hmac-sha256 x-signature",
    ] {
        let objects = Upstream::answering(OK).await;
        let (world, upstream) = world(
            slot,
            &[("/ok", moved(307, &format!("{}/any/path?sig=2", objects.url())))],
        )
        .await;
        let world = world.route(|route| {
            route.redirect_origins = vec![objects.url().parse().unwrap()];
            if slot == "basic" {
                route.credential = Some("basic".parse().unwrap());
            }
            if slot == "standard-webhooks" {
                route.credential = Some("webhook".parse().unwrap());
            }
        });
        world.credentials.set("webhook", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=");
        let request = GuestRequest {
            headers: vec![("x-app".to_owned(), b"1".to_vec())],
            ..post("the body")
        };
        assert_eq!(world.send(request).await.unwrap().status, 200, "{slot}");
        let reads = world.reads();
        let sent = objects.requests().pop().unwrap();
        assert!(sent.starts_with("POST /any/path?sig=2 HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("x-app: 1") && sent.ends_with("the body"), "{sent}");
        let lower = sent.to_lowercase();
        for carried in [
            "authorization",
            "x-api-key",
            "key=",
            "webhook-signature",
            "x-signature",
            "xoxb",
        ] {
            assert!(!lower.contains(carried), "{slot}: {sent}");
        }
        assert_eq!(reads, 1, "the hop does not even read it");
        let hop = world.last();
        assert_eq!(hop.credential, None);
        assert_eq!(hop.path_prefix, format!("{}/", objects.url()));
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_hop_that_may_not_be_taken_gives_the_guest_the_redirect_and_the_trail_the_reason() {
    let elsewhere = Upstream::answering(OK).await;
    let url = elsewhere.url();
    for (location, slot, expected) in [
        (format!("{url}/ok"), "bearer", RefusalCode::RedirectNotAllowed),
        (
            "http://169.254.169.254/latest".to_owned(),
            "none",
            RefusalCode::RedirectNotAllowed,
        ),
        ("http://0x7f.1/ok".to_owned(), "none", RefusalCode::RedirectNotAllowed),
        ("gopher://x/".to_owned(), "none", RefusalCode::RedirectNotAllowed),
        // Below the base URL, and still judged by every rule.
        ("/secret".to_owned(), "bearer", RefusalCode::PathNotGranted),
        ("/ok//double".to_owned(), "bearer", RefusalCode::BadPath),
        ("/ok/%252e%252e/x".to_owned(), "bearer", RefusalCode::BadPath),
        ("/ok?key=mine".to_owned(), "query key", RefusalCode::CredentialSlotTaken),
        ("/ok".to_owned(), "bearer", RefusalCode::TooManyRedirects),
    ] {
        let (world, upstream) = world(slot, &[("/ok", moved(302, &location))]).await;
        let response = world.send(get()).await.unwrap();
        assert_eq!(
            (response.status, &response.body[..]),
            (302, &b"moved"[..]),
            "{location}"
        );
        let trail = world.passport.trail.exchanges();
        assert_eq!(trail.len(), 2, "{location}");
        assert_eq!(code(&trail[1]).as_deref(), Some(expected.code()), "{location}");
        assert_eq!(
            (trail[1].credential.as_deref(), trail[1].address),
            (None, None),
            "{location}"
        );
        assert_eq!(upstream.requests().len(), 1, "{location}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_hop_to_a_listed_origin_passes_the_network_check_again() {
    let objects = Upstream::answering(OK).await;
    let names = Names {
        known: [
            ("objects.test", vec![objects.address]),
            ("inside.test", vec!["10.0.0.1:80".parse().unwrap()]),
        ]
        .into(),
        ..Names::default()
    };
    let upstream = Upstream::by_path(&[
        (
            "/ok",
            moved(302, &format!("http://objects.test:{}/x", objects.address.port())),
        ),
        ("/ok/in", moved(302, "http://inside.test/x")),
        ("/ok/own", moved(302, "http://own.test/x")),
    ])
    .await;
    let world = World::with(&upstream.url(), "none", names, Vec::new()).route(|route| {
        route.redirects = 1;
        let origins = [
            format!("http://objects.test:{}", objects.address.port()),
            "http://inside.test".to_owned(),
        ];
        route.redirect_origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    });
    assert_eq!(world.send(get()).await.unwrap().status, 200);
    assert_eq!(world.last().address, Some(objects.address));
    let request = GuestRequest {
        path: "/ok/in".to_owned(),
        ..get()
    };
    assert_eq!(world.send(request).await.unwrap().status, 302);
    assert_eq!(code(&world.last()).as_deref(), Some("address-blocked"));
}

#[tokio::test]
async fn the_method_of_a_hop_must_be_granted_too() {
    let (world, upstream) = world(
        "bearer",
        &[("/ok", moved(303, "/ok/result")), ("/ok/result", OK.to_owned())],
    )
    .await;
    let world = world.route(|route| route.methods = vec!["POST".to_owned()]);
    assert_eq!(world.send(post("x")).await.unwrap().status, 303);
    assert_eq!(code(&world.last()).as_deref(), Some("method-not-granted"));
    assert_eq!(upstream.requests().len(), 1);

    let world = world.route(|route| route.methods = vec!["POST".to_owned(), "GET".to_owned()]);
    assert_eq!(world.send(post("x")).await.unwrap().status, 200);
    let sent = upstream.requests().pop().unwrap();
    assert!(sent.starts_with("GET /ok/result HTTP/1.1\r\n"), "{sent}");
    assert!(
        !sent.contains("idempotency-key") && !sent.contains("content-length"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_repeated_change_keeps_its_idempotency_key_and_is_no_change_of_its_own() {
    let (world, upstream) = world(
        "none",
        &[("/ok", moved(308, "/ok/there")), ("/ok/there", OK.to_owned())],
    )
    .await;
    for (body, key) in [("a", "key"), ("b", "key-2")] {
        world.send(post(body)).await.unwrap();
        for sent in upstream.requests().iter().rev().take(2) {
            assert!(sent.contains(&format!("idempotency-key: {key}\r\n")), "{sent}");
        }
    }
}

#[tokio::test]
async fn redirects_stop_at_the_granted_number() {
    let answers: Vec<(String, String)> = (0..5)
        .map(|nth| {
            let path = if nth == 0 {
                "/ok".to_owned()
            } else {
                format!("/ok/{nth}")
            };
            (path, moved(302, &format!("/ok/{}", nth + 1)))
        })
        .collect();
    let answers: Vec<_> = answers
        .iter()
        .map(|(path, answer)| (path.as_str(), answer.clone()))
        .collect();
    for redirects in 0..4_u8 {
        let (world, upstream) = world("none", &answers).await;
        let world = world.route(|route| route.redirects = redirects);
        assert_eq!(world.send(get()).await.unwrap().status, 302);
        assert_eq!(upstream.requests().len(), usize::from(redirects) + 1);
        let last = code(&world.last());
        // Where none is followed there is nothing that was refused.
        assert_eq!(last.as_deref(), (redirects > 0).then_some("too-many-redirects"));
    }
}

#[tokio::test]
async fn a_credential_in_a_location_goes_nowhere() {
    let evil = Upstream::answering(OK).await;
    let lower = SECRET.to_lowercase().replace(['/', '+', '?', '-'], "x");
    for (location, secret) in [
        (format!("{}/?k={SECRET}", evil.url()), SECRET.to_owned()),
        (
            format!("{}/{}", evil.url(), data_encoding::BASE64URL.encode(SECRET.as_bytes())),
            SECRET.to_owned(),
        ),
        (
            format!("{}/{}", evil.url(), data_encoding::HEXLOWER.encode(SECRET.as_bytes())),
            SECRET.to_owned(),
        ),
        // A host is put into lower case.
        (
            format!("http://{lower}.evil.test/"),
            SECRET.replace(['/', '+', '?', '-'], "x"),
        ),
    ] {
        let (world, _upstream) = world("bearer", &[("/ok", moved(302, &location))]).await;
        let world = world.route(|route| {
            route.redirect_origins = vec![evil.url().parse().unwrap()];
            route.credential = Some("own".parse().unwrap());
        });
        world.credentials.set("own", &secret);
        let response = world.send(get()).await.unwrap();
        assert_eq!(response.status, 302, "{location}");
        assert_eq!(
            code(&world.last()).as_deref(),
            Some("redirect-not-allowed"),
            "{location}"
        );
        let ExchangeResult::Refused { message, .. } = world.last().result else {
            panic!("{location}");
        };
        assert!(message.contains("credential") && !message.contains(&lower), "{message}");
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn what_fails_behind_the_answer_to_a_change_does_not_promise_that_nothing_happened() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = format!("http://{closed}");
    for (request, status, interrupted) in [(post("x"), 303, true), (get(), 302, false), (post("x"), 307, false)] {
        let (world, _upstream) = world("none", &[("/ok", moved(status, &format!("{gone}/x")))]).await;
        let world = world.route(|route| route.redirect_origins = vec![gone.parse().unwrap()]);
        match world.send(request).await {
            Err(HttpError::Interrupted(_)) => assert!(interrupted, "{status}"),
            Err(HttpError::Unreachable(_)) => assert!(!interrupted, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(world.last().result.may_have_acted(), interrupted);
    }
}

#[tokio::test]
async fn hops_share_the_time_and_the_number_of_requests_of_the_call() {
    let (world, upstream) = world("none", &[("/ok", moved(302, "/ok/silent"))]).await;
    let request = GuestRequest {
        timeout: Some(Duration::from_millis(250)),
        ..get()
    };
    assert_eq!(
        world.send(request).await,
        Err(HttpError::TimedOut { request_sent: true })
    );
    assert_eq!(upstream.requests().len(), 2);

    let (world, upstream) = world_answering_once_more().await;
    for _ in 0..cofferdam_domain::limits::EXCHANGES_PER_CALL_MAX / 2 {
        assert_eq!(world.send(get()).await.unwrap().status, 200);
    }
    let Err(HttpError::Refused(refusal)) = world.send(get()).await else {
        panic!("over the limit and not refused");
    };
    assert_eq!(refusal.code, RefusalCode::TooManyRequestsInCall);
    assert_eq!(
        upstream.requests().len(),
        cofferdam_domain::limits::EXCHANGES_PER_CALL_MAX
    );
}

async fn world_answering_once_more() -> (World, Upstream) {
    world(
        "none",
        &[("/ok", moved(302, "/ok/there")), ("/ok/there", OK.to_owned())],
    )
    .await
}

#[tokio::test]
async fn the_slot_of_a_route_is_untouched_by_a_hop_elsewhere() {
    let objects = Upstream::answering(OK).await;
    let (world, upstream) = world("bearer", &[("/ok", moved(302, &objects.url()))]).await;
    let world = world.route(|route| route.redirect_origins = vec![objects.url().parse().unwrap()]);
    for _ in 0..2 {
        assert_eq!(world.send(get()).await.unwrap().status, 200);
    }
    assert!(upstream.requests().iter().all(|sent| sent.contains("authorization")));
    assert_eq!(
        world.passport.routes[&"up".parse().unwrap()].slot,
        CredentialSlot::Bearer
    );
}
