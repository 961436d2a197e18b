//! Budgets of upstreams, on the real server: shared or not, by our limits and by the upstream's own word.
//!
//! As in `lanes.rs`: times are taken where requests arrive and held against the least that they must be, and that something
//! does not happen is shown by a neighbour that is served meanwhile.

use std::time::{Duration, Instant};

use cofferdam_domain::budget::HoldReason;
use cofferdam_domain::{DeliveryState, FailureClass};
use cofferdam_server::admin::views::Health;
use cofferdam_server::budgets::BudgetView;
use cofferdam_tests::{Answer, Running, Upstream, wait};
use serde_json::json;

use crate::connections::{probe, probe_server};

/// The server cuts times to whole milliseconds, and a wall clock may be slewed a little against ours.
const CLOCK_GRAIN: Duration = Duration::from_millis(5);

/// Enough retries, close together.
const PATIENT: &str = "[policy.retry]\nschedule_ms = [0, 20, 20, 20, 20, 20, 20, 20]\nmax_age_ms = 600000\n";

/// `more` is the upstream's budget, in TOML.
async fn connection(server: &Running, name: &str, upstream: &Upstream, more: &str) {
    server
        .api
        .apply(&probe(name, upstream, &format!("{more}\n{PATIENT}")))
        .await;
}

async fn send(server: &Running, connection: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let kind = format!("test.{connection}");
    let call = json!({"do": "call", "path": format!("/{connection}")});
    let accepted = server.api.send_event(&id, &kind, call).await;
    accepted.accepted[0].correlation_id.to_string()
}

async fn budget_of(server: &Running, connection: &str) -> BudgetView {
    let budgets: Vec<BudgetView> = server.api.get("/v1/budgets").await;
    let uses = |budget: &&BudgetView| budget.used_by.iter().any(|user| user.connection.as_str() == connection);
    budgets.iter().find(uses).expect("every upstream has a budget").clone()
}

/// When each of the upstream's requests for this connection came.
fn arrivals(upstream: &Upstream, connection: &str) -> Vec<Instant> {
    let asked = upstream.asked();
    let of = asked
        .iter()
        .filter(|asked| asked.uri.path() == format!("/{connection}"));
    of.map(|asked| asked.at).collect()
}

