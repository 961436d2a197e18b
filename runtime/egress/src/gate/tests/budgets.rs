//! Whose turn it is, through real sockets. What a budget decides is tested in virtual time beside it.

use cofferdam_domain::ExchangeResult;
use cofferdam_domain::budget::{Limits, Standing};

use super::upstream::{Then, Upstream};
use super::*;
use crate::gate::budget::BudgetKey;

const ONE_PLACE: Limits = Limits {
    rate: None,
    concurrency: Some(1),
};

impl World {
    fn in_use(&self) -> usize {
        self.standing().in_use
    }

    fn standing(&self) -> Standing {
        let passport = &self.passport;
        let key = BudgetKey::new(&passport.workspace, &passport.connection, &"up".parse().unwrap(), None);
        self.gate.budget(&key).unwrap()
    }
}

#[tokio::test]
async fn after_a_refusal_nothing_leaves_and_no_credential_is_read() {
    let upstream = Upstream::answering("HTTP/1.1 429 Slow down\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n").await;
    let world = World::new(&upstream.url(), "bearer");
    assert_eq!(world.send(get()).await.unwrap().status, 429);
    for _ in 0..2 {
        let Err(HttpError::RateLimited { wait }) = world.send(get()).await else {
            panic!("it was sent");
        };
        assert!(
            // What was cut off of a millisecond is added, so that no wait is too short.
            wait <= Duration::from_millis(60_001) && wait > Duration::from_secs(50),
            "{wait:?}"
        );
        let wait_ms = u64::try_from(wait.as_millis()).unwrap();
        assert_eq!(world.last().result, ExchangeResult::RateLimited { wait_ms });
        assert_eq!(world.last().credential, None);
    }
    assert_eq!((world.reads(), upstream.connections()), (1, 1));
}

#[tokio::test]
async fn what_is_not_granted_costs_nothing_of_the_budget() {
    let upstream = Upstream::saying("ok").await;
    let one_an_hour = r#"{"rate": {"count": 1, "per_ms": 3600000}}"#;
    let world =
        World::new(&upstream.url(), "bearer").route(|route| route.limits = serde_json::from_str(one_an_hour).unwrap());
    let elsewhere = GuestRequest {
        path: "/other".to_owned(),
        ..get()
    };
    assert!(matches!(world.send(elsewhere).await, Err(HttpError::Refused(_))));
    world.send(get()).await.unwrap();
    assert!(matches!(world.send(get()).await, Err(HttpError::RateLimited { .. })));
}

#[tokio::test]
async fn a_place_is_given_back_however_the_exchange_ends() {
    let silent = Upstream::then(Then::Silence).await;
    let world = World::new(&silent.url(), "bearer").route(|route| route.limits = ONE_PLACE);
    {
        let mut sending = Box::pin(world.send(get()));
        while silent.requests().is_empty() {
            tokio::select! {
                _ = &mut sending => panic!("the upstream never answers"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(world.in_use(), 1);
    }
    assert_eq!(world.in_use(), 0, "dropped");
    let shortly = GuestRequest {
        timeout: Some(Duration::from_millis(200)),
        ..get()
    };
    assert_eq!(
        world.send(shortly).await,
        Err(HttpError::TimedOut { request_sent: true })
    );
    assert_eq!(world.in_use(), 0, "timed out");

    let upstream = Upstream::saying("ok").await;
    for change in [
        (|route: &mut Route| route.credential = None) as fn(&mut Route),
        |route| route.networks.clear(),
        |route| route.base_url = "http://nowhere.test".parse().unwrap(),
    ] {
        let world = World::new(&upstream.url(), "bearer").route(|route| {
            route.limits = ONE_PLACE;
            change(route);
        });
        assert!(world.send(get()).await.is_err());
        assert_eq!(world.in_use(), 0);
    }
}

#[tokio::test]
async fn one_who_waits_goes_when_the_place_is_free_and_the_record_says_that_he_waited() {
    let upstream = Upstream::saying("ok").await;
    let world = World::new(&upstream.url(), "none").route(|route| {
        let rate = r#"{"rate": {"count": 1, "per_ms": 100}}"#;
        route.limits = serde_json::from_str(rate).unwrap();
    });
    world.send(get()).await.unwrap();
    assert_eq!(world.last().timings.turn_ms, None);
    world.send(get()).await.unwrap();
    let timings = world.last().timings;
    assert!(
        timings.turn_ms.is_some() && timings.turn_ms <= timings.first_byte_ms,
        "{timings:?}"
    );
}

#[tokio::test]
async fn a_secret_that_is_reflected_as_a_number_is_not_shown_as_what_is_left() {
    let answer = "HTTP/1.1 200 OK\r\nx-ratelimit-remaining: 20261125\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    for (credential, shown) in [("good", Some(20_261_125)), ("number", None)] {
        let world =
            World::new(&upstream.url(), "bearer").route(|route| route.credential = Some(credential.parse().unwrap()));
        world.send(get()).await.unwrap();
        let told = world.standing().upstream;
        assert_eq!(told.map(|told| told.remaining), shown, "{credential}");
    }
}
