//! Upstreams that bend HTTP, byte by byte: what each becomes.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

use super::upstream::{Then, Upstream};
use super::*;

/// What a guest is given for raw bytes of an upstream.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Status and body.
    Answer(u16, String),
    Protocol,
    Interrupted,
    TooLarge,
}

async fn seen(method: &str, response: impl Into<Vec<u8>>) -> Seen {
    let upstream = Upstream::answering(response).await;
    let world = World::new(&upstream.url(), "bearer").route(|route| route.methods.push("HEAD".to_owned()));
    let request = GuestRequest {
        method: method.to_owned(),
        ..get()
    };
    match world.send(request).await {
        Ok(response) => Seen::Answer(response.status, String::from_utf8_lossy(&response.body).into_owned()),
        Err(HttpError::ProtocolError(_)) => Seen::Protocol,
        Err(HttpError::Interrupted(_)) => Seen::Interrupted,
        Err(HttpError::ResponseTooLarge(_)) => Seen::TooLarge,
        Err(other) => panic!("{other:?}"),
    }
}

fn answer(status: u16, body: &str) -> Seen {
    Seen::Answer(status, body.to_owned())
}

#[tokio::test]
async fn what_is_not_http_as_it_should_be_has_one_meaning_or_none() {
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-a: 1\r\n".repeat(129));
    let long_header = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "a".repeat(70 * 1024));
    let endless_header = format!("HTTP/1.1 200 OK\r\nx-a: {}", "a".repeat(1024 * 1024));
    let long_chunk_extension = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;{}\r\nok\r\n0\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let interim = format!(
        "{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000)
    );
    for (method, response, expected) in [
        // Not HTTP at all.
        ("GET", "<html>an answer of HTTP/0.9</html>", Seen::Protocol),
        ("GET", "HTTP/0.9 200 OK\r\n\r\n", Seen::Protocol),
        ("GET", "HTTP/3.0 200 OK\r\n\r\n", Seen::Protocol),
        ("GET", "ICY 200 OK\r\n\r\n", Seen::Protocol),
        ("GET", "HTTP/1.1 99 Low\r\n\r\n", Seen::Protocol),
        ("GET", "HTTP/1.1 2000 High\r\n\r\n", Seen::Protocol),
        // Lengths that lie or contradict each other.
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
            Seen::Interrupted,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nok",
            answer(200, "o"),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
            answer(200, "ok"),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
            Seen::Protocol,
        ),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", Seen::Protocol),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", Seen::Protocol),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\nok",
            Seen::TooLarge,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Seen::Protocol,
        ),
        // Transfer codings.
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            answer(200, "ok"),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nok",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokmore\r\n",
            Seen::Protocol,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            Seen::Interrupted,
        ),
        ("GET", long_chunk_extension.as_str(), Seen::Protocol),
        // Bodies where there is none.
        (
            "GET",
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
            answer(204, ""),
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            answer(204, ""),
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok",
            answer(304, ""),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            answer(200, ""),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\ncontent-encoding: br\r\n\r\n",
            answer(200, ""),
        ),
        // Heads.
        ("GET", "HTTP/1.1 200 OK\r\n folded: 1\r\n\r\nok", Seen::Protocol),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nx-a: 1\r\n continued\r\n\r\nok",
            Seen::Protocol,
        ),
        ("GET", "HTTP/1.1 200 OK\r\nx-a : 1\r\n\r\nok", Seen::Protocol),
        ("GET", "HTTP/1.1 200 OK\r\nno colon\r\n\r\nok", Seen::Protocol),
        ("GET", "HTTP/1.1 200 OK\r\nx-a: 1\0\r\n\r\nok", Seen::Protocol),
        ("GET", "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", answer(200, "ok")),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nok", answer(200, "ok")),
        ("GET", many_headers.as_str(), Seen::Protocol),
        ("GET", long_header.as_str(), Seen::Protocol),
        ("GET", endless_header.as_str(), Seen::Protocol),
        // Interim answers are passed over.
        ("GET", interim.as_str(), answer(200, "ok")),
        ("GET", "HTTP/1.1 100 Continue\r\n\r\n", Seen::Interrupted),
        // An upgrade that nobody asked for is no answer to go on with.
        (
            "GET",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw",
            answer(101, ""),
        ),
    ] {
        let head: String = response.chars().take(120).collect();
        assert_eq!(seen(method, response).await, expected, "{method} {head:?}");
    }
}

#[tokio::test]
async fn interim_answers_without_end_and_a_body_drop_by_drop_end_with_the_time() {
    for drip in [
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\n", "x"),
        ("", "H"),
    ] {
        let upstream = Upstream::then(Then::Dripping(drip.0, drip.1)).await;
        let world = World::new(&upstream.url(), "bearer");
        let request = GuestRequest {
            timeout: Some(Duration::from_millis(250)),
            ..get()
        };
        let outcome = world.send(request).await;
        // What is no HTTP is known for it at once.
        let known = matches!(outcome, Err(HttpError::ProtocolError(_))) && drip.0.is_empty();
        assert!(
            known || outcome == Err(HttpError::TimedOut { request_sent: true }),
            "{drip:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_never_the_answer_to_the_next_request() {
    // No `connection: close`: the gate would like to use the connection again.
    let split = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let upstream = Upstream::then(Then::Keep(split.into())).await;
    let world = World::new(&upstream.url(), "none");
    for _ in 0..8 {
        match world.send(get()).await {
            Ok(response) => assert_eq!(response.body, "ok"),
            // A connection found broken when it is used again is one that the request may have left on.
            Err(error) => assert!(matches!(error, HttpError::Interrupted(_)), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn trailers_and_the_reason_are_not_handed_on() {
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 {SECRET}\r\ntransfer-encoding: chunked\r\ntrailer: x-trailer\r\n\r\n2\r\nok\r\n0\r\nx-trailer: {SECRET}\r\n\r\n"
    ))
    .await;
    let world = World::new(&upstream.url(), "bearer");
    let response = world.send(get()).await.unwrap();
    assert_eq!((response.headers, &response.body[..]), (Vec::new(), &b"ok"[..]));
    assert!(!format!("{:?}", world.last()).contains("xoxb"));
}

#[tokio::test]
async fn a_compressed_bomb_is_cut_off() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 8 * 1024 * 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let upstream = Upstream::answering([head.as_bytes(), &bomb].concat()).await;
    let mut world = World::new(&upstream.url(), "bearer");
    assert_eq!(world.send(get()).await, Err(HttpError::ResponseTooLarge(64 * 1024)));
    world.passport.response_bytes_max = 16 * 1024 * 1024;
    assert!(matches!(world.send(get()).await, Err(HttpError::ProtocolError(_))));
}

#[tokio::test]
async fn a_credential_is_found_wherever_the_upstream_cuts_its_answer() {
    let reflected = format!("{{\"you\":\"{}\"}}", SECRET.replace('/', "\\/"));
    for at in 0..=reflected.len() {
        let (first, second) = reflected.split_at(at);
        let chunk = |text: &str| match text.len() {
            0 => String::new(),
            length => format!("{length:x}\r\n{text}\r\n"),
        };
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}{}0\r\n\r\n",
            chunk(first),
            chunk(second)
        ))
        .await;
        let response = World::new(&upstream.url(), "bearer").send(get()).await.unwrap();
        assert_eq!(response.body, "{\"you\":\"[redacted]\"}", "cut at {at}");
    }
}
