//! What leaves: exactly what was checked, with the host's headers, to the address that was checked.

use super::upstream::{Then, Upstream};
use super::*;
use cofferdam_domain::{Digest, ExchangeResult};

fn header<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn a_granted_request_leaves_with_the_hosts_headers_and_is_recorded() {
    let upstream = Upstream::answering(
        "HTTP/1.1 201 Created\r\nx-request-id: r1\r\nretry-after: 2\r\nset-cookie: s=1\r\ncontent-length: 4\r\n\r\ndone",
    )
    .await;
    let world = World::new(&format!("{}/base", upstream.url()), "bearer");
    let request = GuestRequest {
        path: "/ok/a%20b".to_owned(),
        query: Some("q=1".to_owned()),
        headers: vec![
            ("Content-Type".to_owned(), b"text/plain".to_vec()),
            ("Idempotency-Key".to_owned(), b"the guest's".to_vec()),
        ],
        ..post("hello")
    };
    let response = world.send(request).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (201, &b"done"[..]));

    let sent = upstream.requests().pop().unwrap();
    assert!(sent.starts_with("POST /base/ok/a%20b?q=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
    let exchange = world.last();
    let trace = exchange.trace.to_string();
    let bearer = format!("Bearer {SECRET}");
    for (name, expected) in [
        ("host", upstream.address.to_string().as_str()),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("authorization", &bearer),
        ("traceparent", &trace),
        ("idempotency-key", "key"),
        ("accept-encoding", "gzip"),
    ] {
        assert_eq!(header(&sent, name), [expected], "{name} in {sent}");
    }
    assert_eq!(exchange.trace.trace_id(), world.passport.trace.trace_id());
    assert_ne!(exchange.trace.span_id(), world.passport.trace.span_id());
    assert_eq!(exchange.upstream.as_str(), "up");
    assert_eq!(
        (exchange.method.as_str(), exchange.path_prefix.as_str()),
        ("POST", "/ok")
    );
    assert_eq!(exchange.path_hash, Digest::of(b"/ok/a%20b?q=1"));
    assert_eq!(
        (exchange.request_hash, exchange.request_bytes),
        (Digest::of(b"hello"), 5)
    );
    assert_eq!(exchange.address, Some(upstream.address));
    assert_eq!(exchange.credential.as_deref(), Some("bearer"));
    assert!(!exchange.credential_reflected);
    assert!(exchange.timings.first_byte_ms <= exchange.timings.total_ms);
    let recorded = [("x-request-id", "r1"), ("retry-after", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(
        exchange.result,
        ExchangeResult::Answered {
            status: 201,
            body_hash: Digest::of(b"done"),
            body_bytes: 4,
            headers: recorded.to_vec(),
            retry_after_ms: Some(2000),
        }
    );
}

#[tokio::test]
async fn the_checked_address_is_dialled_under_the_original_name_and_looked_up_once() {
    let upstream = Upstream::saying("ok").await;
    let known = [("api.test", vec![upstream.address])];
    let names = Names {
        known: known.into(),
        ..Names::default()
    };
    let base_url = format!("http://api.test:{}", upstream.address.port());
    let world = World::with(&base_url, "none", names, Vec::new());
    world.send(get()).await.unwrap();
    world.send(get()).await.unwrap();
    let host = format!("api.test:{}", upstream.address.port());
    for sent in upstream.requests() {
        assert_eq!(header(&sent, "host"), [host.as_str()]);
    }
    assert_eq!(world.names.lookups.load(Ordering::Relaxed), 1);
    let trail = world.passport.trail.exchanges();
    assert!(trail[0].timings.resolved_ms.is_some() && trail[1].timings.resolved_ms.is_none());
}

#[tokio::test]
async fn each_change_of_a_call_has_its_own_idempotency_key_and_a_repetition_keeps_it() {
    let upstream = Upstream::saying("ok").await;
    let world = World::new(&upstream.url(), "none");
    for (request, key) in [
        (get(), None),
        (post("a"), Some("key")),
        (post("b"), Some("key-2")),
        (post("a"), Some("key")),
        (post("c"), Some("key-3")),
    ] {
        world.send(request).await.unwrap();
        let sent = upstream.requests().pop().unwrap();
        assert_eq!(
            header(&sent, "idempotency-key"),
            key.into_iter().collect::<Vec<_>>(),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn a_refused_change_keeps_its_number_so_that_the_next_one_has_the_same_key_in_every_attempt() {
    let upstream = Upstream::saying("ok").await;
    let world = World::new(&upstream.url(), "none");
    let refused = GuestRequest {
        path: "/../x".to_owned(),
        ..post("a")
    };
    world.send(refused).await.unwrap_err();
    world.send(post("b")).await.unwrap();
    let sent = upstream.requests().pop().unwrap();
    assert_eq!(header(&sent, "idempotency-key"), ["key-2"], "{sent}");
}

#[tokio::test]
async fn a_credential_goes_into_its_own_slot_only() {
    let upstream = Upstream::saying("ok").await;
    let send = async |slot: &str| {
        World::new(&upstream.url(), slot).send(post("x")).await.unwrap();
        upstream.requests().pop().unwrap()
    };
    let sent = send("query key").await;
    assert!(
        sent.starts_with("POST /ok?key=xoxb-17-secret%2FValue%2B%3F HTTP/1.1"),
        "{sent}"
    );
    assert_eq!(header(&sent, "authorization"), Vec::<&str>::new());
    let sent = send("header x-api-key").await;
    assert_eq!(header(&sent, "x-api-key"), [SECRET]);
    let sent = send("none").await;
    assert!(!sent.contains("xoxb"), "{sent}");
}

#[tokio::test]
async fn an_empty_change_still_says_its_length() {
    let upstream = Upstream::saying("ok").await;
    World::new(&upstream.url(), "none").send(post("")).await.unwrap();
    assert_eq!(header(&upstream.requests()[0], "content-length"), ["0"]);
}

#[tokio::test]
async fn a_redirect_is_handed_to_the_guest_and_not_followed() {
    let elsewhere = Upstream::saying("must not be asked").await;
    let location = elsewhere.url();
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: {location}/ok\r\ncontent-length: 0\r\n\r\n"
    ))
    .await;
    let response = World::new(&upstream.url(), "bearer").send(get()).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_exchange_in_flight() {
    let upstream = Upstream::then(Then::Silence).await;
    let world = World::new(&upstream.url(), "bearer");
    let in_flight = |world: &World| match world.last().result {
        ExchangeResult::InFlight { request_sent } => request_sent,
        other => panic!("{other:?}"),
    };
    {
        let mut sending = Box::pin(world.send(get()));
        while upstream.requests().is_empty() {
            tokio::select! {
                _ = &mut sending => panic!("the upstream never answers"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert!(in_flight(&world), "while it is under way");
    }
    assert!(in_flight(&world), "after it was dropped");

    let world = World::new("http://silent.test", "bearer");
    let sending = world.send(get());
    tokio::select! {
        biased;
        _ = sending => panic!("the resolver never answers"),
        () = std::future::ready(()) => {}
    }
    assert!(!in_flight(&world));
}
