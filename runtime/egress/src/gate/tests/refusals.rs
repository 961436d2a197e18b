//! What never leaves.

use std::collections::BTreeSet;

use cofferdam_domain::ExchangeResult;
use cofferdam_domain::attempt::CREDENTIAL_REFUSALS;
use cofferdam_domain::limits::EXCHANGES_PER_CALL_MAX;

use super::upstream::Upstream;
use super::*;
use crate::gate::REQUEST_BYTES_MAX;
use crate::gate::headers::HEADERS_MAX;
use crate::refusal::RefusalCode;

/// One refused request: how the route is changed, what the guest sends, and why it is refused.
struct Case {
    code: RefusalCode,
    slot: &'static str,
    route: fn(&mut Route),
    request: GuestRequest,
}

fn with_header(name: &str, value: &[u8]) -> GuestRequest {
    GuestRequest {
        headers: vec![(name.to_owned(), value.to_vec())],
        ..get()
    }
}

fn cases() -> Vec<Case> {
    use RefusalCode as Code;
    let at = |path: &str| GuestRequest {
        path: path.to_owned(),
        ..get()
    };
    let asking = |query: &str| GuestRequest {
        query: Some(query.to_owned()),
        ..get()
    };
    let same: fn(&mut Route) = |_| {};
    let case = |code, slot, route, request| Case {
        code,
        slot,
        route,
        request,
    };
    let upstream = |name: &str| GuestRequest {
        upstream: name.to_owned(),
        ..get()
    };
    let method = |name: &str| GuestRequest {
        method: name.to_owned(),
        ..get()
    };
    let many_headers = GuestRequest {
        headers: vec![("x-a".to_owned(), b"1".to_vec()); HEADERS_MAX + 1],
        ..get()
    };
    let large = GuestRequest {
        body: vec![0; REQUEST_BYTES_MAX + 1].into(),
        ..post("")
    };
    vec![
        case(Code::UpstreamNotGranted, "bearer", same, upstream("other")),
        case(Code::UpstreamNotGranted, "bearer", same, upstream("No Name\r\n")),
        case(Code::MethodNotGranted, "bearer", same, method("DELETE")),
        case(Code::MethodNotGranted, "bearer", same, method("GET / HTTP/1.1\r\n")),
        case(Code::PathNotGranted, "bearer", same, at("/other")),
        case(Code::BadPath, "bearer", same, at("http://evil.test/ok")),
        case(Code::BadPath, "bearer", same, at("/ok/%2e%2e/admin")),
        case(Code::BadQuery, "bearer", same, asking("a b")),
        case(
            Code::HeaderNotAllowed,
            "bearer",
            same,
            with_header("Host", b"evil.test"),
        ),
        case(
            Code::HeaderNotAllowed,
            "bearer",
            same,
            with_header("Transfer-Encoding", b"chunked"),
        ),
        case(
            Code::HeaderNotAllowed,
            "none",
            same,
            with_header("authorization", b"Bearer stolen"),
        ),
        case(
            Code::BadHeader,
            "bearer",
            same,
            with_header("x-a", b"1\r\nhost: evil.test"),
        ),
        case(Code::HeadersTooLarge, "bearer", same, many_headers),
        case(Code::RequestTooLarge, "bearer", same, large),
        case(
            Code::CredentialSlotTaken,
            "bearer",
            same,
            with_header("AUTHORIZATION", b"x"),
        ),
        case(Code::CredentialSlotTaken, "query key", same, asking("k%65y=mine")),
        case(Code::AddressBlocked, "bearer", |route| route.networks.clear(), get()),
        case(
            Code::AddressBlocked,
            "bearer",
            |route| route.base_url = "http://mixed.test".parse().unwrap(),
            get(),
        ),
        case(
            Code::AddressBlocked,
            "bearer",
            |route| route.base_url = "http://[::ffff:127.0.0.1]:9".parse().unwrap(),
            get(),
        ),
        case(
            Code::AddressBlocked,
            "bearer",
            |route| route.base_url = "http://2852039166/".parse().unwrap(),
            get(),
        ),
        case(
            Code::CredentialMissing,
            "bearer",
            |route| route.credential = None,
            get(),
        ),
        case(Code::CredentialKindNotSupported, "oauth2 read", same, get()),
        case(
            Code::CredentialOverPlainHttp,
            "bearer",
            |route| {
                route.base_url = "http://inside.test".parse().unwrap();
                route.networks = vec!["10.0.0.0/8".parse().unwrap()];
            },
            get(),
        ),
    ]
}