async fn metrics(server: &Running) -> String {
    let sent = server
        .api
        .request(reqwest::Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    sent.text().await.unwrap()
}

#[tokio::test]
async fn what_an_upstream_says_to_one_holds_those_who_share_its_budget_and_nobody_else() {
    let refusal = Answer::status(429).header("retry-after", "3");
    let upstream = Upstream::start([refusal], Answer::status(200)).await;
    let server = probe_server().await;
    for name in ["a", "b"] {
        connection(&server, name, &upstream, "[upstreams.target.budget]\nshare = \"api\"").await;
    }
    connection(&server, "c", &upstream, "").await;

    let first = send(&server, "a").await;
    let refused_at = upstream.wait_for(1).await[0].at;
    let held = wait::until("the hold", || async {
        let budget = budget_of(&server, "b").await;
        budget.standing.hold.map(|_| budget)
    })
    .await;
    assert_eq!(held.share.as_ref().unwrap().as_str(), "api");
    let users: Vec<_> = held.used_by.iter().map(|user| user.connection.as_str()).collect();
    assert_eq!(users, ["a", "b"]);
    assert_eq!(held.standing.hold.unwrap().reason, HoldReason::Refused);
    assert_eq!(budget_of(&server, "c").await.standing.hold, None);

    let second = send(&server, "b").await;
    wait::until("the other's lane backs off", || async {
        (server.api.connection("b").await.health == Health::BackingOff).then_some(())
    })
    .await;
    // Served at once, by the same upstream.
    let third = send(&server, "c").await;
    server.api.wait_delivered(&third).await;
    assert_eq!(arrivals(&upstream, "b").len(), 0);
    let shown = metrics(&server).await;
    let counted = |line: &str| {
        shown
            .lines()
            .any(|shown| shown.starts_with(line) && !shown.ends_with(" 0"))
    };
    assert!(
        counted("cofferdam_budget_held_back_total{workspace=\"default\",connection=\"b\"}"),
        "{shown}"
    );
    assert!(
        counted("cofferdam_budget_hold_milliseconds{workspace=\"default\",connection=\"b\"}"),
        "{shown}"
    );

    for correlation in [&first, &second] {
        let delivered = server.api.wait_delivered(correlation).await;
        // Nothing of it was charged: the one that delivered is still the first.
        assert_eq!(delivered.attempts.last().unwrap().number, 1);
        let ended = delivered.attempts[0].ended.as_ref().unwrap();
        assert_eq!(ended.failure.as_ref().unwrap().class, FailureClass::RateLimited);
    }
    for name in ["a", "b"] {
        let last = *arrivals(&upstream, name).last().unwrap();
        assert!(
            last.duration_since(refused_at) + CLOCK_GRAIN >= Duration::from_secs(3),
            "{name}"
        );
    }
    let trail = &server.api.wait_delivered(&second).await.attempts[0];
    let failure = trail.ended.as_ref().unwrap().failure.clone().unwrap();
    assert_eq!(
        failure.code.as_deref().map(|code| code.starts_with("local-rate")),
        Some(true),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_spent_limit_holds_until_it_is_full_again_and_a_person_may_know_better() {
    let reset = |seconds: &str| {
        Answer::status(200)
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", seconds)
    };
    let upstream = Upstream::start([reset("2")], Answer::status(200)).await;
    let server = probe_server().await;
    connection(&server, "p", &upstream, "").await;
    let first = send(&server, "p").await;
    server.api.wait_delivered(&first).await;
    let budget = budget_of(&server, "p").await;
    assert_eq!(budget.standing.hold.unwrap().reason, HoldReason::Spent);
    assert_eq!(budget.standing.upstream.unwrap().remaining, 0);
    let second = send(&server, "p").await;
    server.api.wait_delivered(&second).await;
    let arrived = arrivals(&upstream, "p");
    assert!(arrived[1].duration_since(arrived[0]) + CLOCK_GRAIN >= Duration::from_secs(2));

    upstream.script([reset("300")]);
    let third = send(&server, "p").await;
    server.api.wait_delivered(&third).await;
    let fourth = send(&server, "p").await;
    wait::until("the lane backs off", || async {
        (server.api.connection("p").await.health == Health::BackingOff).then_some(())
    })
    .await;
    server.api.post("/v1/connections/p/release").await;
    assert_eq!(budget_of(&server, "p").await.standing.hold, None);
    // The delivery itself is due again when the upstream said; replaying is not needed for a new one.
    let fifth = send(&server, "p").await;
    server.api.wait_delivered(&fifth).await;
    assert!(matches!(
        server.api.trace(&fourth).await.events[0].deliveries[0].delivery.state,
        DeliveryState::Pending { .. } | DeliveryState::Delivered { .. }
    ));
}

#[tokio::test]
async fn a_refusal_as_github_words_it_is_a_limit_and_not_a_bad_credential() {
    let refusal = Answer::status(403)
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", "1");
    let upstream = Upstream::start([refusal], Answer::status(200)).await;
    let server = probe_server().await;
    connection(&server, "p", &upstream, "").await;
    let correlation = send(&server, "p").await;
    let delivered = server.api.wait_delivered(&correlation).await;
    let failure = delivered.attempts[0].ended.as_ref().unwrap().failure.clone().unwrap();
    assert_eq!(
        (failure.class, failure.retry_after_ms),
        (FailureClass::RateLimited, Some(1000))
    );
    let arrived = arrivals(&upstream, "p");
    assert!(arrived[1].duration_since(arrived[0]) + CLOCK_GRAIN >= Duration::from_secs(1));
    // Without a word on limits it is the credential.
    upstream.script([Answer::status(403)]);
    send(&server, "p").await;
    wait::until("the lane is parked", || async {
        (server.api.connection("p").await.health == Health::Parked).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_that_share_a_budget_are_never_over_its_rate_or_its_places_together() {
    let upstream = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    // The strictest of each holds: 4 in 2 s, and bursts of 2.
    let budget = |requests: u32, burst: u32| {
        format!("[upstreams.target.budget]\nshare = \"api\"\nrequests = {requests}\nper_ms = 2000\nburst = {burst}")
    };
    connection(&server, "a", &upstream, &budget(4, 50)).await;
    connection(&server, "b", &upstream, &budget(400, 2)).await;
    let limits = budget_of(&server, "a").await.limits;
    assert_eq!(
        limits.rate.map(|rate| (rate.count, rate.per_ms, rate.burst)),
        Some((4, 2000, Some(2)))
    );
    let mut sent = Vec::new();
    for name in ["a", "b", "a", "b", "a", "b"] {
        sent.push(send(&server, name).await);
    }
    for correlation in &sent {
        server.api.wait_delivered(correlation).await;
    }
    let arrived: Vec<_> = upstream.asked().iter().map(|asked| asked.at).collect();
    assert_eq!(arrived.len(), 6);
    for (nth, window) in arrived.windows(3).enumerate() {
        // Three need one more than the burst: half a second at least.
        let apart = window[2].duration_since(window[0]);
        assert!(apart + CLOCK_GRAIN >= Duration::from_millis(500), "{nth}: {apart:?}");
    }

    let upstream = Upstream::start([], Answer::held()).await;
    let places = "[upstreams.target.budget]\nshare = \"places\"\nconcurrency = 1";
    connection(&server, "x", &upstream, places).await;
    connection(&server, "y", &upstream, places).await;
    connection(&server, "z", &upstream, "").await;
    let first = send(&server, "x").await;
    upstream.wait_for(1).await;
    let second = send(&server, "y").await;
    wait::until("the other's lane backs off", || async {
        (server.api.connection("y").await.health == Health::BackingOff).then_some(())
    })
    .await;
    send(&server, "z").await;
    wait::until("the third, who shares nothing", || async {
        (arrivals(&upstream, "z").len() == 1).then_some(())
    })
    .await;
    assert_eq!((arrivals(&upstream, "x").len(), arrivals(&upstream, "y").len()), (1, 0));
    assert_eq!(budget_of(&server, "x").await.standing.in_use, 1);
    upstream.release();
    for correlation in [&first, &second] {
        server.api.wait_delivered(correlation).await;
    }
    let places = budget_of(&server, "x").await;
    assert_eq!((places.standing.in_use, places.standing.waiting), (0, 0));
}

#[tokio::test]
async fn the_command_lists_budgets_and_a_bad_one_is_not_applied() {
    let upstream = Upstream::start([], Answer::status(200)).await;
    let server = probe_server().await;
    let budget = "[upstreams.target.budget]\nrequests = 60\nper_ms = 60000\nconcurrency = 4";
    connection(&server, "p", &upstream, budget).await;
    let text = server.says(&["connection", "budgets"]).await;
    assert!(
        text.contains("p/target") && text.contains("60 in 60 s; 4 at once"),
        "{text}"
    );
    let listed: Vec<BudgetView> =
        serde_json::from_str(&server.says(&["connection", "budgets", "--json"]).await).unwrap();
    assert_eq!(listed, [budget_of(&server, "p").await]);

    for (budget, said) in [
        ("requests = 0\nper_ms = 1000", "budget.requests is 0"),
        ("requests = 1", "per_ms"),
        ("concurrency = 2000", "budget.concurrency is 2000"),
        ("share = \"No Name\"", "lower-case"),
    ] {
        let file = probe("q", &upstream, &format!("[upstreams.target.budget]\n{budget}"));
        let answer = server
            .api
            .request(reqwest::Method::POST, "/v1/connections")
            .body(file)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{budget}");
        let problem = answer.text().await.unwrap();
        assert!(problem.contains(said), "{problem}");
    }
}
