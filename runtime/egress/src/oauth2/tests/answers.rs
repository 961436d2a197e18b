//! Answers, taken and refused.

use super::*;

/// What a client that asks for itself gets from this answer.
async fn check(status: u16, body: &str, expected: &str) -> World {
    let world = World::new("client-credentials");
    world.server.next([Reply::Json(status, body.to_owned())]);
    assert_eq!(
        world.says().await,
        expected,
        "{status} {}",
        &body[..body.len().min(200)]
    );
    world
}

#[tokio::test(start_paused = true)]
async fn only_a_bearer_token_within_its_bounds_is_taken() {
    let token = |token: &str| format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#);
    check(200, &token("at-1"), "at-1").await;
    check(201, &token("at-1"), "at-1").await;
    let longest = "x".repeat(token_set::ACCESS_TOKEN_BYTES_MAX);
    check(200, &token(&longest), &longest).await;
    for body in [
        token(&format!("{longest}x")),
        token(""),
        token("a b"),
        token("a\\r\\nx: y"),
        r#"{"access_token":"at-1","token_type":"mac"}"#.to_owned(),
        r#"{"access_token":"at-1","token_type":"DPoP"}"#.to_owned(),
        r#"{"access_token":"at-1"}"#.to_owned(),
        r#"{"token_type":"bearer"}"#.to_owned(),
        r#"{"access_token":["at-1"],"token_type":"bearer"}"#.to_owned(),
        r#"{"access_token":"at-1","token_type":"bearer","expires_in":-1}"#.to_owned(),
        r#"{"access_token":"at-1","token_type":"bearer","expires_in":"soon"}"#.to_owned(),
        "access_token=at-1&token_type=bearer".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let world = check(200, &body, "unreachable").await;
        assert!(world.sets.kept.lock().unwrap().len() == 1, "nothing is kept of {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_read_as_servers_write_them_and_bounded() {
    let lives = |text: &str| format!(r#"{{"access_token":"at-1","token_type":"Bearer","expires_in":{text}}}"#);
    let ten_years = token_set::LIFETIME_MAX.as_secs();
    for (text, seconds) in [
        ("3600", Some(3600)),
        ("\"3600\"", Some(3600)),
        ("3600.5", Some(3600)),
        ("0", None),
        ("null", None),
        ("99999999999999", Some(ten_years)),
        ("1e300", Some(ten_years)),
    ] {
        let world = check(200, &lives(text), "at-1").await;
        let set = world.stored();
        let lives = set.expires_at.map(|end| end.since(set.obtained_at).as_secs());
        assert_eq!(lives, seconds, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn scopes_are_those_that_were_asked_for_and_granted() {
    let scope = |text: &str| format!(r#"{{"access_token":"at-1","token_type":"Bearer","scope":{text}}}"#);
    for (text, expected) in [
        ("null", &["read", "write"][..]),
        ("\"read\"", &["read"]),
        ("\"read,write\"", &["read", "write"]),
        ("\"admin at-1 read\"", &["read"]),
        ("\"\"", &[]),
    ] {
        let world = check(200, &scope(text), "at-1").await;
        assert_eq!(world.stored().scopes, expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_is_a_no_whatever_status_it_comes_with_and_an_unknown_code_may_pass() {
    let no = |code: &str| format!(r#"{{"error":"{code}","error_uri":"https://x"}}"#);
    for status in [200, 400, 401, 403] {
        check(status, &no("invalid_client"), "credential-refused").await;
        check(status, &no("incorrect_client_credentials"), "credential-refused").await;
        for code in ["server_error", "temporarily_unavailable", "", "at-1"] {
            check(status, &no(code), "unreachable").await;
        }
    }
    for (status, body) in [
        (400, "nope"),
        (401, ""),
        (403, "{}"),
        (418, "{}"),
        (402, r#"{"error":"invalid_client"}"#),
    ] {
        check(status, body, "unreachable").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_consent_without_end_is_used_without_end_and_one_that_ends_is_told() {
    let world = World::new("authorization-code");
    let body = r#"{"access_token":"at-1","token_type":"bearer"}"#;
    world.server.next([Reply::Json(200, body.to_owned())]);
    world.consent("code-1").await.unwrap();
    tokio::time::advance(1000 * HOUR).await;
    assert_eq!(world.says().await, "at-1");
    let status = world.engine.status(&world.source);
    assert_eq!((status.valid_until, status.renewable), (None, false));

    let world = World::connected("at-1", None, HOUR).await;
    tokio::time::advance(HOUR - Duration::from_secs(30)).await;
    assert_eq!(world.says().await, "credential-consent-needed");
    assert_eq!(world.server.requests(), 0);
}
