//! Consents: what a person is sent to, what their code is exchanged with, and what stands when something else is under way.

use sha2::{Digest as _, Sha256};
use url::Url;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_person_is_sent_to_the_server_with_state_and_challenge_and_the_code_goes_back_with_the_verifier() {
    let mut world = World::new("authorization-code");
    let mut grant = (*world.source.grant).clone();
    grant.audience = Some("https://api.test".to_owned());
    grant.authorize_parameters = [("access_type".to_owned(), "offline".to_owned())].into();
    grant.token_parameters = [("resource".to_owned(), "r-1".to_owned())].into();
    world.source.grant = Arc::new(grant);
    let redirect_uri = "https://panel.test/oauth2/callback";
    let request = world.source.consent_request("state-1", redirect_uri).unwrap().unwrap();
    let url: Url = request.url.parse().unwrap();
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let challenge = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(request.verifier.as_bytes()));
    assert!(request.url.starts_with("https://as.test/authorize?tenant=1&"), "{url}");
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "us"),
        ("state", "state-1"),
        ("redirect_uri", redirect_uri),
        ("scope", "read write"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("audience", "https://api.test"),
    ] {
        assert_eq!(query.get(name).map(String::as_str), Some(expected), "{name}");
    }
    let other = world.source.consent_request("state-1", redirect_uri).unwrap().unwrap();
    assert_ne!(other.verifier, request.verifier);

    world
        .server
        .next([tokens("at-1", Some("rt-1"), 3600), tokens("at-2", None, 3600)]);
    world.consent("code-1").await.unwrap();
    let asked = world.server.asked().pop().unwrap();
    for (name, expected) in [
        ("grant_type", "authorization_code"),
        ("code", "code-1"),
        ("code_verifier", "verifier-1"),
        ("redirect_uri", redirect_uri),
        ("resource", "r-1"),
    ] {
        assert_eq!(asked.form.get(name).map(String::as_str), Some(expected), "{name}");
    }
    let basic = format!("Basic {}", data_encoding::BASE64.encode(format!("us:{APP}").as_bytes()));
    assert_eq!(asked.authorization.as_deref(), Some(basic.as_str()));
    let consent = world.engine.status(&world.source).consent.unwrap();
    assert_eq!(consent.by, "anna");

    tokio::time::advance(HOUR).await;
    assert_eq!(world.says().await, "at-2");
    let asked = world.server.asked().pop().unwrap();
    for (name, expected) in [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rt-1"),
        ("resource", "r-1"),
    ] {
        assert_eq!(asked.form.get(name).map(String::as_str), Some(expected), "{name}");
    }
    assert_eq!(
        world.engine.status(&world.source).consent,
        Some(consent),
        "it outlives a refresh"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_speaks_for_itself_as_it_was_told_to() {
    let mut world = World::new("client-credentials");
    let mut grant = (*world.source.grant).clone();
    grant.client_auth = cofferdam_domain::connection::oauth2::ClientAuth::Body;
    grant.audience = Some("a-1".to_owned());
    world.source.grant = Arc::new(grant);
    world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    assert_eq!(world.says().await, "at-1");
    let asked = world.server.asked().pop().unwrap();
    assert_eq!(asked.authorization, None);
    for (name, expected) in [
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
        ("audience", "a-1"),
        ("client_id", "us"),
        ("client_secret", APP),
    ] {
        assert_eq!(asked.form.get(name).map(String::as_str), Some(expected), "{name}");
    }
    assert_eq!(world.stored().refresh_token, None, "it needs none");
    assert_eq!(
        world
            .source
            .consent_request("s", "https://p.test")
            .unwrap()
            .map(|it| it.url),
        None
    );
    assert_eq!(world.consent("code").await, Err(ConsentFailed::NotByConsent));
}

#[tokio::test(start_paused = true)]
async fn a_consent_stands_over_a_refresh_that_was_under_way() {
    for (reply, label) in [
        (tokens("at-old", Some("rt-old"), 3600), "yes"),
        (no("invalid_grant"), "no"),
    ] {
        let world = World::connected("at-0", Some("rt-0"), HOUR).await;
        tokio::time::advance(HOUR).await;
        world.engine.inner.holder(&world.source.key).lock().used = true;
        *world.server.takes.lock().unwrap() = Duration::from_secs(10);
        world.engine.keep([world.source.clone()]);
        settle().await;
        assert_eq!(world.server.requests(), 1, "{label}");
        *world.server.takes.lock().unwrap() = Duration::from_secs(1);
        world.server.next([tokens("at-new", Some("rt-new"), 3600), reply]);
        world.consent("code-2").await.unwrap();
        world.engine.settled().await;
        assert_eq!(world.stored().refresh_token.unwrap().expose(), "rt-new", "{label}");
        assert_eq!(world.says().await, "at-new", "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_none_or_is_refused_changes_nothing() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    for code in [String::new(), "x".repeat(4097)] {
        assert_eq!(world.consent(&code).await, Err(ConsentFailed::BadCode));
    }
    assert_eq!(world.server.requests(), 0);
    world.server.next([no("invalid_grant"), status(500, None)]);
    let refused = Err(ConsentFailed::Refused(TokenRefusal::InvalidGrant));
    assert_eq!(world.consent("code-2").await, refused);
    assert!(matches!(
        world.consent("code-3").await,
        Err(ConsentFailed::Unavailable(_))
    ));
    assert_eq!(world.says().await, "at-0");
}

#[tokio::test(start_paused = true)]
async fn an_exchange_goes_on_when_the_browser_goes_away() {
    let world = World::new("authorization-code");
    *world.server.takes.lock().unwrap() = Duration::from_secs(2);
    world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    let gone = tokio::time::timeout(Duration::from_secs(1), world.consent("code-1")).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.says().await, "at-1");
}