fn names() -> Names {
    let known = [
        (
            "mixed.test",
            vec!["8.8.8.8:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()],
        ),
        ("inside.test", vec!["10.0.0.1:80".parse().unwrap()]),
    ];
    Names {
        known: known.into(),
        ..Names::default()
    }
}

#[tokio::test]
async fn refused_request_never_reads_the_credential() {
    let upstream = Upstream::saying("must not be asked").await;
    for case in cases() {
        let code = case.code;
        let world = World::with(&upstream.url(), case.slot, names(), Vec::new()).route(case.route);
        let Err(HttpError::Refused(refusal)) = world.send(case.request).await else {
            panic!("{code} is not refused");
        };
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(world.reads(), 0, "{code}");
        assert_eq!(
            world.last().result,
            ExchangeResult::Refused {
                code: code.code().to_owned(),
                message: refusal.message
            }
        );
        assert_eq!(world.last().credential, None, "{code}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_credential_that_is_missing_or_unusable_sends_nothing() {
    let upstream = Upstream::saying("must not be asked").await;
    for (credential, code) in [
        ("absent", RefusalCode::CredentialMissing),
        ("broken-line", RefusalCode::CredentialUnusable),
        ("tokens", RefusalCode::CredentialUnusable),
    ] {
        let world =
            World::new(&upstream.url(), "bearer").route(|route| route.credential = Some(credential.parse().unwrap()));
        let Err(HttpError::Refused(refusal)) = world.send(get()).await else {
            panic!("{credential} is not refused");
        };
        assert_eq!(refusal.code, code);
        assert_eq!(world.last().credential, None);
    }
    let world =
        World::new(&upstream.url(), "bearer").route(|route| route.credential = Some("unreadable".parse().unwrap()));
    // Not the event's fault: it is tried again.
    assert!(matches!(world.send(get()).await, Err(HttpError::Unreachable(_))));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_call_sends_so_many_requests_and_no_more() {
    let upstream = Upstream::saying("ok").await;
    let world = World::new(&upstream.url(), "none");
    for _ in 0..EXCHANGES_PER_CALL_MAX {
        world.send(get()).await.unwrap();
    }
    for _ in 0..2 {
        let Err(HttpError::Refused(refusal)) = world.send(get()).await else {
            panic!("over the limit and not refused");
        };
        assert_eq!(refusal.code, RefusalCode::TooManyRequestsInCall);
    }
    assert_eq!(upstream.requests().len(), EXCHANGES_PER_CALL_MAX);
    // The verdict sees that there was one too many, and the trail stays bounded.
    assert_eq!(world.passport.trail.exchanges().len(), EXCHANGES_PER_CALL_MAX + 1);
    assert!(matches!(world.last().result, ExchangeResult::Refused { .. }));
}

#[tokio::test]
async fn our_own_listener_is_refused_although_its_network_is_granted() {
    let upstream = Upstream::saying("the admin API").await;
    let world = World::with(&upstream.url(), "bearer", Names::default(), vec![upstream.address]);
    let Err(HttpError::Refused(refusal)) = world.send(get()).await else {
        panic!("our own listener was dialled");
    };
    assert_eq!(refusal.code, RefusalCode::AddressBlocked);
    assert_eq!((world.reads(), upstream.connections()), (0, 0));
}

#[test]
fn every_refusal_code_has_a_name_of_its_own_and_a_case() {
    let names: BTreeSet<_> = RefusalCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(names.len(), RefusalCode::ALL.len());
    let mut covered: Vec<_> = cases().iter().map(|case| case.code).collect();
    covered.extend([RefusalCode::CredentialUnusable, RefusalCode::TooManyRequestsInCall]);
    // In `oauth2/tests/failures.rs`.
    covered.extend([
        RefusalCode::CredentialConsentNeeded,
        RefusalCode::CredentialRefused,
        RefusalCode::TokenEndpointBlocked,
    ]);
    for code in RefusalCode::ALL {
        assert!(covered.contains(&code), "{code}");
    }
    // The verdict knows these by name.
    for name in CREDENTIAL_REFUSALS {
        assert!(names.contains(name), "{name}");
    }
}
