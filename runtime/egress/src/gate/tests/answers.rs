//! What comes back, and what does not.

use cofferdam_domain::ExchangeResult;
use data_encoding::{BASE64, HEXLOWER};
use tokio::net::TcpListener;

use super::upstream::{Then, Upstream};
use super::*;

/// Short enough for a test, long enough for loopback.
const SHORTLY: Option<Duration> = Some(Duration::from_millis(250));

#[tokio::test]
async fn a_body_over_the_cap_is_cut_off_however_it_comes() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n";
    for upstream in [
        Upstream::then(Then::Endless).await,
        Upstream::answering(announced).await,
    ] {
        let world = World::new(&upstream.url(), "bearer");
        assert_eq!(world.send(get()).await, Err(HttpError::ResponseTooLarge(64 * 1024)));
        assert_eq!(
            world.last().result,
            ExchangeResult::ResponseTooLarge { bytes_max: 64 * 1024 }
        );
    }
    let full = "x".repeat(64 * 1024);
    let upstream = Upstream::saying(&full).await;
    assert_eq!(
        World::new(&upstream.url(), "bearer").send(get()).await.unwrap().body,
        full
    );
}

#[tokio::test]
async fn a_silent_upstream_times_out_after_the_request_has_left() {
    let upstream = Upstream::then(Then::Silence).await;
    for request in [get(), post("x"), post("")] {
        let world = World::new(&upstream.url(), "bearer");
        let request = GuestRequest {
            timeout: SHORTLY,
            ..request
        };
        assert_eq!(
            world.send(request).await,
            Err(HttpError::TimedOut { request_sent: true })
        );
        assert_eq!(world.last().result, ExchangeResult::TimedOut { request_sent: true });
    }
}

#[tokio::test]
async fn time_that_runs_out_before_the_request_left_says_so() {
    let request = || GuestRequest {
        timeout: SHORTLY,
        ..get()
    };
    let not_sent = Err(HttpError::TimedOut { request_sent: false });
    // In the resolver.
    assert_eq!(World::new("http://silent.test", "none").send(request()).await, not_sent);
    // In the TLS handshake.
    let upstream = Upstream::then(Then::Silence).await;
    let base_url = upstream.url().replace("http:", "https:");
    assert_eq!(World::new(&base_url, "none").send(request()).await, not_sent);
    // The call's own deadline has passed.
    let upstream = Upstream::saying("too late").await;
    let mut world = World::new(&upstream.url(), "none");
    world.passport.deadline = NOW;
    assert_eq!(world.send(get()).await, not_sent);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn what_cannot_be_reached_is_unreachable_and_names_no_address() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let not_tls = Upstream::then(Then::Greeting).await;
    for (base_url, said) in [
        (format!("http://{closed}"), "refused"),
        (format!("https://{}", not_tls.address), "TLS"),
        ("http://nowhere.test".to_owned(), "name"),
    ] {
        let world = World::new(&base_url, "query key");
        let message = match world.send(get()).await {
            Err(HttpError::Unreachable(message)) => message,
            other => panic!("{base_url}: {other:?}"),
        };
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("127.0.0.1") && !message.contains("xoxb"), "{message}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_an_answer_that_is_not_http() {
    let gzip = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope";
    let brotli = "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 4\r\n\r\nnope";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    for (response, interrupted) in [
        ("", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", true),
        ("SSH-2.0-OpenSSH_9\r\n", false),
        (chunked, false),
        (gzip, false),
        (brotli, false),
    ] {
        let upstream = Upstream::answering(response).await;
        let world = World::new(&upstream.url(), "bearer");
        match world.send(get()).await {
            Err(HttpError::Interrupted(message)) => assert!(interrupted, "{response}: {message}"),
            Err(HttpError::ProtocolError(message)) => assert!(!interrupted, "{response}: {message}"),
            other => panic!("{response}: {other:?}"),
        }
        assert!(world.last().result.may_have_acted());
    }
}

#[tokio::test]
async fn a_reflected_credential_never_reaches_the_guest_or_the_record() {
    let whole = format!("user:{SECRET}");
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (slot, credential, reflected) in [
        ("bearer", "good", SECRET.to_owned()),
        ("bearer", "good", percent),
        ("bearer", "good", SECRET.replace('/', "\\/")),
        ("bearer", "good", HEXLOWER.encode(SECRET.as_bytes())),
        ("query key", "good", BASE64.encode(SECRET.as_bytes())),
        ("basic", "basic", BASE64.encode(whole.as_bytes())),
        ("basic", "basic", SECRET.to_owned()),
    ] {
        let body = format!("{{\"you\":\"{reflected}\"}}");
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 200 OK\r\nx-request-id: {reflected}\r\nx-{}: 1\r\ncontent-length: {}\r\n\r\n{body}",
            HEXLOWER.encode(SECRET.as_bytes()),
            body.len()
        ))
        .await;
        let world =
            World::new(&upstream.url(), slot).route(|route| route.credential = Some(credential.parse().unwrap()));
        let response = world.send(get()).await.unwrap();
        assert_eq!(response.body, "{\"you\":\"[redacted]\"}", "{slot} {reflected}");
        assert_eq!(
            response.headers,
            [("x-request-id".to_owned(), b"[redacted]".to_vec())],
            "{slot} {reflected}"
        );
        let exchange = world.last();
        assert!(exchange.credential_reflected);
        let ExchangeResult::Answered { headers, .. } = exchange.result else {
            panic!("an answer is recorded as one");
        };
        assert_eq!(headers, [("x-request-id".to_owned(), "[redacted]".to_owned())]);
    }
}

