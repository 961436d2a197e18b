//! The gate towards upstreams that speak TLS: whom it trusts, what it shows, and what it says when that does not fit.

use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};

use super::secure::{Authority, Manner, Secure};
use super::*;
use crate::refusal::RefusalCode;

/// A gate that knows the upstream as `api.test` and trusts this CA for it.
fn world(upstream: &Secure, slot: &str, ca: Option<&Authority>) -> World {
    let names = Names {
        known: [
            ("api.test", vec![upstream.address]),
            ("other.test", vec![upstream.address]),
        ]
        .into(),
        ..Names::default()
    };
    World::with(&upstream.url("api.test"), slot, names, Vec::new())
        .route(|route| route.tls.ca = ca.map(|ca| ca.pem.clone()))
}

fn unreachable(outcome: Result<GuestResponse, HttpError>) -> String {
    match outcome {
        Err(HttpError::Unreachable(message)) => message,
        other => panic!("is not unreachable: {other:?}"),
    }
}

#[tokio::test]
async fn an_upstream_is_reached_over_http_2_and_http_1_under_its_own_name_at_the_checked_address() {
    let ca = Authority::new();
    for (alpn, negotiated, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..]), "HTTP/2"),
        // The server's order counts (RFC 7301 section 3.2).
        (&[b"http/1.1", b"h2"], Some(b"http/1.1"), "HTTP/1.1"),
        (&[b"http/1.1"], Some(b"http/1.1"), "HTTP/1.1"),
        (&[], None, "HTTP/1.1"),
    ] {
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let upstream = Secure::new(Manner {
                alpn,
                versions,
                ..Manner::of(ca.sign("api.test", |_| {}))
            })
            .await;
            let world = world(&upstream, "bearer", Some(&ca));
            let response = world.send(get()).await.unwrap();
            assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
            // Trailers are not handed on.
            assert!(!response.headers.iter().any(|(name, _)| name == "x-trailer"));
            let seen = upstream.connections().pop().unwrap();
            assert_eq!(seen.server_name.as_deref(), Some("api.test"));
            assert_eq!(seen.client, None);
            assert_eq!(seen.alpn.as_deref(), negotiated);
            let sent = upstream.requests().pop().unwrap();
            assert!(sent.contains(version), "{sent}");
            assert!(sent.contains(&format!("Bearer {SECRET}")), "{sent}");
            assert_eq!(world.last().address, Some(upstream.address));
            let timings = world.last().timings;
            assert!(timings.resolved_ms <= timings.connected_ms && timings.connected_ms <= timings.first_byte_ms);
            assert!(timings.connected_ms.is_some() && timings.first_byte_ms <= timings.total_ms);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_ends_it_before_anything_is_said() {
    let ca = Authority::new();
    let stranger = Authority::new();
    let expired = ca.sign("api.test", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = ca.sign("api.test", |params| params.not_before = date_time_ymd(3000, 1, 1));
    for (certificate, said) in [
        (expired, "has expired"),
        (early, "not valid yet"),
        (ca.sign("evil.test", |_| {}), "for another name"),
        (ca.sign("sub.api.test", |_| {}), "for another name"),
        (ca.sign("127.0.0.1", |_| {}), "for another name"),
        (stranger.sign("api.test", |_| {}), "no CA that is trusted"),
    ] {
        let upstream = Secure::new(Manner::of(certificate)).await;
        let world = world(&upstream, "bearer", Some(&ca));
        let message = unreachable(world.send(get()).await);
        assert!(message.contains("TLS") && message.contains(said), "{message}");
        assert_eq!(upstream.requests(), Vec::<String>::new());
        assert!(!world.last().result.may_have_acted());
    }
}

#[tokio::test]
async fn a_ca_is_trusted_for_the_upstream_that_it_was_added_to_and_for_no_other() {
    let ca = Authority::new();
    let upstream = Secure::new(Manner::of(ca.sign("api.test", |_| {}))).await;
    let mut world = world(&upstream, "none", Some(&ca));
    let routes = Arc::get_mut(&mut world.passport.routes).unwrap();
    let mut other = routes[&"up".parse().unwrap()].clone();
    other.tls.ca = None;
    routes.insert("other".parse().unwrap(), other.clone());
    other.tls.ca = Some(Authority::new().pem);
    other.tls.ca_only = true;
    routes.insert("strict".parse().unwrap(), other);
    world.send(get()).await.unwrap();
    for name in ["other", "strict"] {
        let request = GuestRequest {
            upstream: name.to_owned(),
            ..get()
        };
        let message = unreachable(world.send(request).await);
        assert!(message.contains("no CA that is trusted"), "{name}: {message}");
    }
    world.send(get()).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_beside_the_credential_of_a_slot() {
    let ca = Authority::new();
    let pem = ca.client_pem("client.test");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for alpn in [&[&b"h2"[..]][..], &[b"http/1.1"]] {
            let upstream = Secure::new(Manner {
                clients: Some(&ca),
                versions,
                alpn,
                ..Manner::of(ca.sign("api.test", |_| {}))
            })
            .await;
            for (slot, label) in [("none", "client certificate"), ("bearer", "bearer, client certificate")] {
                let world = world(&upstream, slot, Some(&ca))
                    .route(|route| route.tls.client_certificate = Some("cert".parse().unwrap()));
                world.credentials.set("cert", &pem);
                assert_eq!(world.send(get()).await.unwrap().status, 200);
                assert!(upstream.connections().pop().unwrap().client.is_some());
                assert_eq!(world.last().credential.as_deref(), Some(label));
                let sent = upstream.requests().pop().unwrap();
                assert_eq!(sent.contains("Bearer"), slot == "bearer", "{sent}");
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_that_wants_another_certificate_or_any_has_not_taken_the_request() {
    let ca = Authority::new();
    let stranger = Authority::new().client_pem("client.test");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for shown in [None, Some(&stranger)] {
            let upstream = Secure::new(Manner {
                clients: Some(&ca),
                versions,
                ..Manner::of(ca.sign("api.test", |_| {}))
            })
            .await;
            let world = world(&upstream, "none", Some(&ca));
            let world = match shown {
                Some(pem) => {
                    world.credentials.set("cert", pem);
                    world.route(|route| route.tls.client_certificate = Some("cert".parse().unwrap()))
                }
                None => world,
            };
            let message = unreachable(world.send(get()).await);
            assert!(message.contains("TLS"), "{message}");
            assert_eq!(upstream.requests(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_unusable_dials_nobody() {
    let ca = Authority::new();
    let upstream = Secure::new(Manner::of(ca.sign("api.test", |_| {}))).await;
    let with = |value: Option<&str>| {
        let world = world(&upstream, "none", Some(&ca))
            .route(|route| route.tls.client_certificate = Some("cert".parse().unwrap()));
        if let Some(value) = value {
            world.credentials.set("cert", value);
        }
        world
    };
    for (value, code) in [
        (None, RefusalCode::CredentialMissing),
        (Some("no PEM"), RefusalCode::CredentialUnusable),
    ] {
        let world = with(value);
        let Err(HttpError::Refused(refusal)) = world.send(get()).await else {
            panic!("{code} is not refused");
        };
        assert_eq!(refusal.code, code);
        assert_eq!(world.last().credential, None);
    }
    // Everything else comes first: a request that is refused never read it.
    let world = with(Some(&ca.client_pem("client.test")));
    let request = GuestRequest {
        path: "/not-granted".to_owned(),
        ..get()
    };
    assert!(matches!(world.send(request).await, Err(HttpError::Refused(_))));
    assert_eq!(world.reads(), 0);
    assert!(upstream.connections().is_empty());
}

#[tokio::test]
async fn a_changed_certificate_gets_a_connection_of_its_own_and_a_removed_one_none() {
    let ca = Authority::new();
    let upstream = Secure::new(Manner {
        clients: Some(&ca),
        alpn: &[b"http/1.1"],
        ..Manner::of(ca.sign("api.test", |_| {}))
    })
    .await;
    let world =
        world(&upstream, "none", Some(&ca)).route(|route| route.tls.client_certificate = Some("cert".parse().unwrap()));
    let (first, second) = (ca.client_pem("one.test"), ca.client_pem("two.test"));
    let shown = async |pem: Option<&str>| {
        match pem {
            Some(pem) => world.credentials.set("cert", pem),
            None => world.credentials.unset("cert"),
        }
        let outcome = world.send(get()).await;
        assert_eq!(outcome.is_ok(), pem.is_some());
        upstream.connections()
    };
    assert_eq!(shown(Some(&first)).await.len(), 1);
    assert_eq!(
        shown(Some(&first)).await.len(),
        1,
        "the same certificate uses its connection again"
    );
    let seen = shown(Some(&second)).await;
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].client, seen[1].client);
    assert_eq!(shown(None).await.len(), 2);
    // Set to the old value again, it is a new credential.
    assert_eq!(shown(Some(&second)).await.len(), 3);
}

#[tokio::test]
async fn connections_of_one_grant_are_never_used_for_another() {
    let ca = Authority::new();
    let upstream = Secure::new(Manner {
        alpn: &[b"http/1.1"],
        ..Manner::of(ca.sign("api.test", |_| {}))
    })
    .await;
    let mut world = world(&upstream, "bearer", Some(&ca));
    world.send(get()).await.unwrap();
    world.send(get()).await.unwrap();
    assert_eq!(upstream.connections().len(), 1);
    world.passport.connection = "another".parse().unwrap();
    world.send(get()).await.unwrap();
    assert_eq!(upstream.connections().len(), 2);
    world.passport.workspace = "another".parse().unwrap();
    world.send(get()).await.unwrap();
    assert_eq!(upstream.connections().len(), 3);
    let world = world.route(|route| route.slot = "header x-api-key".parse().unwrap());
    world.send(get()).await.unwrap();
    assert_eq!(upstream.connections().len(), 4);
}

#[tokio::test]
async fn a_private_key_that_comes_back_does_not_reach_the_guest() {
    let ca = Authority::new();
    let pem = ca.client_pem("client.test");
    let upstream = Secure::new(Manner {
        body: format!("we know your key: {pem}"),
        ..Manner::of(ca.sign("api.test", |_| {}))
    })
    .await;
    let world =
        world(&upstream, "none", Some(&ca)).route(|route| route.tls.client_certificate = Some("cert".parse().unwrap()));
    world.credentials.set("cert", &pem);
    let response = world.send(get()).await.unwrap();
    let body = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(body.contains("[redacted]"), "{body}");
    assert!(world.last().credential_reflected);
    let key = pem.split("-----BEGIN PRIVATE KEY-----").nth(1).unwrap();
    for line in key.lines().filter(|line| line.len() > 16 && !line.starts_with('-')) {
        assert!(!body.contains(line), "{body}");
    }
}

#[tokio::test]
async fn an_upstream_that_stalls_in_the_handshake_has_taken_nothing() {
    let upstream = super::upstream::Upstream::then(super::upstream::Then::Silence).await;
    let base_url = upstream.url().replace("http:", "https:");
    let world = World::new(&base_url, "bearer");
    let request = GuestRequest {
        timeout: Some(Duration::from_millis(250)),
        ..get()
    };
    assert_eq!(
        world.send(request).await,
        Err(HttpError::TimedOut { request_sent: false })
    );
    assert_eq!(world.last().timings.connected_ms, None);
}
