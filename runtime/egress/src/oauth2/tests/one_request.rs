//! One request for however many callers, and nothing used before it is durable.

use super::*;

#[tokio::test(start_paused = true)]
async fn fifty_calls_at_once_make_one_request_and_get_the_same_token() {
    for kind in ["client-credentials", "authorization-code"] {
        let world = if kind == "client-credentials" {
            World::new(kind)
        } else {
            let world = World::connected("at-0", Some("rt-0"), HOUR).await;
            tokio::time::advance(HOUR).await;
            world
        };
        *world.server.takes.lock().unwrap() = Duration::from_secs(2);
        world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
        let world = Arc::new(world);
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { world.says().await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "at-1", "{kind}");
        }
        assert_eq!(world.server.requests(), 1, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_the_request_for_nobody() {
    let world = World::new("client-credentials");
    *world.server.takes.lock().unwrap() = Duration::from_secs(2);
    world.server.next([tokens("at-1", None, 3600)]);
    let first = tokio::time::timeout(Duration::from_secs(1), world.token()).await;
    assert!(first.is_err(), "it was given up while the request was under way");
    assert_eq!(world.says().await, "at-1");
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_handed_out_only_once_its_answer_is_durable() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    tokio::time::advance(HOUR).await;
    *world.sets.takes.lock().unwrap() = Duration::from_secs(5);
    world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    let began = Instant::now();
    let token = world.token();
    tokio::pin!(token);
    tokio::select! {
        biased;
        _ = &mut token => panic!("the write takes five seconds"),
        () = tokio::time::sleep(Duration::from_secs(4)) => {}
    }
    assert_eq!(world.server.requests(), 1, "the answer is there, and not durable");
    assert_eq!(said(token.await), "at-1");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(world.stored().refresh_token.unwrap().expose(), "rt-1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_stored_is_not_used_and_is_stored_before_anything_else_is_asked() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    tokio::time::advance(HOUR).await;
    world.sets.failing.store(5, Ordering::Relaxed);
    world.server.next([tokens("at-1", Some("rt-1"), 3600)]);
    assert_eq!(world.says().await, "unreachable");
    assert_eq!(world.stored().refresh_token.unwrap().expose(), "rt-0");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(world.says().await, "at-1");
    assert_eq!(
        world.server.requests(),
        1,
        "the refresh token that it has replaced is not sent again"
    );
    assert_eq!(world.stored().refresh_token.unwrap().expose(), "rt-1");
}

#[tokio::test(start_paused = true)]
async fn a_due_token_is_used_while_another_is_obtained() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    *world.server.takes.lock().unwrap() = Duration::from_secs(2);
    // 300 s before the end, and up to half as much again.
    tokio::time::advance(Duration::from_secs(3149)).await;
    assert_eq!(world.says().await, "at-0");
    settle().await;
    assert_eq!(world.server.requests(), 0);
    tokio::time::advance(Duration::from_secs(151)).await;
    world.server.next([tokens("at-1", None, 3600)]);
    let before = Instant::now();
    assert_eq!(world.says().await, "at-0");
    assert_eq!(Instant::now(), before, "nobody waits");
    world.engine.settled().await;
    assert_eq!((world.says().await.as_str(), world.server.requests()), ("at-1", 1));
    assert_eq!(
        world.stored().refresh_token.unwrap().expose(),
        "rt-0",
        "what was not replaced stays"
    );
}

#[tokio::test(start_paused = true)]
async fn the_background_renews_what_is_used_and_each_consent_once_a_day() {
    let world = World::connected("at-0", Some("rt-0"), HOUR).await;
    let keep = async || {
        world.engine.keep([world.source.clone()]);
        world.engine.settled().await;
        world.server.requests()
    };
    tokio::time::advance(Duration::from_secs(3300)).await;
    assert_eq!(keep().await, 0, "nobody has used it");
    tokio::time::advance(Duration::from_secs(24 * 3600 - 3301)).await;
    assert_eq!(keep().await, 0);
    world.server.next([tokens("at-1", None, 3600)]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(keep().await, 1, "a day has passed");
    assert_eq!(world.says().await, "at-1");
    assert_eq!(keep().await, 1, "it is good for an hour");
    world.server.next([tokens("at-2", None, 3600)]);
    tokio::time::advance(Duration::from_secs(3300)).await;
    assert_eq!(keep().await, 2, "it was used");
    let own = World::new("client-credentials");
    own.engine.keep([own.source.clone()]);
    own.engine.settled().await;
    assert_eq!(
        own.server.requests(),
        0,
        "a client's own token is asked for when it is needed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_of_seconds_is_obtained_again_and_one_of_no_time_is_no_endless_loop() {
    let world = World::new("client-credentials");
    world.server.next([tokens("at-1", None, 4), tokens("at-2", None, 4)]);
    assert_eq!(world.says().await, "at-1");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(world.says().await, "at-2");
    tokio::time::advance(Duration::from_secs(3)).await;
    *world.sets.takes.lock().unwrap() = Duration::from_secs(60);
    world.server.next([
        tokens("at-3", None, 4),
        tokens("at-4", None, 4),
        tokens("at-5", None, 4),
    ]);
    assert_eq!(world.says().await, "unreachable");
    assert_eq!(world.server.requests(), 5);
}
