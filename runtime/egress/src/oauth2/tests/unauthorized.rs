//! A 401 renews a token once.

use super::*;

async fn renewed(world: &World, token: &AccessToken) -> String {
    match world.engine.renewed(token).await {
        Ok(None) => "none".to_owned(),
        Ok(Some(token)) => token.value.expose().to_owned(),
        Err(error) => said(Err(error)),
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_get_a_401_together_renew_the_token_once() {
    let world = Arc::new(World::connected("at-0", Some("rt-0"), HOUR).await);
    *world.server.takes.lock().unwrap() = Duration::from_secs(1);
    world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let token = world.token().await.unwrap();
                renewed(&world, &token).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "at-1");
    }
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_no_longer_the_present_one_costs_no_request() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    let old = world.token().await.unwrap();
    tokio::time::advance(HOUR).await;
    world.server.next([tokens("at-1", None, 3600)]);
    assert_eq!(world.says().await, "at-1");
    assert_eq!(renewed(&world, &old).await, "at-1");
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_gets_a_401_too_is_handed_on_for_a_minute() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    world
        .server
        .next([tokens("at-1", None, 3600), tokens("at-2", None, 3600)]);
    let first = world.token().await.unwrap();
    assert_eq!(renewed(&world, &first).await, "at-1");
    let second = world.token().await.unwrap();
    assert_eq!(renewed(&world, &second).await, "none");
    tokio::time::advance(RENEWED_ENOUGH - Duration::from_millis(1)).await;
    assert_eq!(renewed(&world, &second).await, "none");
    assert_eq!(world.server.requests(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(renewed(&world, &second).await, "at-2");
}

#[tokio::test(start_paused = true)]
async fn without_a_way_to_another_token_a_401_is_handed_on() {
    let world = World::connected("at-0", None, HOUR).await;
    let token = world.token().await.unwrap();
    assert_eq!(renewed(&world, &token).await, "none");
    assert_eq!(world.server.requests(), 0);
    // A consent that turns out to have ended leaves the 401 standing, and the next use is the refusal.
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    let token = world.token().await.unwrap();
    world.server.next([no("invalid_grant")]);
    assert_eq!(renewed(&world, &token).await, "none");
    assert_eq!(world.says().await, "credential-consent-needed");
    // A server that cannot be asked now is no reason to park.
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    let token = world.token().await.unwrap();
    world.server.next([status(500, None)]);
    assert_eq!(renewed(&world, &token).await, "unreachable");
    assert_eq!(renewed(&world, &token).await, "unreachable");
    assert_eq!(world.server.requests(), 1);
}