#[tokio::test]
async fn every_part_and_product_of_a_signing_key_is_found_in_an_answer() {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.as_millis());
    let (secret_key, region) = ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1");
    let of_the_day = aws_sigv4::sign::v4::generate_signing_key(secret_key, time, region, "sqs");
    let seed = BASE64
        .decode(PRIVATE_KEY.strip_prefix("whsk_").unwrap().as_bytes())
        .unwrap();
    let aws = "aws-sigv4 eu-central-1 sqs";
    for (slot, credential, reflected) in [
        (aws, "aws", AWS.to_owned()),
        (aws, "aws", secret_key.to_owned()),
        (aws, "aws", "session-token/1==".to_owned()),
        (aws, "aws", HEXLOWER.encode(of_the_day.as_ref())),
        ("standard-webhooks", "private-key", PRIVATE_KEY.to_owned()),
        ("standard-webhooks", "private-key", HEXLOWER.encode(&seed)),
        ("hmac", "hex-key", "6b65793a736563726574".to_owned()),
        ("hmac", "hex-key", "key:secret".to_owned()),
    ] {
        let upstream = Upstream::saying(&format!("you: {reflected}")).await;
        let world = World::new(&upstream.url(), slot).route(|route| {
            route.credential = Some(credential.parse().unwrap());
            route.signature = (slot == "hmac")
                .then(|| serde_json::from_str(r#"{"header": "x-sig", "secret_encoding": "hex"}"#).unwrap());
        });
        let response = world.send(get()).await.unwrap();
        let body = String::from_utf8(response.body.to_vec()).unwrap();
        assert!(
            body.starts_with("you: [redacted]") && !body.contains(&reflected),
            "{slot} {reflected}: {body}"
        );
        assert!(world.last().credential_reflected, "{slot} {reflected}");
        assert!(!format!("{:?}", world.last()).contains(&reflected));
    }
    // The access key id is a name and no secret: S3 tells it in its errors.
    let upstream = Upstream::saying("<AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId>").await;
    let world = World::new(&upstream.url(), aws).route(|route| route.credential = Some("aws".parse().unwrap()));
    assert!(
        world
            .send(get())
            .await
            .unwrap()
            .body
            .ends_with(b"AKIDEXAMPLE</AWSAccessKeyId>")
    );
    assert!(!world.last().credential_reflected);
}

#[tokio::test]
async fn a_credential_is_found_inside_a_compressed_body() {
    let body = format!("you sent {SECRET}");
    let packed = stored_gzip(body.as_bytes());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    );
    let upstream = Upstream::answering([head.as_bytes(), &packed].concat()).await;
    let response = World::new(&upstream.url(), "bearer").send(get()).await.unwrap();
    assert_eq!(response.body, "you sent [redacted]");
    assert_eq!(response.headers, []);
}

#[tokio::test]
async fn a_credential_is_found_in_a_large_answer_too() {
    let padding = "x".repeat(300 * 1024);
    let upstream = Upstream::saying(&format!("{padding}{SECRET}")).await;
    let mut world = World::new(&upstream.url(), "bearer");
    world.passport.response_bytes_max = 1024 * 1024;
    let response = world.send(get()).await.unwrap();
    assert!(response.body == format!("{padding}[redacted]"));
    assert!(world.last().credential_reflected);
}

#[tokio::test]
async fn a_guest_gets_no_cookie() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nset-cookie: session=1\r\nSet-Cookie: b=2\r\nset-cookie2: c=3\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    for slot in ["bearer", "none"] {
        let response = World::new(&upstream.url(), slot).send(get()).await.unwrap();
        assert_eq!(response.headers, [("x-a".to_owned(), b"1".to_vec())], "{slot}");
    }
}

/// RFC 1952 around one stored block of RFC 1951.
fn stored_gzip(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(body);
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    packed.extend((!crc).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}
