//! In virtual time: nothing here touches a socket.

use super::*;

const PATIENCE: Duration = TURN_WAIT_MAX;

fn own(connection: &str) -> BudgetKey {
    let names = ("w".parse().unwrap(), connection.parse().unwrap(), "up".parse().unwrap());
    BudgetKey::Own(names.0, names.1, names.2)
}

fn limits(text: &str) -> Limits {
    serde_json::from_str(text).unwrap()
}

fn wait(error: HttpError) -> Duration {
    match error {
        HttpError::RateLimited { wait } => wait,
        other => panic!("{other}"),
    }
}

async fn refused(budgets: &Budgets, key: BudgetKey, limits: Limits) -> Duration {
    match budgets.turn(key, limits, PATIENCE).await {
        Ok(_) => panic!("it went"),
        Err(error) => wait(error),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_for_and_a_long_one_is_told_at_once() {
    let budgets = Budgets::new();
    let limits = limits(r#"{"rate": {"count": 1, "per_ms": 400}}"#);
    let began = Instant::now();
    for (nth, waits) in [(0, false), (1, true), (2, true)] {
        let waited = budgets.turn(own("c"), limits, PATIENCE).await.ok().unwrap();
        assert_eq!((began.elapsed(), waited.queued), (ms(400 * nth), waits));
    }
    let others = async {
        let ahead = [
            budgets.turn(own("c"), limits, PATIENCE),
            budgets.turn(own("c"), limits, PATIENCE),
        ];
        let [first, second] = ahead;
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() && second.is_ok());
    };
    let late = async {
        tokio::task::yield_now().await;
        assert_eq!(refused(&budgets, own("c"), limits).await, ms(1200));
        assert_eq!(began.elapsed(), ms(800), "at once");
    };
    tokio::join!(others, late);
    assert_eq!(began.elapsed(), ms(1600));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_taken_is_waited_for_no_longer_than_the_bound() {
    let budgets = Budgets::new();
    let limits = limits(r#"{"concurrency": 1}"#);
    let held = budgets.turn(own("c"), limits, PATIENCE).await.ok().unwrap();
    let began = Instant::now();
    assert_eq!(
        refused(&budgets, own("c"), limits).await,
        cofferdam_domain::budget::PLACE_WAIT
    );
    assert_eq!(began.elapsed(), TURN_WAIT_MAX);
    let (next, ()) = tokio::join!(budgets.turn(own("c"), limits, PATIENCE), async {
        tokio::time::sleep(ms(300)).await;
        drop(held);
    });
    assert!(next.is_ok_and(|next| next.queued));
    assert_eq!(began.elapsed(), TURN_WAIT_MAX + ms(300));
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_while_he_waits_or_sends_gives_his_place_to_the_next() {
    let budgets = Budgets::new();
    let limits = limits(r#"{"concurrency": 1}"#);
    let sending = budgets.turn(own("c"), limits, PATIENCE).await.ok().unwrap();
    {
        let mut waiting = Box::pin(budgets.turn(own("c"), limits, PATIENCE));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the place is taken"),
            () = tokio::time::sleep(ms(1)) => {}
        }
        assert_eq!(budgets.standing(&own("c"), Timestamp::ZERO).unwrap().waiting, 1);
    }
    let standing = budgets.standing(&own("c"), Timestamp::ZERO).unwrap();
    assert_eq!((standing.in_use, standing.waiting), (1, 0));
    drop(sending);
    assert_eq!(budgets.standing(&own("c"), Timestamp::ZERO).unwrap().in_use, 0);
    assert!(!budgets.turn(own("c"), limits, PATIENCE).await.ok().unwrap().queued);
}

#[tokio::test(start_paused = true)]
async fn a_hold_reaches_who_waits_and_a_person_ends_it() {
    let budgets = Budgets::new();
    let limits = limits(r#"{"concurrency": 1}"#);
    let first = budgets.turn(own("c"), limits, PATIENCE).await.ok().unwrap().turn;
    let refusal = GuestResponse {
        status: 429,
        headers: vec![("retry-after".to_owned(), b"30".to_vec())],
        body: Default::default(),
    };
    let (second, ()) = tokio::join!(budgets.turn(own("c"), limits, PATIENCE), async {
        tokio::time::sleep(ms(100)).await;
        assert_eq!(first.hear(&refusal, Timestamp::ZERO), Some(30_000));
        drop(first);
    });
    assert_eq!(second.err().map(wait), Some(Duration::from_secs(30)));
    assert_eq!(refused(&budgets, own("c"), limits).await, Duration::from_secs(30));
    let wall = Timestamp::from_millis(1_700_000_000_000);
    let hold = budgets.standing(&own("c"), wall).unwrap().hold.unwrap();
    assert_eq!(
        hold.until,
        wall.after(Duration::from_secs(30)),
        "shown in the wall's time"
    );
    budgets.release(&own("c"));
    assert!(budgets.turn(own("c"), limits, PATIENCE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn budgets_are_kept_apart_but_by_their_share() {
    let names = |connection: &str, share: Option<&str>| {
        let share = share.map(|share| share.parse().unwrap());
        let (workspace, upstream) = ("w".parse().unwrap(), "up".parse().unwrap());
        BudgetKey::new(&workspace, &connection.parse().unwrap(), &upstream, share.as_ref())
    };
    assert_eq!(names("a", Some("api")), names("b", Some("api")));
    assert_ne!(names("a", None), names("b", None));
    assert_ne!(names("a", Some("api")), names("a", Some("other")));
    let elsewhere = BudgetKey::Shared("x".parse().unwrap(), "api".parse().unwrap());
    assert_ne!(names("a", Some("api")), elsewhere, "no share crosses a workspace");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_budgets_is_bounded_and_one_that_holds_something_goes_last() {
    let budgets = Budgets::new();
    let unlimited = Limits::default();
    let held = budgets.turn(own("held"), unlimited, PATIENCE).await.ok().unwrap();
    for nth in 1..BUDGETS_MAX {
        budgets
            .turn(own(&format!("c{nth}")), unlimited, PATIENCE)
            .await
            .ok()
            .unwrap();
    }
    assert!(budgets.standing(&own("c1"), Timestamp::ZERO).is_some());
    budgets.turn(own("one-more"), unlimited, PATIENCE).await.ok().unwrap();
    assert_eq!(budgets.lock().budgets.len(), BUDGETS_MAX);
    assert!(budgets.standing(&own("c1"), Timestamp::ZERO).is_none());
    assert!(budgets.standing(&own("held"), Timestamp::ZERO).is_some());
    drop(held);
}
