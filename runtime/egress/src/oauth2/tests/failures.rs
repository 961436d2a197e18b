//! What a server that fails, or says no, is asked again: nothing, or not before its time.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_left_alone_longer_each_time_and_uses_get_an_answer_at_once() {
    let world = World::new("client-credentials");
    let began = Instant::now();
    let mut expected = Vec::new();
    let mut at = 0;
    // The whole of each wait: the spread is 1 here.
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        world.server.next([status(503, None)]);
        assert_eq!(world.says().await, "unreachable");
        expected.push(at);
        tokio::time::advance(Duration::from_millis(wait * 1000 - 1)).await;
        assert_eq!(world.says().await, "unreachable", "without a request");
        tokio::time::advance(Duration::from_millis(1)).await;
        at += wait;
    }
    let asked: Vec<_> = world
        .server
        .asked()
        .iter()
        .map(|asked| asked.at.duration_since(began).as_secs())
        .collect();
    assert_eq!(asked, expected);
    let status = world.engine.status(&world.source);
    assert_eq!(
        (status.state, status.failing_since.is_some()),
        (TokenState::Failing, true)
    );
    world.server.next([tokens("at-1", None, 3600), status_503()]);
    assert_eq!(world.says().await, "at-1");
    assert_eq!(world.engine.status(&world.source).state, TokenState::Ready);
    // The next failure begins with a second again.
    tokio::time::advance(HOUR).await;
    assert_eq!(world.says().await, "unreachable");
    world.server.next([tokens("at-2", None, 3600)]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.says().await, "at-2");
}

fn status_503() -> Reply {
    status(503, None)
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_still_good_is_used_while_the_server_fails() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    tokio::time::advance(Duration::from_secs(3300)).await;
    world.server.next([status(500, None)]);
    for _ in 0..10 {
        assert_eq!(world.says().await, "at-0");
        settle().await;
    }
    assert_eq!(world.server.requests(), 1);
    assert_eq!(world.sets.notes.lock().unwrap().as_slice(), ["it answered 500"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_slow_down_is_not_asked_before_and_uses_are_rate_limited() {
    let world = World::new("client-credentials");
    world.server.next([status(429, Some(30))]);
    assert_eq!(world.says().await, "rate-limited 30000");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(world.says().await, "rate-limited 10000");
    assert_eq!(world.server.requests(), 1);
    world.server.next([tokens("at-1", None, 3600)]);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(world.says().await, "at-1");
}

#[tokio::test(start_paused = true)]
async fn an_ended_consent_is_durable_asks_nothing_more_and_a_new_one_heals_it() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    tokio::time::advance(HOUR).await;
    world.server.next([no("invalid_grant")]);
    assert_eq!(world.says().await, "credential-consent-needed");
    let stored = world.stored();
    assert_eq!(
        (stored.access_token, stored.refresh_token),
        (None, None),
        "nothing of it is worth keeping"
    );
    let restarted = world.restarted();
    for world in [&world, &restarted] {
        for _ in 0..3 {
            assert_eq!(world.says().await, "credential-consent-needed");
            world.engine.keep([world.source.clone()]);
            tokio::time::advance(HOUR).await;
        }
        assert_eq!(world.engine.status(&world.source).state, TokenState::ConsentNeeded);
    }
    assert_eq!(world.server.requests(), 1);
    restarted.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    restarted.consent("code-2").await.unwrap();
    assert_eq!(restarted.says().await, "at-1");
}

#[tokio::test(start_paused = true)]
async fn any_other_no_for_good_stands_until_what_is_asked_or_the_secret_changes() {
    for code in [
        "invalid_client",
        "unauthorized_client",
        "invalid_scope",
        "invalid_request",
    ] {
        let mut world = World::new("client-credentials");
        world.server.next([no(code)]);
        assert_eq!(world.says().await, "credential-refused", "{code}");
        tokio::time::advance(24 * HOUR).await;
        assert_eq!(world.restarted().says().await, "credential-refused", "{code}");
        assert_eq!(world.server.requests(), 1, "{code}");
        let app = TokenKey {
            credential: "app".parse().unwrap(),
            ..world.source.key.clone()
        };
        world.sets.kept.lock().unwrap().insert(app, (b"another".to_vec(), 2));
        world.server.next([no(code)]);
        assert_eq!(world.says().await, "credential-refused", "{code}");
        assert_eq!(world.server.requests(), 2, "{code}: the secret has changed");
        let mut grant = (*world.source.grant).clone();
        grant.scopes = Some(vec!["less".to_owned()]);
        world.source.grant = Arc::new(grant);
        world.server.next([tokens("at-1", None, 3600)]);
        assert_eq!(world.says().await, "at-1", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_set_is_a_refusal_without_a_request() {
    let world = World::new("authorization-code");
    assert_eq!(world.says().await, "credential-consent-needed");
    let world = World::new("client-credentials");
    world.sets.kept.lock().unwrap().clear();
    assert_eq!(world.says().await, "credential-missing");
    world
        .sets
        .kept
        .lock()
        .unwrap()
        .insert(world.source.key.clone(), (b"xoxb-by-hand".to_vec(), 1));
    assert_eq!(world.says().await, "credential-unusable");
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_never_sent_to_another_endpoint_than_it_came_from() {
    let mut world = World::connected("at-0", Some("rt-0"), HOUR).await;
    let mut grant = (*world.source.grant).clone();
    grant.token_url = "https://evil.test/token".parse().unwrap();
    world.source.grant = Arc::new(grant);
    assert_eq!(world.says().await, "credential-consent-needed");
    world.engine.keep([world.source.clone()]);
    world.engine.settled().await;
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_endpoint_is_a_refusal_of_its_own_and_is_looked_up_again_later() {
    let world = World::new("client-credentials");
    let blocked = || Reply::Fails(EndpointError::Blocked("loopback".to_owned()));
    world.server.next([blocked()]);
    for _ in 0..3 {
        assert_eq!(world.says().await, "token-endpoint-blocked");
    }
    assert_eq!(world.server.requests(), 1);
    world.server.next([tokens("at-1", None, 3600)]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.says().await, "at-1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_asked_wrongly_is_asked_rightly_at_once() {
    let mut world = World::new("client-credentials");
    world
        .server
        .next([Reply::Fails(EndpointError::Blocked("loopback".to_owned()))]);
    assert_eq!(world.says().await, "token-endpoint-blocked");
    let mut grant = (*world.source.grant).clone();
    grant.networks = vec!["127.0.0.0/8".parse().unwrap()];
    world.source.grant = Arc::new(grant);
    world.server.next([tokens("at-1", None, 3600)]);
    assert_eq!(world.says().await, "at-1");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_said_of_a_failure_holds_a_servers_text_or_a_secret() {
    let garbage = format!("{{\"access_token\": 7, \"{APP}\": \"rt-0 at-0\"}}");
    for reply in [
        no("invalid_grant"),
        no("invalid_client"),
        no(APP),
        no("rt-0"),
        Reply::Json(200, garbage.clone()),
        Reply::Json(400, garbage),
        Reply::Json(200, format!("{APP} rt-0")),
    ] {
        let world = World::connected("at-0", Some("rt-0"), HOUR).await;
        tokio::time::advance(HOUR).await;
        world.server.next([reply]);
        let error = world.token().await.err().expect("there is no token");
        let status = serde_json::to_string(&world.engine.status(&world.source)).unwrap();
        let notes = world.sets.notes.lock().unwrap().join(" ");
        let said = format!("{error} {error:?} {status} {notes}");
        for secret in [APP, "rt-0", "at-0", "rt-1"] {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
}
